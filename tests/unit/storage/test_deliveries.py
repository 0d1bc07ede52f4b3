from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from storage.database import Database
from storage.deliveries import DeliveryRepository
from storage.errors import Conflict, NotFound
from storage.lifecycle import ScanEvent
from storage.results import ResultRecord, ResultRepository
from storage.scans import ScanRepository
from storage.vocabulary import DeliveryState
from tests.unit.storage.conftest import FakeClock

LEASE_S = 100


@pytest.fixture
def results(database: Database, clock: FakeClock) -> ResultRepository:
    return ResultRepository(database, clock)


@pytest.fixture
def outbox(database: Database, clock: FakeClock) -> DeliveryRepository:
    return DeliveryRepository(database, clock, lease_s=LEASE_S)


@pytest.fixture
def run_id(scans: ScanRepository, ready: str) -> str:
    return scans.start_run(ready, ["1.2.3.1"]).id


def record(run_id: str, number: int = 1, kind: str = "SEG", sha256: str = "a" * 64) -> ResultRecord:
    return ResultRecord(
        run_id=run_id,
        kind=kind,
        sop_instance_uid=f"2.25.{number}",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.66.4",
        series_instance_uid="2.25.100",
        path=f"results/{run_id}/{kind.lower()}.dcm",
        size=10,
        sha256=sha256,
    )


def test_a_second_attempt_meets_the_same_result_row(
    results: ResultRepository, scans: ScanRepository, run_id: str, ready: str
) -> None:
    first = results.upsert(record(run_id))
    again = results.upsert(record(run_id, sha256="b" * 64))
    assert (again.id, again.sha256) == (first.id, "b" * 64)
    second = results.upsert(record(run_id, 2, "SR"))
    assert results.of_run(run_id) == results.of_scan(ready) == [again, second]
    assert results.by_sop_instance_uid("2.25.2") == second
    assert results.by_sop_instance_uid("2.25.3") is None
    with pytest.raises(NotFound, match="no run"):
        results.upsert(record("no-run"))
    scans.apply_event(ready, ScanEvent.FAIL)
    scans.apply_event(ready, ScanEvent.RETRY)
    other = scans.start_run(ready, ["1.2.3.2"])
    with pytest.raises(Conflict, match="another run"):
        results.upsert(record(other.id))


def test_owing_twice_owes_once(outbox: DeliveryRepository, results: ResultRepository, run_id: str, ready: str) -> None:
    result = results.upsert(record(run_id))
    assert [row.destination for row in outbox.owe(result.id, ["pacs", "archive", "pacs"])] == ["pacs", "archive"]
    (pacs, archive) = outbox.owe(result.id, ["archive", "pacs"])
    assert (pacs.scan_id, pacs.run_id, pacs.kind, pacs.path) == (ready, run_id, "SEG", result.path)
    assert (pacs.sop_instance_uid, pacs.sha256, pacs.attempts) == (result.sop_instance_uid, result.sha256, 0)
    outbox.mark_sent(pacs.id)
    assert [row.state for row in outbox.owe(result.id, ["pacs", "archive"])] == [DeliveryState.SENT, DeliveryState.OWED]
    assert [row.id for row in outbox.outstanding(ready)] == [archive.id]
    with pytest.raises(NotFound):
        outbox.owe(999, ["pacs"])


def test_due_rows_are_leased_and_come_by_age(
    outbox: DeliveryRepository, results: ResultRepository, run_id: str, clock: FakeClock
) -> None:
    old = outbox.owe(results.upsert(record(run_id, 1)).id, ["pacs"])[0]
    clock.forward(10)
    new = outbox.owe(results.upsert(record(run_id, 2, "SR")).id, ["archive"])[0]
    taken = outbox.due()
    assert [(row.id, row.attempts) for row in taken] == [(old.id, 1), (new.id, 1)]
    assert outbox.due() == []
    clock.forward(LEASE_S - 1)
    assert outbox.due() == []
    clock.forward(1)
    assert [(row.id, row.attempts) for row in outbox.due(clock(), limit=1)] == [(old.id, 2)]
    assert [row.id for row in outbox.due(destination="archive")] == [new.id]


def test_of_many_deliverers_one_takes_a_row(outbox: DeliveryRepository, results: ResultRepository, run_id: str) -> None:
    for number in range(6):
        outbox.owe(results.upsert(record(run_id, number)).id, ["pacs"])
    with ThreadPoolExecutor(4) as pool:
        taken = [row.id for rows in pool.map(lambda _: outbox.due(limit=3), range(4)) for row in rows]
    assert len(taken) == len(set(taken))
    taken += [row.id for row in outbox.due()]
    assert len(taken) == len(set(taken)) == 6


def test_a_failed_attempt_waits_and_a_refusal_ends(
    outbox: DeliveryRepository, results: ResultRepository, run_id: str, ready: str, clock: FakeClock
) -> None:
    owed = outbox.owe(results.upsert(record(run_id)).id, ["pacs"])[0]
    outbox.due()
    later = clock() + timedelta(seconds=30)
    row = outbox.mark_failed(owed.id, later, "connection refused\r\nforged line")
    assert (row.state, row.next_attempt_at) == (DeliveryState.OWED, later)
    assert row.last_error == "connection refused\\r\\nforged line"
    assert outbox.due() == []
    clock.forward(30)
    assert outbox.due()[0].attempts == 2
    assert outbox.mark_failed(owed.id, None, "0xC000").state is DeliveryState.FAILED
    clock.forward(10_000)
    assert outbox.due() == []
    assert outbox.outstanding(ready) == []
    assert outbox.owe_again(ready) == 1
    assert [(row.attempts, row.created_at) for row in outbox.due()] == [(3, clock())]  # its days begin anew
    assert outbox.owe_again(ready) == 0


def test_what_was_sent_stays_sent_when_a_late_sender_reports(
    outbox: DeliveryRepository, results: ResultRepository, run_id: str, clock: FakeClock
) -> None:
    owed = outbox.owe(results.upsert(record(run_id)).id, ["pacs"])[0]
    at = clock()
    assert outbox.mark_sent(owed.id).sent_at == at
    clock.forward(5)
    assert outbox.mark_sent(owed.id).sent_at == at
    assert outbox.mark_failed(owed.id, clock(), "timeout").state is DeliveryState.SENT
    with pytest.raises(NotFound, match="no delivery"):
        outbox.mark_sent(999)


def test_the_age_of_the_oldest_owed_row(
    outbox: DeliveryRepository, results: ResultRepository, run_id: str, clock: FakeClock
) -> None:
    assert outbox.oldest_owed_age() is None
    owed = outbox.owe(results.upsert(record(run_id)).id, ["pacs"])[0]
    clock.forward(90)
    assert outbox.oldest_owed_age() == timedelta(seconds=90)
    clock.forward(-3600)  # the clock jumped back
    assert outbox.oldest_owed_age() == timedelta()
    assert outbox.count_by_state()[DeliveryState.OWED] == 1
    outbox.mark_sent(owed.id)
    assert outbox.oldest_owed_age() is None
