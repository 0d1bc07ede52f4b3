from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select

from storage.audit import AuditRepository
from storage.database import Database
from storage.errors import NotFound
from storage.lifecycle import ScanEvent, ScanState
from storage.scans import ScanRepository
from storage.studies import InstanceRecord, Outcome, StudyRepository
from storage.study_reading import SeriesRoleRecord
from storage.tables import ConflictingObject, Event, Instance, Scan, Series, Study
from storage.vocabulary import ConflictKind, Source
from tests.unit.storage.conftest import TO_DELIVERED, FakeClock

Build = Callable[..., InstanceRecord]


def counts(database: Database) -> dict[str, int]:
    with database.read() as session:
        tables = (Study, Series, Instance, Scan, ConflictingObject, Event)
        return {table.__tablename__: session.scalar(select(func.count()).select_from(table)) or 0 for table in tables}


def test_the_first_instance_makes_study_series_instance_and_scan(
    studies: StudyRepository, scans: ScanRepository, instance: Build, clock: FakeClock
) -> None:
    recorded = studies.record_instance(instance(1))
    assert (recorded.outcome, recorded.path, recorded.amended) == (Outcome.NEW, "studies/a/b/1.dcm", False)
    facts = studies.scan_facts(recorded.scan_id or "")
    assert facts.scan.status is ScanState.RECEIVED
    assert facts.scan.source is Source.CSTORE
    assert (facts.scan.patient_id, facts.scan.patient_name, facts.scan.scan_date) == ("P1", "DOE^JANE", "2026-01-01")
    assert facts.study is not None
    assert facts.study.study_date == "20260101"
    assert facts.study.first_received_at == facts.series[0].last_received_at == clock()
    assert facts.instances[0].header == {"Rows": 256}
    assert facts.instances[0].series_instance_uid == facts.series[0].series_instance_uid == "1.2.3"
    assert scans.by_study("1.2") == facts.scan


def test_a_duplicate_changes_nothing_and_names_the_stored_file(
    studies: StudyRepository, database: Database, instance: Build, clock: FakeClock
) -> None:
    first = studies.record_instance(instance(1))
    before, facts = counts(database), studies.scan_facts(first.scan_id or "")
    clock.forward(60)
    again = studies.record_instance(instance(1, path="studies/a/b/other.dcm"))
    assert (again.outcome, again.path, again.scan_id) == (Outcome.DUPLICATE, "studies/a/b/1.dcm", first.scan_id)
    assert counts(database) == before
    assert studies.scan_facts(first.scan_id or "") == facts


def test_the_same_uid_with_other_bytes_is_kept_apart_once(
    studies: StudyRepository, database: Database, instance: Build
) -> None:
    first = studies.record_instance(instance(1))
    other = instance(1, sha256="f" * 64, path="conflicts/c.dcm")
    assert studies.record_instance(other).outcome is Outcome.CONFLICT
    assert studies.record_instance(other).outcome is Outcome.CONFLICT
    facts = studies.scan_facts(first.scan_id or "")
    assert [row.sha256 for row in facts.instances] == [f"{1:064x}"]
    assert facts.conflicts == 1
    (conflict,) = studies.conflicts_of("1.2")
    assert (conflict.kind, conflict.path, conflict.scan_id) == (ConflictKind.CONTENT, "conflicts/c.dcm", first.scan_id)
    assert counts(database)["events"] == 2


@pytest.mark.parametrize("identity", [{"patient_id": "P2"}, {"patient_id": ""}])
def test_two_patients_under_one_study_uid_are_never_mixed(
    studies: StudyRepository, database: Database, instance: Build, identity: dict[str, str]
) -> None:
    first = studies.record_instance(instance(1))
    second = studies.record_instance(instance(2, **identity))
    assert second.outcome is Outcome.IDENTITY_CONFLICT
    assert [row.sop_instance_uid for row in studies.instances_of("1.2")] == ["1.2.3.1"]
    assert [row.kind for row in studies.conflicts_of("1.2")] == [ConflictKind.IDENTITY]
    flagged = AuditRepository(database).list(scan_id=first.scan_id, kind="identity-conflict")
    assert len(flagged) == 1
    assert "P2" not in flagged[0].text


