"""One web application over real storage on a temporary SQLite, with a clock that tests move."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from pipeline.nifti import save_labels, save_volume
from pipeline.report import ModelIdentity, Segmentation
from pipeline.volume import Grid, Volume
from storage.audit import AuditRepository
from storage.database import Database, upgrade
from storage.deliveries import DeliveryRepository
from storage.files import FileStore
from storage.lifecycle import ScanEvent
from storage.results import ResultRecord, ResultRepository
from storage.scan_rows import ScanRow
from storage.scans import ScanRepository
from storage.studies import InstanceRecord, StudyRepository
from storage.study_reading import SeriesRoleRecord
from storage.users import UserRepository, UserRow
from storage.vocabulary import AccountStatus, Role, RunState, Source
from web.app import create_app
from web.health import Check, HealthReport, InstalledModel
from web.ingest import Ingested, IngestOutcome
from web.neighbours import Neighbours
from web.oidc_settings import OidcSettings
from web.passwords import PasswordHasher
from web.settings import WebSettings

PASSWORD = "correct horse battery"
SECRET = "a secret of the tests, long enough to sign with"
HASH = "3f9a1c77d0b2" + "0" * 52


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **delta: float) -> None:
        self.now += timedelta(**delta)


class DicomIngest:
    """Takes files with DICOM's preamble into one scan, and keeps what it was given."""

    def __init__(self, scans: ScanRepository) -> None:
        self._scans = scans
        self.taken: list[bytes] = []
        self.paths: list[Path] = []
        self._scan_id: str | None = None

    def ingest_dicom(self, path: Path, *, calling: str, user_id: int) -> IngestOutcome:
        assert len(calling) <= 16
        data = path.read_bytes()
        self.paths.append(path)
        if data[128:132] != b"DICM":
            return IngestOutcome(result=Ingested.REFUSED, reason="no DICOM file")
        if self._scan_id is None:
            self._scan_id = self._scans.create_upload(Source.UPLOAD_DICOM, user_id=user_id, patient_id="D1").id
        known = data in self.taken
        self.taken.append(data)
        return IngestOutcome(result=Ingested.DUPLICATE if known else Ingested.NEW, scan_id=self._scan_id)


@dataclass(kw_only=True)
class Node:
    database: Database
    files: FileStore
    clock: Clock
    hasher: PasswordHasher
    settings: WebSettings
    ingest: DicomIngest
    health: HealthReport = field(
        default_factory=lambda: HealthReport(
            checks=(Check(name="database", ok=True, detail="SQLite"), Check(name="disk", ok=True, detail="9 GiB free")),
            models=(Check(name="detection", ok=True, detail="version 1"),),
            queue_length=2,
            queue_age_s=30.0,
        )
    )

    models: tuple[InstalledModel, ...] = ()
    neighbours: Neighbours = field(default_factory=Neighbours)
    oidc: OidcSettings | None = None

    def __post_init__(self) -> None:
        self.users = UserRepository(self.database, self.clock)
        self.scans = ScanRepository(self.database, self.clock)
        self.studies = StudyRepository(self.database, self.clock)

    def app(self, **changes: Any) -> FastAPI:
        return create_app(
            settings=replace(self.settings, **changes),
            database=self.database,
            files=self.files,
            health=lambda: self.health,
            ingest=self.ingest,
            models=lambda: self.models,
            neighbours=self.neighbours,
            clock=self.clock,
            hasher=self.hasher,
            oidc=self.oidc,
        )

    def client(self, **changes: Any) -> TestClient:
        return TestClient(self.app(**changes), base_url="http://node.example", raise_server_exceptions=False)

    def user(self, role: Role = Role.DOCTOR, name: str = "", status: AccountStatus = AccountStatus.ACTIVE) -> UserRow:
        name = name or role.value
        found = self.users.by_username(name)
        return found or self.users.create(
            username=name,
            email=f"{name}@hospital.example",
            hashed_password=self.hasher.hash(PASSWORD),
            full_name=name.title(),
            role=role,
            status=status,
        )

    def bearer(self, client: TestClient, role: Role = Role.DOCTOR) -> dict[str, str]:
        user = self.user(role)
        token = client.app.state.context.tokens.issue(user.id, user.token_version)  # type: ignore[attr-defined]
        return {"Authorization": f"Bearer {token}"}

    def study(
        self, *, name: str = "Doe^Jane", patient_id: str = "P1", uid: str = "1.2.3", description: str = "t1 mprage"
    ) -> ScanRow:
        """A received study of two series: one is T1, one is not used."""
        for series, text in ((1, description), (2, "localizer")):
            self.studies.record_instance(
                InstanceRecord(
                    study_instance_uid=uid,
                    series_instance_uid=f"{uid}.{series}",
                    sop_instance_uid=f"{uid}.{series}.1",
                    sop_class_uid="1.2.840.10008.5.1.4.1.1.4",
                    transfer_syntax_uid="1.2.840.10008.1.2.1",
                    modality="MR",
                    patient_id=patient_id,
                    patient_name=name,
                    study_date="20261114",
                    series_description=text,
                    path=f"studies/{uid}.{series}.dcm",
                    size=1,
                    sha256=HASH,
                )
            )
        scan = self.scans.by_study(uid)
        assert scan is not None
        roles = [
            SeriesRoleRecord(series_instance_uid=f"{uid}.1", role="T1", role_score=0.93, role_reasons=("TR 2300 ms",)),
            SeriesRoleRecord(series_instance_uid=f"{uid}.2", excluded_reason="a localizer: three orientations"),
        ]
        self.studies.set_roles(scan.id, roles, ["T1"])
        return self.scans.get(scan.id)

    def finished(self, **study: Any) -> ScanRow:
        """A study whose run is done: images of 4 x 6 x 8 voxels, a report, and a SEG that is still owed."""
        scan = self.study(**study)
        self.scans.apply_event(scan.id, ScanEvent.COMPLETE, "all that is expected is here")
        run = self.scans.start_run(scan.id, ["1.2.3.1.1"])
        folder = self.files.run_folder(run.id)
        grid = Grid(shape=(4, 6, 8), affine=np.diag([2.0, 2.0, 2.0, 1.0]))
        voxels = np.arange(4 * 6 * 8, dtype=np.float32).reshape(4, 6, 8)
        labels = np.zeros((4, 6, 8), np.uint8)
        labels[1:3, 2:4, 5] = 4
        model = ModelIdentity(name="unet", version="1", task="segmentation", weights_sha256=HASH)
        save_volume(folder / "reference.nii.gz", Volume(voxels=voxels, grid=grid))
        save_labels(folder / "segmentation.nii.gz", Segmentation(labels=labels, grid=grid, model=model))
        results = report_json()
        (folder / "report.json").write_text(json.dumps(results))
        self.scans.set_results(scan.id, results)
        self.scans.finish_run(run.id, RunState.DONE)
        kept = ResultRepository(self.database, self.clock).upsert(
            ResultRecord(
                run_id=run.id,
                kind="SEG",
                sop_instance_uid=f"2.25.{scan.run}{int(scan.id[:8], 16)}",
                sop_class_uid="1.2",
                series_instance_uid="2.25.9",
                path="x",
                size=1,
                sha256=HASH,
            )
        )
        DeliveryRepository(self.database, self.clock).owe(kept.id, ["PACS"])
        for event in (ScanEvent.ANALYSED, ScanEvent.REPORTED):
            self.scans.apply_event(scan.id, event, event.value)
        return self.scans.get(scan.id)

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [row.data for row in AuditRepository(self.database).list(kind=kind)]


