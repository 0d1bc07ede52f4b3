"""GET /api/events and GET /api/scans/{id}/events: what happens, as server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import StreamingResponse
from pydantic_core import to_json
from starlette.concurrency import run_in_threadpool

from storage.scan_rows import ScanRow
from web import scan_requests
from web.change_feed import TooManyStreams
from web.context import WebContext
from web.dependencies import Context, Session, SignedIn
from web.problems import documented
from web.routes.scans import ScanId
from web.scan_view import events_after, summary
from web.trail import record_view

router = APIRouter(prefix="/api", tags=["events"])

_HEARTBEAT_S = 15.0
_LONGEST_S = 12 * 3600
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Events: `scan` with a scan as the list shows it, `deleted` with its id, `event` with one entry "
        "of its history. A comment every 15 seconds keeps the connection open.",
        "content": {
            "text/event-stream": {
                "schema": {
                    "type": "object",
                    "properties": {name: {"type": "string"} for name in ("id", "event", "data")},
                }
            }
        },
    }
}

Seconds = Annotated[
    float, Query(ge=0, le=_LONGEST_S, allow_inf_nan=False, description="How long the stream stays open.")
]
LastEventId = Annotated[
    str, Header(alias="Last-Event-ID", max_length=100, description="Go on after this event; browsers send it.")
]


def _message(kind: str, data: bytes, event_id: str = "") -> bytes:
    head = f"id: {event_id}\nevent: {kind}\n" if event_id else f"event: {kind}\n"
    return head.encode() + b"data: " + data + b"\n\n"


def _scan_message(row: ScanRow) -> bytes:
    event_id = f"{row.updated_at.isoformat()}|{row.id}"
    if row.deleted_at is not None:
        return _message("deleted", json.dumps({"id": row.id}).encode(), event_id)
    return _message("scan", to_json(summary(row).model_dump(by_alias=True)), event_id)


def _place(last_event_id: str) -> tuple[datetime, str] | None:
    at, separator, scan_id = last_event_id.partition("|")
    try:
        place = datetime.fromisoformat(at)
    except ValueError:
        return None
    return (place, scan_id) if separator and place.tzinfo is not None else None


async def _changes(context: WebContext, session: Session, seconds: float) -> AsyncIterator[ScanRow | None]:
    """Changed scans, and None at least every 15 seconds, until time is up or the sign-in no longer holds."""
    ends = asyncio.get_running_loop().time() + seconds
    async with context.feed.listen() as queue:
        yield None
        while (left := ends - asyncio.get_running_loop().time()) > 0:
            try:
                row = await asyncio.wait_for(queue.get(), min(left, _HEARTBEAT_S))
                if row is None:
                    return  # too slow a reader: its browser connects anew and says where it was
                yield row
            except TimeoutError:
                yield None
            expired = session.claims.expires_at <= context.clock()
            if expired or await run_in_threadpool(context.gate.find, session.claims) is None:
                return


async def _stream(first: list[bytes], messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield b"retry: 3000\n\n"
    for message in first:
        yield message
    try:
        async for message in messages:
            yield message
    except TooManyStreams:
        yield _message("busy", b"{}")


def _answer(first: list[bytes], messages: AsyncIterator[bytes]) -> StreamingResponse:
    # nginx holds answers back to fill its buffers unless told not to.
    return StreamingResponse(
        _stream(first, messages), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"}
    )


@router.get("/events", response_class=StreamingResponse, responses=_STREAM | documented(401, 422))
async def all_events(
    request: Request,
    context: Context,
    session: SignedIn,
    seconds: Seconds = _LONGEST_S,
    last_event_id: LastEventId = "",
) -> StreamingResponse:
    """Stream every scan that changes: its state, progress, finding, or that it was deleted."""
    await run_in_threadpool(lambda: record_view(context, request, "watch", user=session.user))
    place = _place(last_event_id)
    missed = await run_in_threadpool(context.scans.changed_since, *place) if place else []

    async def messages() -> AsyncIterator[bytes]:
        async for row in _changes(context, session, seconds):
            yield b":\n\n" if row is None else _scan_message(row)

    return _answer([_scan_message(row) for row in missed], messages())


@router.get("/scans/{scan_id}/events", response_class=StreamingResponse, responses=_STREAM | documented(401, 404, 422))
async def scan_events(
    scan_id: ScanId,
    request: Request,
    context: Context,
    session: SignedIn,
    seconds: Seconds = _LONGEST_S,
    last_event_id: LastEventId = "",
) -> StreamingResponse:
    """Stream one scan: first as it is with its history, then each change and each entry of its history."""
    scan = await run_in_threadpool(scan_requests.find_scan, context, scan_id)
    await run_in_threadpool(lambda: record_view(context, request, "view-scan", user=session.user, scan_id=scan_id))
    seen = int(last_event_id) if last_event_id.isascii() and last_event_id.isdigit() else 0

    async def history() -> list[bytes]:
        nonlocal seen
        entries = await run_in_threadpool(events_after, context, scan_id, seen)
        seen = max([seen, *(entry_id for entry_id, _ in entries)])
        return [_message("event", to_json(shown.model_dump(by_alias=True)), str(number)) for number, shown in entries]

    first = [_message("scan", to_json(summary(scan).model_dump(by_alias=True))), *await history()]

    async def messages() -> AsyncIterator[bytes]:
        async for row in _changes(context, session, seconds):
            if row is None:
                yield b":\n\n"
            elif row.id == scan_id:
                body = _scan_message(row)
                yield body[body.index(b"\n") + 1 :]  # here the ids are those of the history
                for message in await history():
                    yield message

    return _answer(first, messages())
