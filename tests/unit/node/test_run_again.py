"""*Run again* where nothing has changed: what destinations refused, and what was held, gets its chance anew."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from dicom_node.held import HeldObjects
from dicom_node.inbound.assembly import AssemblyPolicy
from dicom_node.intake import Intake, Jobs
from dicom_node.routing import Routing
from dicom_node.store import Store
from storage.clock import utc_now
from storage.lifecycle import ScanEvent, ScanState
from storage.vocabulary import DeliveryState, ReviewVerdict
from tests.outbox import SteppedClock
from tests.unit.node.reviewed_runs import done, opened_store, review_follow_up

HELD, OWED, WAITING = DeliveryState.HELD, DeliveryState.OWED, DeliveryState.WAITING
KINDS = {"pacs": ("SR-VIEWER",)}
STRICT = Routing(kinds_by_destination=KINDS, profiles={"pacs": ("ohif",)})
LENIENT = Routing(kinds_by_destination=KINDS, profiles={"pacs": ()})


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock(utc_now())


@pytest.fixture
def store(tmp_path: Path, clock: SteppedClock) -> Iterator[Store]:
    with opened_store(tmp_path, clock) as opened:
        yield opened


def viewer_sr(store: Store, run_id: str) -> int:
    return next(row.id for row in store.results.of_run(run_id) if row.kind == "SR-VIEWER")


def failed(store: Store, run_id: str) -> str:
    """The run's scan, which ended as a destination has not all of it."""
    scan_id = store.scans.run(run_id).scan_id
    (store.files.upload_folder(scan_id) / "a").touch()
    for event in (ScanEvent.ANALYSED, ScanEvent.REPORTED, ScanEvent.FAIL):
        store.scans.apply_event(scan_id, event)
    return scan_id


def run_again(
    store: Store, scan_id: str, clock: SteppedClock, routing: Routing, *, review_first: bool = False
) -> list[str]:
    """The destinations that are tried at once."""
    tried: list[str] = []
    held = HeldObjects(
        results=store.results,
        deliveries=store.deliveries,
        reviews=store.reviews,
        files=store.files,
        routing=routing,
        review_first=review_first,
    )
    intake = Intake(
        studies=store.studies, scans=store.scans, requests=store.requests, deliveries=store.deliveries,
        files=store.files, jobs=Jobs(submit=lambda run: pytest.fail("a run began"), gave_up=lambda run: None),
        policy=AssemblyPolicy(), model_digest=lambda: "models", clock=clock, try_destination=tried.append,
        judge_held=held.judge_again,
    )  # fmt: skip
    store.scans.apply_event(scan_id, ScanEvent.RETRY)
    intake.tick()
    assert store.scans.get(scan_id).status is ScanState.DELIVERING
    return tried


def states(store: Store, scan_id: str) -> list[DeliveryState]:
    return [row.state for row in store.deliveries.of_scan(scan_id)]


def test_after_a_long_outage_the_days_begin_anew_and_the_destination_is_tried_at_once(
    store: Store, clock: SteppedClock
) -> None:
    run_id = done(store, "models;")
    store.deliveries.owe(viewer_sr(store, run_id), ["pacs"])
    (row,) = store.deliveries.due()
    store.deliveries.mark_failed(row.id, None, "given up: the destination refuses everything it is sent")
    scan_id = failed(store, run_id)
    clock.advance(8 * 24 * 3600)
    assert run_again(store, scan_id, clock, STRICT) == ["pacs"]
    assert store.deliveries.give_up("pacs", clock() - timedelta(days=7), "too old") == 0
    assert [row.created_at for row in store.deliveries.due()] == [clock()]


def test_what_was_held_goes_once_its_destination_minds_the_defect_no_more(store: Store, clock: SteppedClock) -> None:
    run_id = done(store, "models;")
    store.deliveries.hold(viewer_sr(store, run_id), "pacs", "held, not sent: title: once")
    scan_id = failed(store, run_id)
    assert run_again(store, scan_id, clock, STRICT) == []
    (row,) = store.deliveries.of_scan(scan_id)
    assert (row.state, row.last_error) == (HELD, "held, not sent: title: odd")
    store.scans.apply_event(scan_id, ScanEvent.FAIL)
    clock.advance(60)
    assert run_again(store, scan_id, clock, LENIENT) == ["pacs"]
    (row,) = store.deliveries.of_scan(scan_id)
    assert (row.state, row.created_at, row.last_error) == (OWED, clock(), "")


@pytest.mark.parametrize(
    ("verdict", "review_first", "expected"),
    [
        (None, True, WAITING),
        (ReviewVerdict.ACCEPTED, True, OWED),
        (ReviewVerdict.ON_HOLD, False, WAITING),
        (ReviewVerdict.REJECTED, False, HELD),
    ],
)
def test_what_is_held_no_more_heeds_the_review(
    store: Store, clock: SteppedClock, verdict: ReviewVerdict | None, review_first: bool, expected: DeliveryState
) -> None:
    run_id = done(store, "models;")
    store.deliveries.hold(viewer_sr(store, run_id), "pacs", "held, not sent: title: odd")
    scan_id = failed(store, run_id)
    if verdict is not None:
        store.reviews.add(run_id, verdict, comment="x", reviewer="ada")
    run_again(store, scan_id, clock, LENIENT, review_first=review_first)
    assert states(store, scan_id) == [expected]


def test_a_verified_document_is_held_as_its_source(store: Store, clock: SteppedClock) -> None:
    run_id = done(store, "models;")
    store.deliveries.hold(viewer_sr(store, run_id), "pacs", "held, not sent: title: odd")
    scan_id = failed(store, run_id)
    store.reviews.add(run_id, ReviewVerdict.ACCEPTED, reviewer="ada", reviewer_name="Ada Lovelace")
    review_follow_up(store, STRICT, "St. Elsewhere").tick()
    run_again(store, scan_id, clock, STRICT)
    assert states(store, scan_id) == [HELD, HELD]
    store.scans.apply_event(scan_id, ScanEvent.FAIL)
    run_again(store, scan_id, clock, LENIENT)
    assert states(store, scan_id) == [OWED, OWED]
