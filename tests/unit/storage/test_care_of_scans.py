from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from storage.database import Database
from storage.deliveries import DeliveryRepository
from storage.erasing import erase
from storage.errors import Conflict
from storage.files import FileStore
from storage.known_uploads import KnownUploadRepository
from storage.results import ResultRecord, ResultRepository
from storage.scan_care import ScanCareRepository
from storage.scan_pages import ScanFilter
from storage.scans import ScanRepository
from storage.scrubbing import Kept, ScrubRepository
from storage.studies import InstanceRecord, StudyRepository
from storage.tables import Base
from storage.users import UserRepository
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


@pytest.mark.parametrize("known_by", ["scan", "path"])
def test_erasing_takes_what_was_kept_aside_of_damaged_images(
    care: ScanCareRepository, database: Database, delivered: str, tmp_path: Path, known_by: str
) -> None:
    files = FileStore(tmp_path / "files", min_free_bytes=0)
    scrubs = ScrubRepository(database)
    first, second, third = scrubs.next_files(Kept.RECEIVED, 3)
    asides = [f"conflicts/{number}.damaged" for number in range(3)]
    for aside in asides:
        (files.root / aside).write_bytes(b"DOE^JANE")
    scrubs.image_damaged(first if known_by == "scan" else replace(first, scan_id=None), asides[0], "changed")
    scrubs.image_damaged(second, "", "gone")
    scrubs.image_damaged(replace(third, scan_id=None, path="studies/of/another.dcm"), asides[1], "changed")
    care.delete(delivered, "ada")
    erase(database, files, delivered, "ada")
    assert [(files.root / aside).exists() for aside in asides] == [False, True, True]


def test_erasing_takes_the_answers_to_uploads_of_the_scan(
    care: ScanCareRepository, database: Database, delivered: str, tmp_path: Path
) -> None:
    ada = UserRepository(database).create(username="ada", email="ada@x.y", hashed_password="x")
    uploads = KnownUploadRepository(database)
    answers = {
        "erased": {"scans": [{"id": delivered, "patientName": "DOE^JANE"}]},
        "other": {"scans": [{"id": str(uuid.uuid4()), "patientName": "ROE^RICHARD"}]},
    }
    for key, answer in answers.items():
        uploads.claim(ada.id, key, "x")
        uploads.settle(ada.id, key, answer)
    uploads.claim(ada.id, "under way", "x")
    care.delete(delivered, "ada")
    erase(database, FileStore(tmp_path / "files", min_free_bytes=0), delivered, "ada")
    assert uploads.claim(ada.id, "other", "x").answer == answers["other"]
    assert [uploads.claim(ada.id, key, "x").mine for key in ("erased", "under way")] == [True, False]
