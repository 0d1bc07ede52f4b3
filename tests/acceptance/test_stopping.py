"""SIGTERM in the middle of an analysis: the node ends within seconds, and the study is finished at the next start."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from dicom_node.phantom.study import make_study
from dicom_node.phantom.write_dicom import write_study
from storage.lifecycle import ScanState
from tests.acceptance.nodes import TruthNode, send
from tests.orthanc import OrthancServer


def test_a_node_told_to_stop_parks_its_run(tmp_path: Path, debian_tool: Callable[[str], str]) -> None:
    study = make_study(11, "siemens", size="small", clutter=False)
    paths = [path for series in write_study(tmp_path / "study", study) for path in series.paths]
    with OrthancServer(debian_tool("Orthanc"), tmp_path) as pacs:
        node = TruthNode(tmp_path / "node", 11, pacs.ae_title, pacs.dicom_port)
        node.start("--still")
        assert len(send(node.address, paths)) == len(paths)
        node.wait_for_state(study.study_instance_uid, [ScanState.ANALYSING])
        time.sleep(0.5)
        started = time.monotonic()
        node.stop()
        assert time.monotonic() - started < 15
        assert node.process is not None
        assert node.process.returncode == 0
        scan = node.store.scans.by_study(study.study_instance_uid)
        assert scan is not None
        assert scan.status is ScanState.ANALYSING
        node.start("--still")
        try:
            assert node.wait_for_end(study.study_instance_uid).status is ScanState.DELIVERED
        finally:
            node.stop()
            node.store.database.close()
        assert sorted(series["00080060"]["Value"][0] for series in pacs.qido_series(study.study_instance_uid)) == [
            "SEG",
            "SR",
        ]