def report_json() -> dict[str, Any]:
    model = {"name": "resnet50-detection", "version": "3", "task": "detection", "weights_sha256": HASH}
    return {
        "schema_version": 1,
        "roles": ["T1"],
        "reference_role": "T1",
        "detection": {
            "skipped": False,
            "stage": "detect",
            "value": "tumour",
            "probability": 0.973,
            "probabilities": {"tumour": 0.973, "no tumour": 0.027},
            "basis": "mean of the five highest slices",
            "role": "T1",
            "model": model,
            "slice_probabilities": [],
        },
        "tumour_type": {"skipped": True, "stage": "classify", "code": "model-unavailable", "reason": "no weights"},
        "segmentation": {"skipped": True, "stage": "segment", "code": "role-missing", "reason": "T1CE is missing"},
        "measurements": {
            "skipped": False,
            "values": [
                {"quantity": "volume", "subject": "WT", "value": 34.21, "unit": "mL", "lesion": None},
                {"quantity": "volume", "subject": "WT", "value": 30.0, "unit": "mL", "lesion": 1},
                {"quantity": "longest axial diameter", "subject": "WT", "value": 44.4, "unit": "mm", "lesion": 1},
            ],
        },
        "lesions": [],
        "registrations": [],
        "flags": [{"code": "thick", "text": "thick slices"}],
        "timings": [{"stage": "detect", "seconds": 1.5, "peak_memory_mb": 10.0}],
    }


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("schema") / "empty.sqlite"
    upgrade(f"sqlite:///{path}")
    return path


@contextmanager
def make_node(folder: Path, empty_database: Path) -> Iterator[Node]:
    path = folder / "node.sqlite"
    shutil.copy(empty_database, path)
    database = Database(f"sqlite:///{path}")
    clock = Clock()
    yield Node(
        database=database,
        files=FileStore(folder / "files", min_free_bytes=0),
        clock=clock,
        hasher=PasswordHasher(4),
        settings=WebSettings(token_secret=SECRET, cookie_secure=False, account_age_s=0),
        ingest=DicomIngest(ScanRepository(database, clock)),
    )
    database.close()


@pytest.fixture
def node(tmp_path: Path, empty_database: Path) -> Iterator[Node]:
    with make_node(tmp_path, empty_database) as node:
        yield node


@pytest.fixture(scope="module")
def shared_node(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[Node]:
    """One node for a module of tests that only look."""
    with make_node(tmp_path_factory.mktemp("node"), empty_database) as node:
        yield node


@pytest.fixture(scope="module")
def shared_client(shared_node: Node) -> Iterator[TestClient]:
    with shared_node.client() as client:
        yield client


@pytest.fixture
def client(node: Node) -> Iterator[TestClient]:
    with node.client() as client:
        yield client


@pytest.fixture
def browser() -> Iterator[Callable[..., TestClient]]:
    """A function from a node and a role to a client that is signed in by cookie."""
    clients: list[TestClient] = []

    def sign_in(node: Node, role: Role = Role.DOCTOR) -> TestClient:
        client = node.client()
        clients.append(client)
        user = node.user(role)
        token = client.app.state.context.tokens.issue(user.id, user.token_version)  # type: ignore[attr-defined]
        client.cookies.set("btn_session", token)
        return client

    yield sign_in
    for client in clients:
        client.close()
