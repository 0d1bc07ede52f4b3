"""What a person sees: why a role is missing, what was left out, and what follows when a person says otherwise.

The node's own parts on a virtual clock; the engine is stood in for by calling its steps, which are the real ones.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydicom import dcmread

from dicom_node.config import load_config
from dicom_node.inbound.assembly import AssemblyPolicy
from dicom_node.inbound.ingest import Ingest
from dicom_node.intake import Intake, Jobs
from dicom_node.node import build_web
from dicom_node.phantom.study import PhantomStudy, make_study
from dicom_node.phantom.write_dicom import WrittenSeries, write_study
from dicom_node.routing import Routing
from dicom_node.runs import RunSteps
from dicom_node.store import Store, open_store
from pipeline.volume import SeriesRole
from storage.lifecycle import ScanEvent, ScanState
from storage.runs import RunRow
from storage.vocabulary import AccountStatus, Role
from tests.acceptance.truth_node import truth_models
from web.passwords import PasswordHasher

PASSWORD = "correct horse battery"


@dataclass
class Clock:
    now: datetime = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Node:
    store: Store
    intake: Intake
    steps: RunSteps
    clock: Clock
    queued: list[RunRow]
    client: TestClient
    token: str

    def pass_time(self, seconds: float) -> None:
        """Let time go by; the intake looks, and what it queued is run."""
        self.clock.now += timedelta(seconds=seconds)
        self.intake.tick()
        while self.queued:
            run = self.queued.pop(0)
            for step in self.steps.steps():
                step.handler(run.id)

    def scan(self, study: PhantomStudy) -> dict[str, Any]:
        found = self.store.scans.by_study(study.study_instance_uid)
        assert found is not None
        answer = self.client.get(f"/api/scans/{found.id}")
        assert answer.status_code == 200
        told: dict[str, Any] = answer.json()
        return told

    def page(self, scan_id: str) -> str:
        headers = {"authorization": "", "cookie": f"btn_session={self.token}"}
        return html.unescape(self.client.get(f"/scans/{scan_id}", headers=headers).text)


@pytest.fixture(scope="module")
def study() -> PhantomStudy:
    roles = (SeriesRole.T1, SeriesRole.T1CE, SeriesRole.T2)
    return make_study(31, "ge", size="small", roles=roles)


@pytest.fixture(scope="module")
def node(study: PhantomStudy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("node")
    (folder / "config.yaml").write_text(f"storage: {{root: {folder / 'root'}}}\nweb: {{token_minutes: 100000}}\n")
    config = load_config(folder / "config.yaml")
    clock = Clock()
    store = open_store(config, clock)
    queued: list[RunRow] = []
    intake = Intake(
        studies=store.studies,
        scans=store.scans,
        requests=store.requests,
        deliveries=store.deliveries,
        files=store.files,
        jobs=Jobs(submit=queued.append, gave_up=lambda run: None),
        policy=AssemblyPolicy(),
        model_digest=lambda: "truth",
        clock=clock,
    )
    steps = RunSteps(
        studies=store.studies,
        scans=store.scans,
        results=store.results,
        deliveries=store.deliveries,
        reviews=store.reviews,
        files=store.files,
        models=lambda: truth_models(study),
        routing=Routing(kinds_by_destination={"pacs": ("SEG", "SR")}),
        software_version="test",
    )
    store.users.create(
        username="ada",
        email="ada@localhost",
        hashed_password=PasswordHasher(4).hash(PASSWORD),
        role=Role.DOCTOR,
        status=AccountStatus.ACTIVE,
    )
    with TestClient(build_web(config, store, clock), base_url="http://127.0.0.1") as client:
        answer = client.post("/api/auth/login", json={"username": "ada", "password": PASSWORD})
        token = answer.json()["access_token"]
        client.headers["authorization"] = f"Bearer {token}"
        yield Node(store, intake, steps, clock, queued, client, token)
    store.database.close()


@pytest.fixture(scope="module")
def written(node: Node, study: PhantomStudy, tmp_path_factory: pytest.TempPathFactory) -> list[WrittenSeries]:
    """The study, received."""
    series = write_study(tmp_path_factory.mktemp("study"), study)
    ingest = Ingest(node.store.files, node.store.studies, node.store.audit)
    for one in series:
        for path in one.paths:
            ingest.receive_file(path.read_bytes(), source="MODALITY")
    return series


def test_a_study_without_flair_is_explained_all_the_way(node: Node, study: PhantomStudy, written: Any) -> None:
    node.pass_time(1)
    waiting = node.scan(study)
    assert waiting["status"] == ScanState.ASSEMBLING
    assert "FLAIR: no series yet" in waiting["waitingFor"]
    assert "FLAIR: no series yet" in node.page(waiting["id"])

    node.pass_time(301)
    scan = node.scan(study)
    assert scan["status"] == ScanState.DELIVERING
    assert any("reduced" in event["text"] and "FLAIR" in event["text"] for event in scan["events"])

    run = node.store.scans.runs_of(scan["id"])[-1]
    told = json.loads((node.store.files.run_folder(run.id) / "report.json").read_text())
    assert told["series_roles"]["missing"] == ["FLAIR"]
    assert told["segmentation"]["code"] == "role-missing"
    assert "FLAIR" in told["segmentation"]["reason"]
    page = node.page(scan["id"])
    assert told["segmentation"]["reason"].split(",")[0] in page

    for series in written:
        row = next(s for s in scan["series"] if s["seriesInstanceUid"] == series.series_instance_uid)
        if series.role is not None:
            assert row["role"] == series.role
            assert row["reasons"]
        else:
            assert row["role"] is None
            assert row["excludedReason"]
            assert row["excludedReason"].split(": ", 1)[0] in page or series.description in page


def test_a_person_who_knows_better_gets_another_run(node: Node, study: PhantomStudy, written: Any) -> None:
    """The T2 is said to be the FLAIR: the second run says so, and its SR cites the first one's."""
    scan = node.scan(study)
    node.store.scans.apply_event(scan["id"], ScanEvent.DELIVERED, "the PACS has it")
    t2 = next(series for series in written if series.role is SeriesRole.T2)
    answer = node.client.put(f"/api/scans/{scan['id']}/roles", json={"roles": {t2.series_instance_uid: "FLAIR"}})
    assert answer.status_code in (200, 202), answer.text
    node.pass_time(1)
    after = node.scan(study)
    assert after["status"] == ScanState.DELIVERING
    runs = node.store.scans.runs_of(scan["id"])
    assert [run.number for run in runs] == [1, 2]
    told = json.loads((node.store.files.run_folder(runs[1].id) / "report.json").read_text())
    assert told["series_roles"]["missing"] == ["T2"]
    assert told["series_roles"]["roles"]["FLAIR"]["chosen"]["reasons"] == ["a person set it as FLAIR"]
    first, second = (dcmread(node.store.files.run_folder(run.id) / "sr.dcm") for run in runs)
    cited = second.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert cited.ReferencedSOPInstanceUID == first.SOPInstanceUID


def test_the_same_again_gives_no_third_run(node: Node, study: PhantomStudy, written: Any) -> None:
    scan = node.scan(study)
    node.store.scans.apply_event(scan["id"], ScanEvent.DELIVERED, "the PACS has it")
    assert node.client.post(f"/api/scans/{scan['id']}/retry").status_code in (200, 202)
    node.pass_time(1)
    assert node.scan(study)["status"] == ScanState.DELIVERING
    assert len(node.store.scans.runs_of(scan["id"])) == 2
