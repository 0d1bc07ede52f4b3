"""Shadow models: recorded, never sent, no trace in a result, and not lost where the node dies after delivery."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pynetdicom import AE, evt
from pynetdicom.presentation import AllStoragePresentationContexts

from dicom_node.comparisons import Comparisons
from dicom_node.config import load_config
from dicom_node.demo_pacs import free_port
from dicom_node.inbound.ingest import Ingest
from dicom_node.phantom.study import PhantomStudy, make_study
from dicom_node.phantom.write_dicom import write_study
from dicom_node.routing import Routing
from dicom_node.runs import RunSteps
from dicom_node.store import open_store
from pipeline.models.protocols import Models
from pipeline.models.roster import answer_digest
from pipeline.volume import SeriesRole
from storage.lifecycle import ScanEvent, ScanState
from storage.vocabulary import AnswerMode
from tests.acceptance.nodes import TruthNode, send
from tests.acceptance.truth_node import quick_models

SEED = 11
#: Seconds on a machine that has nothing else to do; the rest is for one that has.
_PATIENCE_S = 240.0


@pytest.fixture(scope="module")
def study() -> PhantomStudy:
    """One series, for time's sake."""
    return make_study(SEED, "siemens", size="small", clutter=False, roles=(SeriesRole.T1CE,))


