"""The committed conformance statement is the one the code makes, and the code keeps to it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

import pytest
from typer.testing import CliRunner

from dicom_node.cli import application
from dicom_node.config import NodeConfig, load_config
from dicom_node.conformance.statement import statement
from dicom_node.doctor.destinations import proposals
from dicom_node.inbound.scp import StorageServer
from dicom_node.outward import destinations_of
from dicom_node.results.encoders import encode_all
from tests.mr_series import mr_series
from tests.report_builders import STAMP, evidence_of, full_report

COMMITTED = Path(__file__).resolve().parents[3] / "docs" / "conformance.md"


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("BTN_")]:
        monkeypatch.delenv(name)


def test_the_committed_statement_is_what_the_code_says() -> None:
    made = statement(load_config(None))
    assert COMMITTED.read_text(encoding="utf-8") == made, "run `tumor-node conformance --out docs/conformance.md`"


def test_every_context_of_the_listener_is_in_the_statement() -> None:
    told = COMMITTED.read_text(encoding="utf-8")
    server = StorageServer(ae_title="X", host="127.0.0.1", port=0, ingest=cast(Any, None))
    for context in server._ae.supported_contexts:
        assert f"| {context.abstract_syntax} |" in told
        for syntax in context.transfer_syntax:
            assert f"| {syntax} |" in told or str(context.abstract_syntax) == "1.2.840.10008.1.1"


def test_every_class_that_is_sent_is_in_the_statement(tmp_path: Path) -> None:
    told = COMMITTED.read_text(encoding="utf-8").partition("#### 4.2.2")[2].partition("### 4.3")[0]
    pacs = {
        "name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": 104, "commitment": "request",
    }  # fmt: skip
    for retrieve in ("get", "move"):
        query = {"destination": "pacs", "retrieve": retrieve}
        config = NodeConfig(destinations=[pacs], query=query)  # type: ignore[arg-type]
        for sop_class, _ in proposals(config, destinations_of(config)[0]):
            assert f"| {sop_class} |" in told
    series = mr_series()
    for made in encode_all(full_report(series.grid), evidence_of(series), STAMP):
        assert f"| {made.sop_class_uid} |" in told


def test_the_command_speaks_of_this_site(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("node: {ae_title: BRAIN1, peers: [CT1], max_associations: 7}\n")
    ended = CliRunner().invoke(application(), ["conformance", "--config", str(path)])
    assert ended.exit_code == 0
    assert "'BRAIN1', any other is rejected" in ended.stdout
    assert "'CT1'; others are rejected" in ended.stdout
    assert "7, more are rejected" in ended.stdout
