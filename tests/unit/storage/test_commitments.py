from __future__ import annotations

from datetime import timedelta

import pytest

from storage.commitments import CommitmentRepository, Settled
from storage.database import Database
from storage.deliveries import DeliveryRepository
from storage.delivery_rows import DeliveryRow
from storage.results import ResultRecord, ResultRepository
from storage.reviews import ReviewRepository
from storage.scans import ScanRepository
from storage.vocabulary import CommitmentState, DeliveryState, ReviewVerdict, RunState
from tests.unit.storage.conftest import FakeClock

S = CommitmentState


@pytest.fixture
def outbox(database: Database, clock: FakeClock) -> DeliveryRepository:
    return DeliveryRepository(database, clock)


@pytest.fixture
def commitments(database: Database, clock: FakeClock) -> CommitmentRepository:
    return CommitmentRepository(database, clock, lease_s=100)


@pytest.fixture
def sent(
    database: Database, clock: FakeClock, outbox: DeliveryRepository, scans: ScanRepository, ready: str
) -> list[DeliveryRow]:
    """A SEG and an SR that 'pacs' took."""
    run_id = scans.start_run(ready, ["1.2.3.1"]).id
    results = ResultRepository(database, clock)
    rows = []
    for number, kind in enumerate(("SEG", "SR"), 1):
        made = results.upsert(_made(run_id, number, kind))
        rows.append(outbox.mark_sent(outbox.owe(made.id, ["pacs"])[0].id, commit=True))
    return rows


def _made(run_id: str, number: int, kind: str) -> ResultRecord:
    return ResultRecord(
        run_id=run_id, kind=kind, sop_instance_uid=f"2.25.{number}", sop_class_uid=f"1.2.{number}",
        series_instance_uid="2.25.100", path=f"x/{kind}", size=1, sha256="a" * 64,
    )  # fmt: skip


def states(commitments: CommitmentRepository, scan_id: str) -> list[CommitmentState]:
    return [row.state for row in commitments.of_scan(scan_id).values()]


def test_what_was_sent_is_asked_once_under_one_transaction(
    commitments: CommitmentRepository, outbox: DeliveryRepository, sent: list[DeliveryRow], ready: str, clock: FakeClock
) -> None:
    assert commitments.begin("another", "9.1") == []
    taken = commitments.begin("pacs", "9.2")
    assert [(row.sop_class_uid, row.sop_instance_uid, row.attempts) for row in taken] == [
        ("1.2.1", "2.25.1", 1),
        ("1.2.2", "2.25.2", 1),
    ]
    assert commitments.begin("pacs", "9.3") == []
    commitments.asked("9.2", clock() + timedelta(hours=6))
    assert states(commitments, ready) == [S.ASKED, S.ASKED]
    clock.forward(6 * 3600)
    assert {row.attempts for row in commitments.begin("pacs", "9.4")} == {2}
    assert outbox.mark_sent(sent[0].id, commit=True).state is DeliveryState.SENT
    assert states(commitments, ready) == [S.ASKED, S.ASKED]


def test_a_report_settles_late_twice_and_for_a_repeated_request(
    commitments: CommitmentRepository, sent: list[DeliveryRow], ready: str, clock: FakeClock
) -> None:
    commitments.begin("pacs", "9.1")
    clock.forward(101)
    commitments.begin("pacs", "9.2")
    assert commitments.settle("9.1", ["2.25.1"], {}) == Settled(known=True, committed=1)
    assert commitments.settle("9.1", ["2.25.1"], {}) == Settled(known=True)
    assert states(commitments, ready) == [S.COMMITTED, S.OWED]
    # The report came before the answer to the request itself: what it ended stays ended.
    commitments.asked("9.2", clock() + timedelta(hours=1))
    assert states(commitments, ready) == [S.COMMITTED, S.ASKED]
    assert commitments.expire(timedelta(0)) == 1
    assert commitments.settle("9.2", ["2.25.2"], {}).committed == 1
    assert states(commitments, ready) == [S.COMMITTED, S.COMMITTED]
    assert commitments.unsettled(ready) == []


