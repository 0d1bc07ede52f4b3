"""Reviews on both databases: which one holds, and what it does to deliveries and the scan."""

from __future__ import annotations

import pytest

from storage.database import Database
from storage.deliveries import DeliveryRepository
from storage.errors import Conflict, NotFound
from storage.lifecycle import ScanEvent, ScanState
from storage.results import ResultRepository
from storage.review_consequences import REJECTED
from storage.reviews import ReviewRepository
from storage.scans import ScanRepository
from storage.vocabulary import DeliveryState, ReviewVerdict, RunState
from tests.unit.storage.conftest import FakeClock
from tests.unit.storage.test_deliveries import record

ACCEPTED, REJECTED_, ON_HOLD = ReviewVerdict.ACCEPTED, ReviewVerdict.REJECTED, ReviewVerdict.ON_HOLD
OWED, SENT, WAITING, WITHDRAWN = (
    DeliveryState.OWED,
    DeliveryState.SENT,
    DeliveryState.WAITING,
    DeliveryState.WITHDRAWN,
)


@pytest.fixture
def reviews(database: Database, clock: FakeClock) -> ReviewRepository:
    return ReviewRepository(database, clock)


@pytest.fixture
def outbox(database: Database, clock: FakeClock) -> DeliveryRepository:
    return DeliveryRepository(database, clock, lease_s=100)


@pytest.fixture
def results(database: Database, clock: FakeClock) -> ResultRepository:
    return ResultRepository(database, clock)


def done(scans: ScanRepository, scan_id: str, inputs: str = "1.2.3.1") -> str:
    run = scans.start_run(scan_id, [inputs])
    scans.finish_run(run.id, RunState.DONE)
    for event in (ScanEvent.ANALYSED, ScanEvent.REPORTED):
        scans.apply_event(scan_id, event)
    return run.id


def states(outbox: DeliveryRepository, scan_id: str) -> list[DeliveryState]:
    return [row.state for row in outbox.of_scan(scan_id)]


def test_one_review_of_a_run_holds_and_those_before_are_kept(
    reviews: ReviewRepository, scans: ScanRepository, ready: str, clock: FakeClock
) -> None:
    run = done(scans, ready)
    assert reviews.current(run) is None
    first = reviews.add(run, ON_HOLD, comment=" motion? ", reviewer="ada", reviewer_name="Ada L.")
    assert (first.scan_id, first.comment, first.replaced_at) == (ready, "motion?", None)
    later = clock.forward(60)
    second = reviews.add(run, ACCEPTED, reviewer="curie")
    assert reviews.current(run) == second
    assert [(row.verdict, row.replaced_at) for row in reviews.of_scan(ready)] == [(ON_HOLD, later), (ACCEPTED, None)]
    assert reviews.count_by_verdict() == {ACCEPTED: 1, REJECTED_: 0, ON_HOLD: 0}
    assert [row.id for row in reviews.to_carry_out()] == [second.id]
    reviews.mark_carried_out(second.id)
    assert reviews.to_carry_out() == []


def test_what_waits_is_owed_once_it_is_accepted_and_the_days_begin_then(
    reviews: ReviewRepository,
    outbox: DeliveryRepository,
    results: ResultRepository,
    scans: ScanRepository,
    ready: str,
    clock: FakeClock,
) -> None:
    run = done(scans, ready)
    kept = results.upsert(record(run))
    reviews.hold_back(kept.id, ["pacs"])
    reviews.hold_back(kept.id, ["pacs"])
    scans.apply_event(ready, ScanEvent.REVIEW)
    assert (states(outbox, ready), outbox.due()) == ([WAITING], [])
    now = clock.forward(86400)
    reviews.add(run, ACCEPTED, reviewer="ada")
    (due,) = outbox.due()
    assert (due.state, due.created_at, scans.get(ready).status) == (OWED, now, ScanState.DELIVERING)
    # Published once more, after a crash: nothing goes back to waiting.
    reviews.hold_back(kept.id, ["pacs"])
    assert states(outbox, ready) == [OWED]


def test_rejecting_withdraws_what_is_not_sent_and_may_be_taken_back(
    reviews: ReviewRepository, outbox: DeliveryRepository, results: ResultRepository, scans: ScanRepository, ready: str
) -> None:
    run = done(scans, ready)
    first, second = results.upsert(record(run)), results.upsert(record(run, 2, "SR"))
    (sent,) = outbox.owe(first.id, ["pacs"])
    outbox.owe(second.id, ["pacs"])
    outbox.mark_sent(sent.id)
    reviews.add(run, ON_HOLD, comment="look again", reviewer="ada")
    assert (states(outbox, ready), scans.get(ready).status) == ([SENT, WAITING], ScanState.AWAITING_REVIEW)
    reviews.add(run, REJECTED_, comment="not the tumour", reviewer="ada")
    scan = scans.get(ready)
    assert (states(outbox, ready), scan.status, scan.error_code) == ([SENT, WITHDRAWN], ScanState.FAILED, REJECTED)
    reviews.add(run, ACCEPTED, reviewer="curie")
    assert (states(outbox, ready), scans.get(ready).status) == ([SENT, OWED], ScanState.DELIVERING)