def test_another_issuer_is_another_patient_but_padding_and_a_missing_issuer_are_not(
    studies: StudyRepository, instance: Build
) -> None:
    studies.record_instance(instance(1, issuer_of_patient_id="HOSPITAL-A"))
    assert studies.record_instance(instance(2, patient_id="P1 ")).outcome is Outcome.NEW
    other = studies.record_instance(instance(3, issuer_of_patient_id="HOSPITAL-B"))
    assert other.outcome is Outcome.IDENTITY_CONFLICT


def test_a_series_under_two_studies_is_kept_apart(studies: StudyRepository, instance: Build) -> None:
    studies.record_instance(instance(1))
    moved = studies.record_instance(instance(2, study_instance_uid="1.9"))
    assert moved.outcome is Outcome.IDENTITY_CONFLICT
    assert [row.kind for row in studies.conflicts_of("1.9")] == [ConflictKind.HIERARCHY]
    with pytest.raises(NotFound, match="no study"):
        studies.study("1.9")


@pytest.mark.parametrize("state", ["delivered", "failed", "ineligible"])
def test_a_late_instance_reopens_a_scan_at_its_end_and_a_duplicate_does_not(
    studies: StudyRepository, scans: ScanRepository, instance: Build, ready: str, state: str
) -> None:
    if state == "delivered":
        scans.start_run(ready, ["1.2.3.1"])
        for event in TO_DELIVERED:
            scans.apply_event(ready, event)
    else:
        scans.apply_event(ready, ScanEvent.FAIL if state == "failed" else ScanEvent.REJECT, "no")
    assert scans.get(ready).status == state
    assert studies.record_instance(instance(1)).amended is False
    assert scans.get(ready).status == state
    late = studies.record_instance(instance(4, series_instance_uid="1.2.4"))
    assert (late.outcome, late.amended) == (Outcome.NEW, True)
    after = scans.get(ready)
    assert (after.status, after.failed_in, after.error_code, after.error_text) == ("assembling", None, None, None)
    assert [scan.id for scan in studies.open_scans()] == [ready]


def test_an_instance_that_comes_before_a_worker_starts_is_waited_for(
    studies: StudyRepository, scans: ScanRepository, instance: Build, ready: str
) -> None:
    assert studies.record_instance(instance(4)).amended is True
    assert scans.get(ready).status is ScanState.ASSEMBLING


def test_an_instance_during_a_run_is_noted_and_amends_when_the_run_is_over(
    studies: StudyRepository, scans: ScanRepository, database: Database, instance: Build, ready: str
) -> None:
    scans.start_run(ready, ["1.2.3.1"])
    assert studies.record_instance(instance(4)).amended is False
    assert (scans.get(ready).status, scans.get(ready).late) == (ScanState.ANALYSING, True)
    for event in TO_DELIVERED:
        after = scans.apply_event(ready, event)
    assert (after.status, after.late) == (ScanState.ASSEMBLING, False)
    kinds = [event.kind for event in AuditRepository(database).list(scan_id=ready)]
    assert kinds[-3:] == ["reported", "delivered", "amend"]


def test_the_nodes_own_object_coming_back_moves_no_scan_and_restarts_no_timer(
    studies: StudyRepository, scans: ScanRepository, instance: Build, delivered: str, clock: FakeClock
) -> None:
    before = studies.scan_facts(delivered)
    clock.forward(60)
    own = instance(90, series_instance_uid="1.2.90", modality="SEG", own_object=True)
    recorded = studies.record_instance(own)
    assert (recorded.outcome, recorded.scan_id, recorded.amended) == (Outcome.NEW, delivered, False)
    assert studies.scan_facts(delivered) == before
    assert [row.own_object for row in studies.instances_of("1.2", own=True)] == [False, False, False, True]
    assert [row.series_instance_uid for row in studies.series_of("1.2", own=True)] == ["1.2.3", "1.2.90"]


def test_an_own_object_of_an_unknown_study_makes_no_scan(studies: StudyRepository, instance: Build) -> None:
    recorded = studies.record_instance(instance(1, own_object=True, modality="SR", series_instance_uid="1.2.9"))
    assert (recorded.outcome, recorded.scan_id) == (Outcome.NEW, None)
    assert studies.open_scans() == []
    assert studies.record_instance(instance(2)).scan_id is not None


