from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from sqlalchemy.event import listen

from storage.database import Database
from storage.errors import InvalidQuery
from storage.lifecycle import ScanEvent, ScanState
from storage.scan_pages import Order, ScanFilter
from storage.scans import ScanRepository
from storage.studies import InstanceRecord, StudyRepository
from storage.vocabulary import Source
from tests.unit.storage.conftest import FakeClock

Build = Callable[..., InstanceRecord]


def fill(scans: ScanRepository, clock: FakeClock, count: int) -> list[str]:
    """`count` uploads, three at each second: the id must break the tie."""
    made = []
    for number in range(count):
        if number % 3 == 0:
            clock.forward(1)
        made.append(scans.create_upload(Source.UPLOAD_NIFTI, user_id=None, patient_id=f"P{number % 2}").id)
    return made


@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_pages_hold_every_scan_once_and_in_order(scans: ScanRepository, clock: FakeClock, order: Order) -> None:
    made = fill(scans, clock, 11)
    seen, cursor, pages = [], None, 0
    while True:
        page = scans.list_page(cursor, 4, order=order)
        seen += list(page.rows)
        pages += 1
        cursor = page.next_cursor
        if cursor is None:
            break
    assert pages == 3
    assert sorted(row.id for row in seen) == sorted(made)
    keys = [(row.created_at, row.id) for row in seen]
    assert keys == sorted(keys, reverse=order == "newest")


def test_a_scan_that_comes_meanwhile_shifts_nothing(scans: ScanRepository, clock: FakeClock) -> None:
    fill(scans, clock, 6)
    first = scans.list_page(None, 3)
    fill(scans, clock, 3)
    second = scans.list_page(first.next_cursor, 3)
    assert {row.id for row in first.rows}.isdisjoint(row.id for row in second.rows)
    assert second.next_cursor is None


def test_filters(scans: ScanRepository, studies: StudyRepository, instance: Build) -> None:
    uploaded = scans.create_upload(Source.UPLOAD_NIFTI, user_id=None, patient_id="P2", patient_name="MÜLLER^ANNA_%")
    recorded = studies.record_instance(instance(1))
    scans.apply_event(uploaded.id, ScanEvent.COMPLETE)

    def found(**filters: object) -> list[str]:
        return [row.id for row in scans.list_page(filters=ScanFilter(**filters)).rows]  # type: ignore[arg-type]

    assert found(statuses=(ScanState.READY,)) == [uploaded.id]
    assert set(found(statuses=(ScanState.READY, ScanState.RECEIVED))) == {uploaded.id, recorded.scan_id}
    assert found(patient_id="P2") == [uploaded.id]
    assert found(patient_id="P") == []
    assert found(text="müller") == [uploaded.id]
    assert found(text="_%") == [uploaded.id]
    assert found(text="%") == [uploaded.id]
    assert found(text="head") == [recorded.scan_id]
    assert found(text="a-7") == [recorded.scan_id]
    assert found(text="p2") == [uploaded.id]
    assert found(text="'; DROP TABLE scans; --\udcff") == []
    assert found(user_id=5) == []


def test_results_can_be_left_out(scans: ScanRepository, ready: str) -> None:
    scans.set_results(ready, {"n": 1})
    assert scans.list_page().rows[0].results == {"n": 1}
    assert scans.list_page(with_results=False).rows[0].results is None


@pytest.mark.parametrize("limit", [0, -1, 201, 10**9])
def test_a_limit_outside_1_to_200_is_refused(scans: ScanRepository, limit: int) -> None:
    with pytest.raises(InvalidQuery, match="limit"):
        scans.list_page(limit=limit)


@pytest.mark.parametrize("cursor", ["", "x", "%%%", "a" * 5000, "ÄÖ", base64.urlsafe_b64encode(b"\xff|x|y").decode()])
def test_a_cursor_that_is_none_is_refused(scans: ScanRepository, cursor: str) -> None:
    with pytest.raises(InvalidQuery, match="cursor") as refused:
        scans.list_page(cursor)
    assert refused.value.field == "cursor"


def test_an_edited_cursor_or_one_of_another_list_is_refused(scans: ScanRepository, clock: FakeClock) -> None:
    fill(scans, clock, 5)
    cursor = scans.list_page(None, 2).next_cursor
    assert cursor is not None
    padded = cursor + "=" * (-len(cursor) % 4)
    edited = base64.urlsafe_b64encode(base64.urlsafe_b64decode(padded).replace(b"2026", b"2027")).decode()
    calls: list[Callable[[], object]] = [
        lambda: scans.list_page(edited, 2),
        lambda: scans.list_page(cursor[:-3], 2),
        lambda: scans.list_page(cursor, 2, order="oldest"),
        lambda: scans.list_page(cursor, 2, ScanFilter(patient_id="P1")),
    ]
    for call in calls:
        with pytest.raises(InvalidQuery, match="cursor"):
            call()
    assert len(scans.list_page(padded, 2).rows) == 2


@pytest.mark.parametrize(
    "filters",
    [{"text": "x" * 201}, {"text": "a\0"}, {"patient_id": "x" * 5000}, {"statuses": ("no",)}, {"user_id": 2**40}],
)
def test_a_filter_that_cannot_be_is_refused(filters: dict[str, object]) -> None:
    with pytest.raises(InvalidQuery):
        ScanFilter(**filters)  # type: ignore[arg-type]


def test_an_order_that_cannot_be_is_refused(scans: ScanRepository) -> None:
    with pytest.raises(InvalidQuery, match="order"):
        scans.list_page(order="id; DROP TABLE scans")  # type: ignore[arg-type]


def test_a_page_is_found_in_the_index_however_deep_it_lies(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    scans = ScanRepository(database)
    for number in range(3):
        scans.create_upload(Source.UPLOAD_NIFTI, user_id=None, patient_id=str(number))
    page = scans.list_lines(limit=2)
    asked: list[tuple[str, object]] = []
    listen(database.engine, "before_cursor_execute", lambda *seen: asked.append((seen[2], seen[3])))
    assert len(scans.list_lines(page.next_cursor, 2).lines) == 1
    (statement, values) = next(one for one in asked if one[0].startswith("SELECT"))
    with database.engine.connect() as connection:
        plan = str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all())
    database.close()
    assert "SEARCH scans USING INDEX ix_scans_created_at_id" in plan
    assert "SCAN" not in plan
    assert "TEMP B-TREE" not in plan
