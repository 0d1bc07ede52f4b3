"""A patient's visits: of each study its present run, in order of dates; of no other patient's."""

from __future__ import annotations

import pytest

from storage.database import Database
from storage.errors import NotFound
from storage.lifecycle import ScanEvent
from storage.scans import ScanRepository
from storage.studies import StudyRepository
from storage.visits import VisitRepository
from storage.vocabulary import RunState


@pytest.fixture
def visits(database: Database, clock) -> VisitRepository:
    return VisitRepository(database, clock)


def _run(scans: ScanRepository, studies: StudyRepository, record, uid: str, day: str, patient: str, **more):
    """A done run of a study with one instance; returns its id."""
    changes = {"sop_instance_uid": f"{uid}.1", "series_instance_uid": f"{uid}.9", "study_instance_uid": uid}
    made = studies.record_instance(record(**changes, study_date=day, patient_id=patient, path=f"{uid}.dcm"))
    scan_id = made.scan_id
    scans.apply_event(scan_id, ScanEvent.COMPLETE)
    return scans.start_run(scan_id, [f"{uid}.1"], **more)


def test_the_timeline_is_of_one_patient_and_in_order(visits, scans, studies, instance):
    made: dict[str, str] = {}
    for uid, day, patient in (("1.2", "20250301", "A"), ("1.1", "20240301", "A"), ("1.3", "20240501", "B")):
        run = _run(scans, studies, instance, uid, day, patient)
        visits.keep(run.id, {"of": uid}, volume={"category": "SD"})
        # It counts once its run is done.
        assert run.id not in [row.run_id for row in visits.timeline(patient)]
        scans.finish_run(run.id, RunState.DONE)
        made[uid] = run.id
    assert [row.study_instance_uid for row in visits.timeline("A")] == ["1.1", "1.2"]
    assert [row.visit for row in visits.timeline("B")] == [{"of": "1.3"}]
    assert visits.timeline("A", "another issuer") == []
    assert visits.timeline("") == []
    assert [row.study_instance_uid for row in visits.before("1.2")] == ["1.1"]
    assert visits.before("1.1") == []
    runs = (made["1.2"], made["1.1"])
    assert [row.study_instance_uid for row in visits.of_runs((*runs, "none"))] == ["1.2", "1.1"]
    assert visits.of_runs(runs)[0].volume == {"category": "SD"}


def test_a_second_attempt_replaces_and_an_unknown_run_is_refused(visits, scans, studies, instance):
    run = _run(scans, studies, instance, "1.1", "20240301", "A")
    visits.keep(run.id, {"n": 1})
    visits.keep(run.id, {"n": 2})
    scans.finish_run(run.id, RunState.DONE)
    assert [row.visit for row in visits.timeline("A")] == [{"n": 2}]
    with pytest.raises(NotFound):
        visits.keep("no-such", {})
    with pytest.raises(NotFound):
        visits.before("9.9")


def test_priors_are_part_of_what_a_run_is(scans, studies, instance):
    first = _run(scans, studies, instance, "1.1", "20240301", "A")
    assert first.priors == ()
    scans.finish_run(first.id, RunState.DONE)
    assert scans.start_run(first.scan_id, ["1.1.1"]).id == first.id
    for event in (ScanEvent.ANALYSED, ScanEvent.REPORTED, ScanEvent.DELIVERED, ScanEvent.RETRY):
        scans.apply_event(first.scan_id, event)
    second = scans.start_run(first.scan_id, ["1.1.1"], priors=["x-1", "y-1"])
    assert second.id != first.id
    assert scans.run(second.id).priors == ("x-1", "y-1")
