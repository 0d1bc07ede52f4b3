from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from storage.audit import AuditRepository
from storage.database import Database
from storage.errors import ImpossibleTransition, NotFound
from storage.lifecycle import ScanEvent, ScanState
from storage.runs import RunRow, inputs_digest
from storage.scans import ScanRepository
from storage.studies import InstanceRecord, StudyRepository
from storage.transitions import locked_scan, move
from storage.vocabulary import RunState, Source
from tests.unit.storage.conftest import TO_DELIVERED, FakeClock

UIDS = ["1.2.3.1", "1.2.3.2", "1.2.3.3"]


def test_an_event_moves_the_scan_and_writes_its_row_together(
    scans: ScanRepository, database: Database, ready: str, clock: FakeClock
) -> None:
    clock.forward(5)
    text = "series 1.2.3\nis cut off"
    after = scans.apply_event(ready, ScanEvent.FAIL, text, error_code="GEOMETRY_GAP", series="1.2.3")
    assert (after.status, after.failed_in) == (ScanState.FAILED, ScanState.READY)
    assert (after.error_code, after.error_text) == ("GEOMETRY_GAP", "series 1.2.3\\nis cut off")
    assert after.updated_at == clock()
    event = AuditRepository(database).list(scan_id=ready)[-1]
    assert (event.kind, event.at, event.text) == ("fail", clock(), "series 1.2.3\\nis cut off")
    assert event.data == {"from": "ready", "to": "failed", "error_code": "GEOMETRY_GAP", "series": "1.2.3"}
    again = scans.apply_event(ready, ScanEvent.RETRY)
    assert (again.status, again.failed_in, again.error_code, again.error_text) == (ScanState.READY, None, None, None)


def test_an_impossible_event_changes_nothing(scans: ScanRepository, database: Database, ready: str) -> None:
    before, events = scans.get(ready), AuditRepository(database).list(scan_id=ready)
    with pytest.raises(ImpossibleTransition, match=f"scan {ready} is 'ready'"):
        scans.apply_event(ready, ScanEvent.DELIVERED)
    assert (scans.get(ready), AuditRepository(database).list(scan_id=ready)) == (before, events)


def test_an_event_applied_once_survives_a_step_that_runs_twice(
    scans: ScanRepository, database: Database, ready: str
) -> None:
    scans.start_run(ready, UIDS)
    for _ in range(2):
        assert scans.apply_event_once(ready, ScanEvent.ANALYSED).status is ScanState.REPORTING
    assert len(AuditRepository(database).list(scan_id=ready, kind="analysed")) == 1
    with pytest.raises(ImpossibleTransition):
        scans.apply_event_once(ready, ScanEvent.DELIVERED)


def test_an_unknown_scan_is_named(scans: ScanRepository) -> None:
    for call in (
        lambda: scans.get("no-such"),
        lambda: scans.apply_event("no-such", ScanEvent.FAIL),
        lambda: scans.set_progress("no-such", 1, "x"),
        lambda: scans.start_run("no-such", UIDS),
    ):
        with pytest.raises(NotFound, match="no scan 'no-such'"):
            call()
    assert scans.by_study("1.2") is None


def test_progress_results_and_waiting_are_kept(scans: ScanRepository, ready: str, clock: FakeClock) -> None:
    scans.set_progress(ready, 40, "segment")
    scans.set_results(ready, {"volume_ml": 3.5, "nan": float("nan")})
    scans.set_waiting(ready, "T2")
    at = clock()
    clock.forward(9)
    scans.set_waiting(ready, "T2")
    scan = scans.get(ready)
    assert (scan.progress, scan.pipeline_step, scan.waiting_for, scan.updated_at) == (40, "segment", "T2", at)
    assert scan.results == {"volume_ml": 3.5, "nan": None}
    with pytest.raises(ValueError, match="percentage"):
        scans.set_progress(ready, 101, "x")