def test_a_transaction_that_is_not_ours_changes_nothing(
    commitments: CommitmentRepository, sent: list[DeliveryRow], ready: str
) -> None:
    commitments.begin("pacs", "9.1")
    assert commitments.settle("9.99", ["2.25.1"], {"2.25.2": "no"}) == Settled(known=False)
    assert commitments.settle("9.1", ["2.25.77"], {"2.25.78": "no"}) == Settled(known=True)
    assert states(commitments, ready) == [S.OWED, S.OWED]


def test_a_denied_object_is_sent_again_once_and_then_shown(
    commitments: CommitmentRepository, outbox: DeliveryRepository, sent: list[DeliveryRow], ready: str
) -> None:
    commitments.begin("pacs", "9.1")
    assert commitments.settle("9.1", ["2.25.2"], {"2.25.1": "gone, 0x0112"}) == Settled(
        known=True, committed=1, sent_again=1
    )
    seg = outbox.get(sent[0].id)
    assert (seg.state, "gone, 0x0112" in seg.last_error) == (DeliveryState.OWED, True)
    # A denial that is repeated, or of the former request, does not count against the object that is on its way again.
    assert commitments.settle("9.1", [], {"2.25.1": "gone"}) == Settled(known=True)
    assert commitments.begin("pacs", "9.2") == []
    assert [row.id for row in outbox.due()] == [seg.id]
    outbox.mark_sent(seg.id, commit=True)
    assert len(commitments.begin("pacs", "9.3")) == 1
    assert commitments.settle("9.3", [], {"2.25.1": "gone, 0x0112"}) == Settled(known=True, failed=1)
    assert outbox.get(sent[0].id).state is DeliveryState.SENT
    assert [(row.state, row.reason) for row in commitments.unsettled(ready)] == [(S.FAILED, "gone, 0x0112")]
    outbox.owe_once_more(sent[0].id)
    outbox.mark_sent(sent[0].id, commit=True)
    assert len(commitments.begin("pacs", "9.4")) == 1


def test_a_denied_object_that_a_review_rejected_is_not_sent_again(
    commitments: CommitmentRepository,
    outbox: DeliveryRepository,
    scans: ScanRepository,
    database: Database,
    sent: list[DeliveryRow],
    clock: FakeClock,
) -> None:
    """The PACS honoured the rejection note, and has the object no more."""
    scans.finish_run(sent[0].run_id, RunState.DONE)
    rejected = ReviewRepository(database, clock).add(sent[0].run_id, ReviewVerdict.REJECTED, reviewer="ada")
    note = ResultRepository(database, clock).upsert(_made(sent[0].run_id, 3, "REJECTION"))
    (owed,) = outbox.owe(note.id, ["pacs"])
    outbox.mark_sent(owed.id, commit=True)
    commitments.begin("pacs", "9.1")
    denied = dict.fromkeys(("2.25.1", "2.25.3"), "gone, 0x0112")
    assert commitments.settle("9.1", [], denied) == Settled(known=True, failed=1, sent_again=1)
    assert outbox.get(sent[0].id).state is DeliveryState.SENT
    assert [row.id for row in outbox.due()] == [owed.id]
    assert commitments.of_scan(rejected.scan_id)[sent[0].id].state is S.FAILED


def test_what_is_never_answered_is_shown_as_not_confirmed(
    commitments: CommitmentRepository, sent: list[DeliveryRow], ready: str, clock: FakeClock
) -> None:
    commitments.begin("pacs", "9.1")
    commitments.asked("9.1", clock() + timedelta(hours=6))
    clock.forward(24 * 3600 - 1)
    assert commitments.expire(timedelta(hours=24)) == 0
    clock.forward(1)
    assert commitments.expire(timedelta(hours=24)) == 2
    row = commitments.of_scan(ready)[sent[0].id]
    assert (row.state, row.reason) == (S.UNCONFIRMED, "no report came in time")
    assert commitments.begin("pacs", "9.2") == []
    assert commitments.count_by_state()[S.UNCONFIRMED] == 2