def test_what_a_destination_refused_is_withdrawn_by_a_rejection_and_sent_after_all_by_an_acceptance(
    reviews: ReviewRepository,
    outbox: DeliveryRepository,
    results: ResultRepository,
    scans: ScanRepository,
    ready: str,
    clock: FakeClock,
) -> None:
    run = done(scans, ready)
    archive, pacs = outbox.owe(results.upsert(record(run)).id, ["archive", "pacs"])
    outbox.due()
    outbox.mark_sent(archive.id)
    outbox.mark_failed(pacs.id, None, "0xC000")
    scans.apply_event(ready, ScanEvent.FAIL, error_code="delivery-refused")
    reviews.add(run, ON_HOLD, comment="motion?", reviewer="ada")
    assert (outbox.owe_again(ready), states(outbox, ready)) == (0, [SENT, DeliveryState.FAILED])
    reviews.add(run, REJECTED_, comment="not the tumour", reviewer="ada")
    assert (outbox.owe_again(ready), states(outbox, ready)) == (0, [SENT, WITHDRAWN])
    assert outbox.get(pacs.id).next_attempt_at == clock()
    for row in (archive, pacs):
        with pytest.raises(Conflict, match="withholds"):
            outbox.owe_once_more(row.id)
    reviews.add(run, ACCEPTED, reviewer="curie")
    assert (states(outbox, ready), scans.get(ready).status) == ([SENT, OWED], ScanState.DELIVERING)
    with pytest.raises(NotFound):
        outbox.owe_once_more(99)


def test_a_rejection_note_that_was_refused_may_go_again_until_another_verdict(
    reviews: ReviewRepository, outbox: DeliveryRepository, results: ResultRepository, scans: ScanRepository, ready: str
) -> None:
    run = done(scans, ready)
    reviews.add(run, REJECTED_, comment="not the tumour", reviewer="ada")
    (note,) = outbox.owe(results.upsert(record(run, 2, "REJECTION")).id, ["pacs"])
    outbox.mark_failed(note.id, None, "0xC000")
    assert outbox.owe_again(ready) == 1
    outbox.mark_failed(note.id, None, "0xC000")
    assert outbox.owe_once_more(note.id).state is OWED
    outbox.mark_failed(note.id, None, "0xC000")
    reviews.add(run, ACCEPTED, reviewer="curie")
    assert (outbox.owe_again(ready), states(outbox, ready)) == (0, [WITHDRAWN])


def test_a_rejected_object_that_is_being_sent_is_neither_failed_nor_replaced(
    reviews: ReviewRepository, outbox: DeliveryRepository, results: ResultRepository, scans: ScanRepository, ready: str
) -> None:
    run = done(scans, ready)
    outbox.owe(results.upsert(record(run)).id, ["pacs"])
    results.upsert(record(run, 2, "SC"))
    (leased,) = outbox.due()
    reviews.add(run, REJECTED_, comment="wrong side", reviewer="ada")
    assert not outbox.replace_by(leased.id, ["SC"], "class refused")
    outbox.mark_failed(leased.id, None, "class refused")
    assert states(outbox, ready) == [WITHDRAWN]
    assert reviews.close_rejected(ready)
    assert not reviews.close_rejected(ready)
    assert scans.get(ready).error_code == REJECTED


def test_a_later_run_takes_the_place_of_one_that_waits(
    reviews: ReviewRepository, outbox: DeliveryRepository, results: ResultRepository, scans: ScanRepository, ready: str
) -> None:
    first = done(scans, ready)
    reviews.hold_back(results.upsert(record(first)).id, ["pacs"])
    scans.apply_event(ready, ScanEvent.REVIEW)
    scans.apply_event(ready, ScanEvent.RETRY)
    second = done(scans, ready, "1.2.3.2")
    assert (reviews.supersede(second), states(outbox, ready)) == (1, [DeliveryState.REPLACED])
    with pytest.raises(Conflict, match="another run's results") as raised:
        reviews.add(first, ACCEPTED, reviewer="ada")
    assert raised.value.field == "run"


def test_what_a_review_withholds_stands_after_another_run_and_waits_again(
    reviews: ReviewRepository, outbox: DeliveryRepository, results: ResultRepository, scans: ScanRepository, ready: str
) -> None:
    first = done(scans, ready)
    reviews.hold_back(results.upsert(record(first)).id, ["pacs"])
    reviews.add(first, ON_HOLD, comment="motion?", reviewer="ada")
    scans.apply_event(ready, ScanEvent.RETRY)
    second = done(scans, ready, "1.2.3.2")
    reviews.hold_back(results.upsert(record(second, 2)).id, ["pacs"])
    assert (reviews.supersede(second), states(outbox, ready)) == (1, [DeliveryState.REPLACED, WAITING])
    scans.apply_event(ready, ScanEvent.REVIEW)
    scans.apply_event(ready, ScanEvent.RETRY)
    # The override that led to the second is taken back: what is on hold is not sent as another run's.
    assert scans.start_run(ready, ["1.2.3.1"]).id == first
    assert (scans.get(ready).run, states(outbox, ready)) == (1, [WAITING, DeliveryState.REPLACED])
    scans.apply_event(ready, ScanEvent.UNCHANGED)
    reviews.add(first, ACCEPTED, reviewer="ada")
    assert states(outbox, ready) == [OWED, DeliveryState.REPLACED]


def test_a_run_that_has_not_ended_cannot_be_reviewed(
    reviews: ReviewRepository, scans: ScanRepository, ready: str
) -> None:
    run = scans.start_run(ready, ["1.2.3.1"])
    with pytest.raises(Conflict, match="has not ended"):
        reviews.add(run.id, ACCEPTED, reviewer="ada")
    with pytest.raises(NotFound):
        reviews.add("none", ACCEPTED, reviewer="ada")
    with pytest.raises(NotFound):
        reviews.hold_back(99, ["pacs"])