def test_a_run_freezes_its_inputs_and_takes_the_scan(scans: ScanRepository, ready: str, clock: FakeClock) -> None:
    run = scans.start_run(ready, [*reversed(UIDS), UIDS[0]], "models-a")
    assert (run.id, run.number, run.state, run.claimed) == (f"{ready}-1", 1, RunState.RUNNING, True)
    assert run.inputs == tuple(UIDS)
    assert run.inputs_digest == inputs_digest(UIDS, "models-a")
    assert (run.started_at, run.ended_at) == (clock(), None)
    assert (scans.get(ready).status, scans.get(ready).run) == (ScanState.ANALYSING, 1)
    again = scans.start_run(ready, UIDS, "models-a")
    assert (again.id, again.claimed) == (run.id, False)
    with pytest.raises(ImpossibleTransition):
        scans.start_run(ready, UIDS[:2], "models-a")
    assert scans.runs_of(ready) == [again]
    assert scans.run(run.id) == again


def test_of_many_workers_one_takes_the_scan(scans: ScanRepository, ready: str) -> None:
    with ThreadPoolExecutor(6) as pool:
        runs = list(pool.map(lambda _: scans.start_run(ready, UIDS), range(6)))
    assert {run.id for run in runs} == {f"{ready}-1"}
    assert [run.claimed for run in runs].count(True) == 1


def test_an_event_waits_for_one_that_is_under_way_and_sees_its_outcome(
    scans: ScanRepository, database: Database, ready: str, clock: FakeClock
) -> None:
    with ThreadPoolExecutor(1) as pool:
        with database.write() as session:
            scan = locked_scan(session, ready)
            second = pool.submit(scans.apply_event, ready, ScanEvent.START)
            time.sleep(0.2)
            assert not second.done()
            move(session, scan, ScanEvent.FAIL, "first", clock(), {})
        with pytest.raises(ImpossibleTransition, match="'failed': 'start'"):
            second.result(timeout=10)


def test_a_failed_run_is_taken_up_again(scans: ScanRepository, ready: str) -> None:
    run = scans.start_run(ready, UIDS)
    assert scans.finish_run(run.id, RunState.FAILED).state is RunState.FAILED
    scans.apply_event(ready, ScanEvent.FAIL, "out of memory")
    scans.apply_event(ready, ScanEvent.RETRY)
    again = scans.start_run(ready, UIDS)
    assert (again.id, again.state, again.claimed, again.ended_at) == (run.id, RunState.RUNNING, True, None)


def test_the_same_study_sent_twice_has_one_result(
    scans: ScanRepository,
    studies: StudyRepository,
    ready: str,
    instance: Callable[..., InstanceRecord],
    clock: FakeClock,
) -> None:
    first = scans.start_run(ready, UIDS, "m")
    scans.set_results(ready, {"n": 1})
    clock.forward(8)
    done = scans.finish_run(first.id, RunState.DONE, {"detect": 1.5})
    assert (done.ended_at, done.timings) == (clock(), {"detect": 1.5})
    assert scans.finish_run(first.id, RunState.FAILED).state is RunState.DONE
    for event in TO_DELIVERED:
        scans.apply_event(ready, event)
    # a late series leads to a second run, which fails, then the first inputs once more (an override taken back)
    studies.record_instance(instance(4, series_instance_uid="1.2.4"))
    scans.apply_event(ready, ScanEvent.COMPLETE)
    second = scans.start_run(ready, [*UIDS, "1.2.3.4"], "m")
    assert second.id == f"{ready}-2"
    scans.set_results(ready, {"n": 2})
    scans.finish_run(second.id, RunState.FAILED)
    scans.apply_event(ready, ScanEvent.FAIL)
    scans.apply_event(ready, ScanEvent.RETRY)
    same = scans.start_run(ready, UIDS, "m")
    assert (same.id, same.state, same.claimed) == (first.id, RunState.DONE, False)
    scan = scans.apply_event(ready, ScanEvent.UNCHANGED)
    assert (scan.status, scan.run, scan.results) == (ScanState.DELIVERING, 1, {"n": 1})
    assert [run.number for run in scans.runs_of(ready)] == [1, 2]
    scans.apply_event(ready, ScanEvent.DELIVERED)
    scans.apply_event(ready, ScanEvent.RETRY)
    assert scans.start_run(ready, UIDS, "other models").number == 3


