"""The outward half's configuration, and a person's wish to send once more."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from dicom_node.config import ConfigurationInvalid, NodeConfig, load_config
from dicom_node.inbound.assembly import AssemblyPolicy
from dicom_node.intake import Intake, Jobs
from dicom_node.outbound.qido import DicomwebPacs
from dicom_node.outbound.retrieve import DicomPacs
from dicom_node.outward import destinations_of, pacs_of
from dicom_node.results.encoders import encode_all
from storage.files import FileStore
from storage.lifecycle import ScanEvent, ScanState
from storage.requests import RequestRepository
from storage.scans import ScanRepository
from storage.studies import StudyRepository
from storage.vocabulary import DeliveryState, RequestKind, RunState
from tests.mr_series import mr_series
from tests.outbox import outbox
from tests.report_builders import STAMP, evidence_of, full_report

PACS = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": 104}
VNA = {"name": "vna", "kind": "dicomweb", "url": "https://vna.example.org/dicom-web"}


def config(tmp_path: Path, *destinations: dict[str, object], **sections: object) -> NodeConfig:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"destinations": list(destinations), **sections}))
    return load_config(path)


def test_a_secret_comes_from_the_environment_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = config(tmp_path, PACS, VNA | {"auth": "bearer", "secret_env": "VNA_TOKEN"})
    with pytest.raises(ConfigurationInvalid, match="VNA_TOKEN"):
        destinations_of(loaded)
    monkeypatch.setenv("VNA_TOKEN", "hush")
    pacs, vna = destinations_of(loaded)
    assert (pacs.kind, pacs.secret, vna.url, vna.secret) == ("dicom", "", VNA["url"], "hush")
    assert "hush" not in repr(loaded) + repr(vna)


@pytest.mark.parametrize(
    ("destination", "words"),
    [
        ({"name": "x"}, "ae_title, host and port"),
        ({"name": "x", "kind": "dicomweb"}, "URL"),
        (VNA | {"url": "ftp://vna"}, "URL"),
        (VNA | {"url": "https://me:secret@vna/x"}, "without password"),
        (VNA | {"commitment": "request"}, "kind dicom only"),
        (VNA | {"auth": "bearer"}, "secret_env"),
        (VNA | {"url": "http://vna/x", "auth": "basic", "secret_env": "X"}, "plain http"),
        (PACS | {"commitment": "perhaps"}, "commitment"),
    ],
)
def test_a_destination_without_sense_is_refused(tmp_path: Path, destination: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigurationInvalid, match=words):
        config(tmp_path, destination)


def test_a_password_may_go_in_the_clear_to_this_machine_only(tmp_path: Path) -> None:
    config(tmp_path, VNA | {"url": "http://127.0.0.1:8042/dicom-web", "auth": "basic", "secret_env": "X"})


def test_the_pacs_that_is_asked_is_a_destination(tmp_path: Path) -> None:
    assert pacs_of(config(tmp_path, PACS)) is None
    with pytest.raises(ConfigurationInvalid, match="'other' is not a destination; known: pacs"):
        config(tmp_path, PACS, query={"destination": "other"})
    asked = pacs_of(config(tmp_path, PACS, query={"destination": "pacs", "retrieve": "move"}))
    assert isinstance(asked, DicomPacs)
    assert isinstance(pacs_of(config(tmp_path, VNA, query={"destination": "vna"})), DicomwebPacs)


def test_the_inbox_token_stands_in_no_file_of_settings(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationInvalid, match="BTN_WEB__INBOX_TOKEN"):
        config(tmp_path, web={"inbox_token": "x" * 40})


def test_sending_once_more_sends_the_same_object_and_analyses_nothing(tmp_path: Path) -> None:
    series = mr_series()
    with outbox(tmp_path) as box:
        scans = ScanRepository(box.database, box.clock)
        requests = RequestRepository(box.database, box.clock)
        box.owe(encode_all(full_report(series.grid), evidence_of(series), STAMP), ["pacs"])
        seg, sr = box.deliveries.of_scan(box.scan_id)
        box.deliveries.mark_sent(sr.id)
        box.deliveries.mark_failed(seg.id, None, "refused")
        scans.finish_run(box.run_id, RunState.DONE)
        for event in (ScanEvent.ANALYSED, ScanEvent.REPORTED, ScanEvent.FAIL):
            scans.apply_event(box.scan_id, event, "x")
        tried: list[str] = []
        intake = Intake(
            studies=StudyRepository(box.database, box.clock), scans=scans, requests=requests,
            deliveries=box.deliveries, files=FileStore(tmp_path / "files", min_free_bytes=0),
            jobs=Jobs(submit=lambda run: pytest.fail("a run began"), gave_up=lambda run: None),
            policy=AssemblyPolicy(), model_digest=lambda: "others by now", clock=box.clock,
            try_destination=tried.append,
        )  # fmt: skip
        requests.add(box.scan_id, RequestKind.RESEND, {"delivery_id": seg.id})
        requests.add(box.scan_id, RequestKind.FETCH)
        box.clock.advance(9 * 24 * 3600)
        intake.tick()
        again = box.deliveries.get(seg.id)
        assert (again.state, again.sop_instance_uid) == (DeliveryState.OWED, seg.sop_instance_uid)
        assert again.created_at == box.clock()
        assert (scans.get(box.scan_id).status, len(scans.runs_of(box.scan_id))) == (ScanState.DELIVERING, 1)
        assert tried == ["pacs"]
        # What goes on with the PACS is for another loop.
        assert [row.kind for row in requests.pending()] == [RequestKind.FETCH]
