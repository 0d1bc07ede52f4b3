"""The phantom study of `tumor-node doctor` through a running node and into a real PACS."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dicom_node.doctor.examination import Scope, examine_node
from dicom_node.doctor.findings import Verdict
from dicom_node.doctor.report import line
from dicom_node.doctor.study import PATIENT
from tests.acceptance.nodes import REPOSITORY, TruthNode
from tests.orthanc import Modality, OrthancServer, free_port


@pytest.mark.timeout(900)
def test_a_study_goes_through_the_running_node_and_is_found_at_the_pacs(
    tmp_path: Path, debian_tool: Callable[[str], str]
) -> None:
    # A PACS answers the queries of those it knows.
    ours = Modality(name="node", ae_title="BTNODE", port=free_port())
    with OrthancServer(debian_tool("Orthanc"), tmp_path, modalities=[ours]) as pacs:
        _examine(tmp_path, pacs)


def _examine(tmp_path: Path, pacs: OrthancServer) -> None:
    sections = {"query": {"destination": "pacs", "timeout_s": 60}, "models": {"folder": str(REPOSITORY / "models")}}
    node = TruthNode(tmp_path / "node", 7, "TESTPACS", pacs.dicom_port, sections=sections)
    try:
        node.start("--still", timeout_s=240.0)
        # The truth node's worker is no `tumor-node work`, which would hold the lock itself.
        with node.store.files.lock("worker-node-1"):
            findings = list(examine_node(node.config, Scope(load_models=False, study_within_s=600.0)))
    finally:
        node.stop()
        node.store.database.close()
    told = [line(one) for one in findings]
    assert any("phantom study: the running node took" in one for one in told), told
    assert any("phantom study to pacs: took SEG, SR" in one for one in told), told
    assert any("phantom study back from pacs: lists all 2 results" in one for one in told), told
    assert any("the running node: answers C-ECHO as 'BTNODE'" in one for one in told), told
    assert [line(one) for one in findings if one.verdict is Verdict.WRONG] == []
    (seg,) = pacs.datasets("SEG")
    assert (seg.PatientID, str(seg.PatientName)) == (PATIENT.patient_id, PATIENT.name)