def test_an_upload_scan_becomes_the_scan_of_the_study_in_it(
    studies: StudyRepository, scans: ScanRepository, instance: Build
) -> None:
    upload = scans.create_upload(Source.UPLOAD_DICOM, user_id=None)
    assert studies.record_instance(instance(1, upload_scan_id=upload.id)).scan_id == upload.id
    other = instance(2, upload_scan_id=upload.id, study_instance_uid="1.5", series_instance_uid="1.5.1")
    assert studies.record_instance(other).scan_id != upload.id
    adopted = scans.get(upload.id)
    assert (adopted.source, adopted.study_instance_uid, adopted.patient_id) == (Source.UPLOAD_DICOM, "1.2", "P1")


def test_hostile_text_and_numbers_are_stored_and_not_refused(studies: StudyRepository, instance: Build) -> None:
    record = instance(
        1, patient_name="A\0B\udcff^ÄÖ", instance_number=2**40, header={"TR": float("nan"), "text": "\0\udcff"}
    )
    recorded = studies.record_instance(record)
    facts = studies.scan_facts(recorded.scan_id or "")
    assert facts.scan.patient_name == "AB?^ÄÖ"
    assert facts.instances[0].instance_number is None
    assert facts.instances[0].header["TR"] is None


def test_roles_are_kept_and_a_person_can_override_one(
    studies: StudyRepository, scans: ScanRepository, instance: Build, ready: str
) -> None:
    studies.set_roles(
        ready,
        [SeriesRoleRecord(series_instance_uid="1.2.3", role="T1", role_score=0.9, role_reasons=("TR 2300 ms",))],
        ["T1"],
    )
    (series,) = studies.series_of("1.2")
    assert (series.role, series.role_score, series.role_reasons) == ("T1", 0.9, ("TR 2300 ms",))
    assert scans.get(ready).modalities == ("T1",)
    assert studies.override_role(ready, "1.2.3", "T1CE", "user 4").role_override == "T1CE"
    assert studies.override_role(ready, "1.2.3", None, "user 4").role_override is None
    with pytest.raises(NotFound):
        studies.override_role(ready, "1.2.99", "T2", "user 4")
    with pytest.raises(NotFound):
        studies.set_roles(ready, [SeriesRoleRecord(series_instance_uid="1.2.99")])


def test_known_paths_are_those_of_instances_and_conflicts(studies: StudyRepository, instance: Build) -> None:
    studies.record_instance(instance(1))
    studies.record_instance(instance(1, sha256="f" * 64, path="conflicts/c.dcm"))
    assert studies.known_paths() == {"studies/a/b/1.dcm", "conflicts/c.dcm"}


def test_interleaved_associations_in_threads_give_one_study(
    studies: StudyRepository, database: Database, instance: Build
) -> None:
    def associate(first: int) -> list[Outcome]:
        numbers = [*range(first, 25), *range(first)]
        return [studies.record_instance(instance(n, series_instance_uid=f"1.2.{n % 3}")).outcome for n in numbers]

    with ThreadPoolExecutor(4) as pool:
        outcomes = Counter(outcome for part in pool.map(associate, (0, 0, 8, 16)) for outcome in part)
    assert outcomes == {Outcome.NEW: 25, Outcome.DUPLICATE: 75}
    assert counts(database) == {
        "studies": 1, "series": 3, "instances": 25, "scans": 1, "conflicts": 0, "events": 1,
    }  # fmt: skip


PROCESS = """
import sys
from storage.database import Database
from storage.studies import InstanceRecord, StudyRepository
studies = StudyRepository(Database(sys.argv[1]))
for n in range(20):
    print(studies.record_instance(InstanceRecord(
        sop_instance_uid=f"1.2.3.{n}", sop_class_uid="1", transfer_syntax_uid="1", study_instance_uid="1.2",
        series_instance_uid="1.2.3", patient_id="P1", path=f"studies/{n}", size=1, sha256=f"{n:064x}",
    )).outcome)
"""


def test_two_processes_record_one_study_together(database: Database, database_url: str) -> None:
    running = [
        subprocess.Popen([sys.executable, "-c", PROCESS, database_url], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outcomes = Counter(word for process in running for word in process.communicate(timeout=60)[0].split())
    assert outcomes == {"new": 20, "duplicate": 20}
    assert counts(database) == {
        "studies": 1, "series": 1, "instances": 20, "scans": 1, "conflicts": 0, "events": 1,
    }  # fmt: skip
