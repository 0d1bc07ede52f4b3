"""Refused associations and listeners' conditions, on both databases."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from storage import refusals
from storage.database import Database
from storage.receivers import ReceiverRepository, ReceiverRow, Sender
from storage.refusals import RefusalRepository, RefusalRow

AT = datetime(2026, 1, 1, tzinfo=UTC)


def refused(number: int, *, minutes: int = 0, count: int = 1, title: str | None = None) -> RefusalRow:
    at = AT + timedelta(minutes=minutes)
    return RefusalRow(
        reason="calling-ae", calling_ae=title or f"AE{number}", called_ae="BTNODE", address="10.0.0.1",
        text=f"AE{number} is not in peers", count=count, first_at=at, last_at=at,
    )  # fmt: skip


def test_refusals_are_counted_by_kind_and_shown_newest_first(database: Database) -> None:
    repository = RefusalRepository(database)
    repository.add([refused(1, count=3), refused(2, minutes=1)])
    repository.add([refused(1, minutes=5, count=2)])
    repository.add([])
    first, second = repository.newest()
    assert (first.calling_ae, first.count, first.first_at, first.last_at) == ("AE1", 5, AT, AT + timedelta(minutes=5))
    assert (second.calling_ae, second.count) == ("AE2", 1)


def test_the_oldest_kinds_are_forgotten(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "MOST_KINDS", 3)
    repository = RefusalRepository(database)
    for number in range(5):
        repository.add([refused(number, minutes=number)])
    assert [row.calling_ae for row in repository.newest()] == ["AE4", "AE3", "AE2"]


def test_a_title_from_the_wire_stays_on_one_line(database: Database) -> None:
    repository = RefusalRepository(database)
    repository.add([refused(1, title="A\nB\x00" + "x" * 100)])
    (row,) = repository.newest()
    assert "\n" not in row.calling_ae
    assert len(row.calling_ae) <= 64
    repository.add([refused(1, title="A\nB\x00" + "x" * 100)])
    assert [row.count for row in repository.newest()] == [2]


def test_each_listener_has_one_row(database: Database) -> None:
    repository = ReceiverRepository(database)
    row = ReceiverRow(name="receiver-0", at=AT, associations=2, backlog_bytes=1 << 40, pressure="")
    repository.put(row)
    repository.put(ReceiverRow(name="receiver-1", at=AT, associations=0, backlog_bytes=0, pressure="disk"))
    senders = {"PACS1": Sender(open_since=AT), "PACS2": Sender(open_since=AT, broken_at=AT - timedelta(days=1))}
    row = replace(row, backlog_objects=120, filed_through=AT - timedelta(seconds=3), senders=senders)
    repository.put(row)
    assert [r.name for r in repository.all()] == ["receiver-0", "receiver-1"]
    assert repository.all()[0] == row
