"""The drill: back up a running node, destroy its store, restore, carry on. Same results by hash, nothing twice."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from dicom_node.phantom.study import PhantomStudy, make_study
from dicom_node.phantom.write_dicom import write_study
from pipeline.volume import SeriesRole
from storage.errors import NotFound
from storage.lifecycle import ScanState
from storage.vocabulary import RequestKind
from tests.acceptance.kill_campaign import until
from tests.acceptance.nodes import REPOSITORY, TruthNode, send
from tests.orthanc import OrthancServer

SEED = 11


def tumor_node(*arguments: str) -> str:
    command = [sys.executable, "-m", "dicom_node", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout


def small_study(folder: Path, salt: str) -> tuple[PhantomStudy, list[Path]]:
    """One series, for time's sake: it never makes a study complete, so a person has to ask for its analysis."""
    study = make_study(SEED, "siemens", size="small", clutter=False, roles=(SeriesRole.T1CE,), salt=salt)
    return study, [path for series in write_study(folder / salt, study) for path in series.paths]


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for area in ("studies", "results")
        for path in (folder / area).rglob("*")
        if path.is_file()
    }


def process_now(node: TruthNode, study: PhantomStudy, images: int) -> None:
    until(lambda: instances(node, study) == images, "every acknowledged image has its row")
    scan = node.store.scans.by_study(study.study_instance_uid)
    assert scan is not None
    node.store.requests.add(scan.id, RequestKind.PROCESS_NOW)


def instances(node: TruthNode, study: PhantomStudy) -> int:
    try:
        return len(node.store.studies.instances_of(study.study_instance_uid))
    except NotFound:
        return 0


def test_backup_destroy_restore_carry_on(tmp_path: Path, debian_tool: Callable[[str], str]) -> None:
    pacs = OrthancServer(debian_tool("Orthanc"), tmp_path)  # down until after the disaster
    # Quiet for longer than the drill lasts: the half-received study must wait for its other half.
    node = TruthNode(tmp_path / "node", SEED, pacs.ae_title, pacs.dicom_port, study_quiet_s=600)
    done, done_paths = small_study(tmp_path, "analysed")
    open_study, open_paths = small_study(tmp_path, "half-received")
    half = len(open_paths) // 2
    root = node.config.storage.root
    try:
        node.start("--quick")
        assert len(send(node.address, done_paths)) == len(done_paths)
        process_now(node, done, len(done_paths))
        node.wait_for_state(done.study_instance_uid, {ScanState.DELIVERING}, 90)
        assert len(send(node.address, open_paths[:half])) == half
        tumor_node("backup", str(tmp_path / "backup"), "--config", str(node.config_path))
        before = hashes(root)
        node.kill()
        node.store.database.close()
        shutil.rmtree(root)

        tumor_node("restore", str(tmp_path / "backup"), "--config", str(node.config_path))
        restored = hashes(root)
        node.start("--quick")
        with pacs:
            assert len(send(node.address, open_paths)) == len(open_paths)  # as a modality does: all of it again
            process_now(node, open_study, len(open_paths))
            for study in (done, open_study):
                scan = node.wait_for_end(study.study_instance_uid, 120)
                assert scan.status is ScanState.DELIVERED, scan.error_text
                series = pacs.qido_series(study.study_instance_uid)
                counts = {row["00080060"]["Value"][0]: row["00201209"]["Value"][0] for row in series}
                assert counts == {"SEG": 1, "SR": 1}
        after = hashes(root)
    finally:
        node.stop()
        node.store.database.close()
    results = {path: digest for path, digest in before.items() if path.startswith("results/")}
    assert len(results) >= 4
    assert results.items() <= restored.items()
    assert results.items() <= after.items()  # nothing was made a second time, or differently
    assert {path for path in after if path.startswith("studies/")} >= {
        path for path in before if path.startswith("studies/")
    }
