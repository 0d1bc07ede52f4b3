from __future__ import annotations

import asyncio
import json
from datetime import datetime
from typing import Any

import pytest
from fastapi.testclient import TestClient

from storage.lifecycle import ScanEvent
from web.change_feed import ChangeFeed, TooManyStreams


def messages(text: str) -> list[tuple[str, Any]]:
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "event" in fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found


def test_a_scans_stream_begins_with_how_it_is_and_its_history(node: Any, client: TestClient) -> None:
    scan = node.study()
    headers = node.bearer(client)
    answer = client.get(f"/api/scans/{scan.id}/events?seconds=0", headers=headers)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    (kind, first), *history = messages(answer.text)
    assert (kind, first["patientName"], first["status"]) == ("scan", "Doe^Jane", "received")
    assert [one["kind"] for _, one in history] == ["received"]
    last = answer.text.split("id: ")[-1].split("\n")[0]
    node.scans.apply_event(scan.id, ScanEvent.ASSEMBLE, "waits")
    later = client.get(f"/api/scans/{scan.id}/events?seconds=0", headers=headers | {"Last-Event-ID": last})
    assert [one["kind"] for _, one in messages(later.text)[1:]] == ["assemble"]


def test_changes_arrive_while_the_stream_is_open(node: Any) -> None:
    with node.client() as client:
        scan = node.study()
        context = client.app.state.context
        context.feed._every_s = 0.02
        node.clock.forward(seconds=1)

        async def change() -> None:
            while not context.feed._queues:
                await asyncio.sleep(0.02)
            for event in (ScanEvent.ASSEMBLE, ScanEvent.COMPLETE, ScanEvent.FAIL):
                node.clock.forward(seconds=1)
                await asyncio.to_thread(node.scans.apply_event, scan.id, event, "x")
                await asyncio.sleep(0.3)
                if event is ScanEvent.COMPLETE:
                    await asyncio.to_thread(context.users.revoke_tokens, node.user().id)

        client.portal.start_task_soon(change)
        text = client.get("/api/events?seconds=600", headers=node.bearer(client)).text
    told = [(kind, body["status"]) for kind, body in messages(text)]
    # The third is told to whom was signed in when it was written, and ends the stream.
    assert [one for one in told if one != ("scan", "failed")] == [("scan", "assembling"), ("scan", "ready")]


def test_who_was_away_is_told_what_was_missed(node: Any, client: TestClient) -> None:
    node.study()
    since = f"{node.clock.now.isoformat()}|"
    node.clock.forward(seconds=1)
    newer = node.study(uid="1.2.4")
    headers = node.bearer(client) | {"Last-Event-ID": since}
    told = messages(client.get("/api/events?seconds=0", headers=headers).text)
    assert newer.id in [body["id"] for _, body in told]
    odd = node.bearer(client) | {"Last-Event-ID": "yesterday|x"}
    assert messages(client.get("/api/events?seconds=0", headers=odd).text) == []


def test_a_stream_ends_with_its_sign_in(node: Any) -> None:
    with node.client() as client:
        scan = node.study()
        context = client.app.state.context
        context.feed._every_s = 0.02
        headers = node.bearer(client)

        async def sign_out() -> None:
            await asyncio.sleep(0.2)
            await asyncio.to_thread(context.users.revoke_tokens, node.user().id)
            node.clock.forward(seconds=1)
            await asyncio.to_thread(node.scans.apply_event, scan.id, ScanEvent.ASSEMBLE, "x")

        client.portal.start_task_soon(sign_out)
        client.get("/api/events?seconds=600", headers=headers)  # returns, long before that


def test_streams_are_few_and_a_slow_reader_is_let_go() -> None:
    now = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
    feed = ChangeFeed(lambda at, scan_id: [], lambda: now, most=1)

    async def listen() -> None:
        async with feed.listen() as queue:
            with pytest.raises(TooManyStreams):
                async with feed.listen():
                    pass
            for _ in range(600):
                feed._tell(None)  # type: ignore[arg-type]
            assert queue.full()
            assert [queue.get_nowait() for _ in range(queue.qsize())][-1] is None
        assert feed._reader is None

    asyncio.run(listen())