def done(scans: ScanRepository, scan_id: str, digest: str) -> RunRow:
    """The run of these inputs, made where it has to be, and delivered; the scan is ready again."""
    run = scans.start_run(scan_id, UIDS, digest)
    scans.finish_run(run.id, RunState.DONE)
    for event in TO_DELIVERED if run.claimed else (ScanEvent.UNCHANGED, ScanEvent.DELIVERED):
        scans.apply_event(scan_id, event)
    scans.apply_event(scan_id, ScanEvent.RETRY)
    return run


def test_what_another_run_took_the_place_of_is_made_anew_once(scans: ScanRepository, ready: str) -> None:
    """Models rolled back, or an override taken back: what was sent last must be what holds."""
    made = [done(scans, ready, digest) for digest in "aabaaba"]
    assert [(run.number, run.claimed) for run in made] == [
        (1, True), (1, False), (2, True), (3, True), (3, False), (4, True), (5, True),
    ]  # fmt: skip
    assert len({run.inputs_digest for run in scans.runs_of(ready)}) == 5
    assert (scans.has_result(ready, UIDS, "a"), scans.has_result(ready, UIDS, "b")) == (True, False)
    assert [run.number for run in scans.runs_of(ready)] == [1, 2, 3, 4, 5]


def test_a_repeated_run_that_failed_is_taken_up_again(scans: ScanRepository, ready: str) -> None:
    for digest in "ab":
        done(scans, ready, digest)
    run = scans.start_run(ready, UIDS, "a")
    scans.finish_run(run.id, RunState.FAILED)
    for event in (ScanEvent.FAIL, ScanEvent.RETRY):
        scans.apply_event(ready, event)
    again = scans.start_run(ready, UIDS, "a")
    assert (again.id, again.number, again.claimed) == (run.id, 3, True)


def test_a_worker_that_comes_late_does_not_change_what_is_shown(scans: ScanRepository, ready: str) -> None:
    run = scans.start_run(ready, UIDS, "a")
    scans.finish_run(run.id, RunState.DONE)
    for event in (*TO_DELIVERED, ScanEvent.RETRY):
        scans.apply_event(ready, event)
    assert scans.start_run(ready, UIDS, "b").number == 2
    with pytest.raises(ImpossibleTransition):
        scans.start_run(ready, UIDS, "a")
    assert scans.get(ready).run == 2


def test_an_unknown_run_is_named(scans: ScanRepository) -> None:
    with pytest.raises(NotFound, match="no run"):
        scans.run("x-1")
    with pytest.raises(NotFound, match="no run"):
        scans.finish_run("x-1", RunState.DONE)


def test_an_upload_waits_for_its_files(scans: ScanRepository, studies: StudyRepository) -> None:
    upload = scans.create_upload(Source.UPLOAD_NIFTI, user_id=None, patient_id="P9", modalities=["T1", "T2"])
    assert (upload.status, upload.modalities) == (ScanState.RECEIVED, ("T1", "T2"))
    assert scans.apply_event(upload.id, ScanEvent.COMPLETE).status is ScanState.READY
    facts = studies.scan_facts(upload.id)
    assert (facts.study, facts.series, facts.instances) == (None, (), ())
    assert scans.start_run(upload.id, ["t1.nii.gz", "t2.nii.gz"]).inputs == ("t1.nii.gz", "t2.nii.gz")


def test_scans_are_found_and_counted_by_state(scans: ScanRepository, ready: str, clock: FakeClock) -> None:
    clock.forward(1)
    newer = scans.create_upload(Source.UPLOAD_NIFTI, user_id=None)
    assert [row.id for row in scans.in_states(ScanState.READY, ScanState.RECEIVED)] == [ready, newer.id]
    assert scans.in_states(ScanState.FAILED) == []
    counted = scans.count_by_state()
    assert (counted[ScanState.READY], counted[ScanState.RECEIVED], counted[ScanState.FAILED]) == (1, 1, 0)