@pytest.fixture(scope="module")
def paths(study: PhantomStudy, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return [path for series in write_study(tmp_path_factory.mktemp("study"), study) for path in series.paths]


@dataclass
class CountingPacs:
    """Takes every storage class and counts what reaches it: associations, and each C-STORE by modality and UID."""

    port: int = field(default_factory=free_port)
    ae_title: str = "COUNTER"
    associations: int = 0
    stored: list[tuple[str, str]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> CountingPacs:
        ae = AE(ae_title=self.ae_title)
        ae.supported_contexts = AllStoragePresentationContexts
        handlers = [(evt.EVT_C_STORE, self._store), (evt.EVT_ESTABLISHED, self._established)]
        self._server: Any = ae.start_server(("127.0.0.1", self.port), block=False, evt_handlers=handlers)
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()

    def _established(self, event: evt.Event) -> None:
        with self._lock:
            self.associations += 1

    def _store(self, event: evt.Event) -> int:
        with self._lock:
            self.stored.append((event.dataset.Modality, event.request.AffectedSOPInstanceUID))
        return 0x0000

    @property
    def modalities(self) -> list[str]:
        """Of the objects; one that is sent again, as on a slow machine, is one object."""
        return sorted(modality for modality, _ in set(self.stored))


def test_a_node_that_dies_after_delivery_sends_nothing_more_and_loses_no_shadow(
    study: PhantomStudy, paths: list[Path], tmp_path: Path
) -> None:
    marker = tmp_path / "died"
    with CountingPacs() as pacs, ExitStack() as stack:
        node = TruthNode(tmp_path / "node", SEED, pacs.ae_title, pacs.port, study_quiet_s=6.0)
        stack.callback(node.store.database.close)
        stack.callback(node.stop)
        node.start("--shadow", "--die-at", "after-delivery", "--marker", str(marker))
        assert len(send(node.address, paths)) == len(paths)
        assert node.process is not None
        assert node.process.wait(_PATIENCE_S) == -9
        scan = node.store.scans.by_study(study.study_instance_uid)
        assert scan is not None
        assert scan.status is ScanState.DELIVERED
        assert pacs.modalities == ["SEG", "SR"]
        before = (pacs.associations, list(pacs.stored))
        run = node.store.scans.runs_of(scan.id)[-1]
        cut_off = node.store.answers.of_run(run.id)[-1]
        assert (cut_off.name, cut_off.answer) == ("grown-segmentation", None)
        assert "worker ended while this model ran" in cut_off.error

        node.start("--shadow")
        deadline = time.monotonic() + _PATIENCE_S
        while node.store.answers.of_run(run.id)[-1].error:
            assert time.monotonic() < deadline, node.log()[-3000:]
            time.sleep(0.1)
        time.sleep(1.0)  # five rounds of the delivery loop
        node.stop()

        rows = {(row.name, row.mode): row for row in node.store.answers.of_run(run.id)}
        assert set(rows) == {
            ("truth-detection", AnswerMode.ACTIVE),
            ("truth-type", AnswerMode.ACTIVE),
            ("truth-segmentation", AnswerMode.ACTIVE),
            ("doubter-detection", AnswerMode.SHADOW),
            ("grown-segmentation", AnswerMode.SHADOW),
        }
        grown = rows["grown-segmentation", AnswerMode.SHADOW]
        assert grown.agreement is not None
        assert grown.agreement["dice"]["WT"] > 0.8
        assert grown.agreement["dice"]["ET"] < 0.8
        assert rows["doubter-detection", AnswerMode.SHADOW].agreement == {"same_value": False}
        assert (pacs.associations, pacs.stored) == before
        after = node.store.scans.by_study(study.study_instance_uid)
        assert after is not None
        assert (after.status, after.results) == (ScanState.DELIVERED, scan.results)


@dataclass(frozen=True, kw_only=True)
class Made:
    """What one node made of the study: its results, how many rows its outbox has, who answered."""

    results: dict[str, bytes]
    owed: int
    answers: list[str]


def made_by(folder: Path, paths: list[Path], study: PhantomStudy, models: Models) -> Made:
    """The study through a node of its own whose clock stands; its engine is stood in for by calling the steps."""
    folder.mkdir()
    (folder / "config.yaml").write_text(f"storage: {{root: {folder / 'root'}}}\n")
    moment = datetime(2026, 3, 1, 12, tzinfo=UTC)
    store = open_store(load_config(folder / "config.yaml"), lambda: moment)
    ingest = Ingest(store.files, store.studies, store.audit)
    for path in paths:
        ingest.receive_file(path.read_bytes(), source="MODALITY")
    scan = store.scans.by_study(study.study_instance_uid)
    assert scan is not None
    for event in (ScanEvent.ASSEMBLE, ScanEvent.COMPLETE):
        store.scans.apply_event(scan.id, event)
    inputs = [row.sop_instance_uid for row in store.studies.instances_of(study.study_instance_uid)]
    run = store.scans.start_run(scan.id, inputs, answer_digest(models))
    steps = RunSteps(
        studies=store.studies,
        scans=store.scans,
        results=store.results,
        deliveries=store.deliveries,
        reviews=store.reviews,
        files=store.files,
        models=lambda: models,
        routing=Routing(kinds_by_destination={"pacs": ("SEG", "SR")}),
        software_version="test",
    )
    for step in steps.steps():
        step.handler(run.id)
    comparisons = Comparisons(
        studies=store.studies,
        scans=store.scans,
        answers=store.answers,
        files=store.files,
        models=lambda: models,
        stopping=lambda: False,
    )
    comparisons.record(run.id)
    folder = store.files.run_folder(run.id)
    made = Made(
        results={path.name: path.read_bytes() for path in sorted(folder.glob("*.dcm"))},
        owed=len(store.deliveries.of_scan(scan.id)),
        answers=[row.name for row in store.answers.of_run(run.id)],
    )
    store.database.close()
    return made


def test_the_results_are_the_same_bytes_with_and_without_shadow_models(
    study: PhantomStudy, paths: list[Path], tmp_path: Path
) -> None:
    without = made_by(tmp_path / "without", paths, study, quick_models(study, shadow=False))
    beside = made_by(tmp_path / "with", paths, study, quick_models(study, shadow=True))
    assert sorted(without.results) == ["seg-regions.dcm", "seg.dcm", "sr-viewer.dcm", "sr.dcm"]
    assert beside.results == without.results
    assert (beside.owed, without.owed) == (2, 2)
    assert without.answers == ["truth-detection", "truth-type", "truth-segmentation"]
    assert beside.answers == [*without.answers, "doubter-detection", "grown-segmentation"]
