"""Old studies under new models: which are asked for, and how many at a time."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from dicom_node.cli import application
from dicom_node.config import load_config
from dicom_node.models_status import write_models_status
from dicom_node.store import Store, open_store
from pipeline.models.catalogue import ModelStatus
from storage.lifecycle import ScanEvent
from storage.model_answers import ModelAnswerRecord
from storage.studies import InstanceRecord
from storage.vocabulary import AnswerMode, RequestKind, RunState

OLD, NEW = "0" * 64, "1" * 64


class Node:
    def __init__(self, folder: Path) -> None:
        self.path = folder / "config.yaml"
        self.path.write_text(yaml.safe_dump({"storage": {"root": str(folder / "root"), "min_free_mb": 0}}))
        self.store: Store = open_store(load_config(self.path))
        status = ModelStatus(
            name="seg", task="segmentation", version="2", ok=True, detail="", mode="active", sha256=NEW
        )
        write_models_status(self.store.files, [status])

    def delivered(self, number: int, sha256: str, mode: AnswerMode = AnswerMode.ACTIVE) -> str:
        record = InstanceRecord(
            sop_instance_uid=f"1.2.{number}.3", sop_class_uid="1.2", transfer_syntax_uid="1.2", modality="MR",
            study_instance_uid=f"1.2.{number}", series_instance_uid=f"1.2.{number}.1", series_description="",
            patient_id="P", patient_name="N", study_date="", accession_number="", study_description="",
            instance_number=1, path=f"studies/{number}", size=1, sha256="0" * 64, calling_ae="CT1", header={},
        )  # fmt: skip
        scan_id = self.store.studies.record_instance(record).scan_id
        assert scan_id is not None
        self.store.scans.apply_event(scan_id, ScanEvent.COMPLETE)
        run = self.store.scans.start_run(scan_id, ["1"], "m")
        self.store.answers.upsert(
            ModelAnswerRecord(
                run_id=run.id, task="segmentation", name="seg", version="1", sha256=sha256, mode=mode, answer=None,
                agreement=None, seconds=1.0, peak_memory_mb=1.0,
            )
        )  # fmt: skip
        self.store.scans.finish_run(run.id, RunState.DONE)
        for event in (ScanEvent.ANALYSED, ScanEvent.REPORTED, ScanEvent.DELIVERED):
            self.store.scans.apply_event(scan_id, event)
        return scan_id

    def reanalyse(self, *arguments: str) -> str:
        done = CliRunner().invoke(application(), ["reanalyse", "--config", str(self.path), *arguments])
        assert done.exit_code == 0, done.output
        return done.output

    def asked(self) -> set[str]:
        return {request.scan_id for request in self.store.requests.pending(kinds=(RequestKind.RETRY,))}


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_what_another_version_answered_is_asked_for_and_nothing_else(node: Node) -> None:
    old = node.delivered(1, OLD)
    node.delivered(2, NEW)
    node.delivered(3, OLD, AnswerMode.SHADOW)
    assert "1 studies would be" in node.reanalyse("--dry-run")
    assert node.asked() == set()
    assert old in node.reanalyse()
    assert node.asked() == {old}


def test_no_more_than_the_limit_wait_at_once(node: Node) -> None:
    scans = {node.delivered(number, OLD) for number in range(1, 6)}
    node.reanalyse("--limit", "2")
    first = node.asked()
    assert len(first) == 2
    node.reanalyse("--limit", "2")
    assert node.asked() == first < scans


def test_deleted_and_old_ones_stay(node: Node) -> None:
    from storage.scan_care import ScanCareRepository

    ScanCareRepository(node.store.database).delete(node.delivered(1, OLD), "ada")
    node.delivered(2, OLD)
    node.reanalyse("--since", "2999-01-01")
    assert node.asked() == set()
    node.reanalyse("--since", "2020-01-01")
    assert len(node.asked()) == 1
