from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from storage.database import Database
from storage.deliveries import DeliveryRepository
from storage.erasing import erase
from storage.errors import Conflict
from storage.files import FileStore
from storage.results import ResultRecord, ResultRepository
from storage.scan_care import ScanCareRepository
from storage.scan_pages import ScanFilter
from storage.scans import ScanRepository
from storage.studies import InstanceRecord, StudyRepository
from storage.tables import Base
from storage.vocabulary import RunState, Source


@pytest.fixture
def care(database: Database, clock: Any) -> ScanCareRepository:
    return ScanCareRepository(database, clock)


def test_what_a_person_typed_can_be_corrected_and_a_study_says_itself_whose_it_is(
    care: ScanCareRepository, scans: ScanRepository, delivered: str
) -> None:
    upload = scans.create_upload(Source.UPLOAD_NIFTI, user_id=None, patient_name="Deo^Jane")
    assert care.correct(upload.id, patient_name="Doe^Jane").patient_name == "Doe^Jane"
    with pytest.raises(Conflict, match="PACS"):
        care.correct(delivered, patient_name="Doe^Jane")
    with pytest.raises(ValueError, match="status"):
        care.correct(upload.id, status="failed")


def test_a_deleted_scan_is_out_of_sight_until_it_is_restored(
    care: ScanCareRepository, scans: ScanRepository, delivered: str
) -> None:
    assert care.delete(delivered, "ada").deleted_by == "ada"
    assert scans.list_page().rows == ()
    assert [row.id for row in scans.list_page(filters=ScanFilter(deleted=True)).rows] == [delivered]
    assert care.restore(delivered, "ada").deleted_at is None
    assert [line[0] for line in scans.list_lines().lines] == [delivered]


def test_nothing_is_deleted_that_is_on_its_way(care: ScanCareRepository, scans: ScanRepository, ready: str) -> None:
    with pytest.raises(Conflict, match="'ready'"):
        care.delete(ready, "ada")


def test_what_goes_on_arriving_is_shown_again(
    care: ScanCareRepository,
    scans: ScanRepository,
    studies: StudyRepository,
    delivered: str,
    instance: Callable[..., InstanceRecord],
) -> None:
    care.delete(delivered, "ada")
    studies.record_instance(instance(2))
    assert scans.get(delivered).deleted_at is not None
    studies.record_instance(instance(9))
    assert scans.get(delivered).deleted_at is None


def test_erasing_leaves_no_file_and_no_word_of_the_patient(
    care: ScanCareRepository,
    database: Database,
    scans: ScanRepository,
    studies: StudyRepository,
    instance: Callable[..., InstanceRecord],
    delivered: str,
    tmp_path: Path,
) -> None:
    files = FileStore(tmp_path / "files", min_free_bytes=0)
    kept = []
    for row in studies.instances_of("1.2"):
        kept.append(files.root / row.path)
        kept[-1].parent.mkdir(parents=True, exist_ok=True)
        kept[-1].write_bytes(b"x")
    (run,) = scans.runs_of(delivered)
    scans.finish_run(run.id, RunState.DONE)
    report = files.run_folder(run.id) / "report.json"
    report.write_text("{}")
    made = ResultRepository(database).upsert(
        ResultRecord(
            run_id=run.id,
            kind="SEG",
            sop_instance_uid="2.25.1",
            sop_class_uid="1.2",
            series_instance_uid="2.25.9",
            path=f"results/{run.id}/seg.dcm",
            size=1,
            sha256="0" * 64,
        )
    )
    deliveries = DeliveryRepository(database)
    deliveries.owe(made.id, ["PACS"])
    with pytest.raises(Conflict, match="owed"):
        care.delete(delivered, "ada")
    (owed,) = deliveries.of_scan(delivered)
    deliveries.mark_sent(owed.id)
    with pytest.raises(Conflict, match="delete it first"):
        erase(database, files, delivered, "ada")
    care.delete(delivered, "ada")

    erased = erase(database, files, delivered, "ada")

    assert erased.erased_at is not None
    assert (erased.patient_name, erased.patient_id, erased.study_id) == ("", "", None)
    assert not report.exists()
    assert not any(path.exists() for path in kept)
    left = set()
    with database.read() as session:
        for table in Base.metadata.sorted_tables:
            if session.scalar(select(func.count()).select_from(table)):
                left.add(table.name)
            assert "DOE" not in str(session.execute(select(table)).all())
    assert left == {"scans", "events"}
    assert scans.list_page(filters=ScanFilter(deleted=True)).rows == ()
    again = studies.record_instance(instance(1))
    assert again.scan_id not in (None, delivered)
