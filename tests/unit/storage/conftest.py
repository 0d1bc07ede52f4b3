"""Every repository test runs on both databases; the clock stands still until a test moves it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete

from storage.database import Database, upgrade
from storage.lifecycle import ScanEvent
from storage.scans import ScanRepository
from storage.studies import InstanceRecord, StudyRepository
from storage.tables import Base
from tests.unit.storage.postgres_server import empty_database, postgres_server, require_postgres


class FakeClock:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> datetime:
        self.now += timedelta(seconds=seconds)
        return self.now


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("migrated") / "node.sqlite"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def migrated_postgres() -> Iterator[str]:
    require_postgres()
    with postgres_server() as server:
        url = empty_database(server, "contract")
        upgrade(url)
        yield url


@pytest.fixture
def sqlite_url(migrated_sqlite: Path, tmp_path: Path) -> str:
    shutil.copy(migrated_sqlite, tmp_path / "node.sqlite")
    return f"sqlite:///{tmp_path / 'node.sqlite'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    if request.param == "sqlite":
        migrated: str = request.getfixturevalue("sqlite_url")
        return migrated
    url: str = request.getfixturevalue("migrated_postgres")
    database = Database(url)
    with database.write() as session:
        for table in reversed(Base.metadata.sorted_tables):
            session.execute(delete(table))
    database.close()
    return url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture
def studies(database: Database, clock: FakeClock) -> StudyRepository:
    return StudyRepository(database, clock)


@pytest.fixture
def scans(database: Database, clock: FakeClock) -> ScanRepository:
    return ScanRepository(database, clock)


@pytest.fixture
def instance() -> Callable[..., InstanceRecord]:
    """A function from a number to an instance of study 1.2, series 1.2.3; keywords change any field."""

    def build(number: int = 1, **changes: Any) -> InstanceRecord:
        values: dict[str, Any] = {
            "sop_instance_uid": f"1.2.3.{number}",
            "sop_class_uid": "1.2.840.10008.5.1.4.1.1.4",
            "transfer_syntax_uid": "1.2.840.10008.1.2.1",
            "study_instance_uid": "1.2",
            "series_instance_uid": "1.2.3",
            "modality": "MR",
            "series_description": "t1 mprage",
            "patient_id": "P1",
            "patient_name": "DOE^JANE",
            "study_date": "20260101",
            "accession_number": "A-7",
            "study_description": "HEAD",
            "instance_number": number,
            "path": f"studies/a/b/{number}.dcm",
            "size": 100,
            "sha256": f"{number:064x}",
            "calling_ae": "MODALITY",
            "header": {"Rows": 256},
        }
        return InstanceRecord(**(values | changes))

    return build


#: The way of a scan whose results were delivered.
TO_DELIVERED = (ScanEvent.ANALYSED, ScanEvent.REPORTED, ScanEvent.DELIVERED)


@pytest.fixture
def ready(studies: StudyRepository, scans: ScanRepository, instance: Callable[..., InstanceRecord]) -> str:
    """The id of a scan of three instances that is `ready`."""
    for number in (1, 2, 3):
        recorded = studies.record_instance(instance(number))
    assert recorded.scan_id is not None
    scans.apply_event(recorded.scan_id, ScanEvent.ASSEMBLE)
    scans.apply_event(recorded.scan_id, ScanEvent.COMPLETE)
    return recorded.scan_id


@pytest.fixture
def delivered(ready: str, scans: ScanRepository) -> str:
    """The id of a scan whose one run was delivered."""
    scans.start_run(ready, ["1.2.3.1", "1.2.3.2", "1.2.3.3"], "m")
    for event in TO_DELIVERED:
        scans.apply_event(ready, event)
    return ready
