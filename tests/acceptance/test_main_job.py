"""The main job through real parts: Orthanc routes a phantom study to the node and gets SEG and SR back."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from dicomweb_client import DICOMwebClient

from dicom_node.phantom.study import PhantomStudy, make_study
from dicom_node.phantom.write_dicom import write_study
from pipeline.volume import SeriesRole
from storage.commitments import CommitmentRepository
from storage.errors import NotFound
from storage.lifecycle import ScanState
from storage.pacs_answers import PacsAnswerRepository
from storage.study_rows import InstanceRow
from storage.vocabulary import CommitmentState, PacsAnswerState
from tests.acceptance.nodes import TruthNode, send
from tests.orthanc import ROUTE_MR_TO_NODE, Modality, OrthancServer, free_port

SEED = 5

#: Segmented Property Type (SNOMED CT, NCIt) to BraTS label.
LABEL_OF_CODE = {"6574001": 1, "79654002": 2, "C113842": 4}


class Hospital:
    """A PACS that routes MR to a node, and the node."""

    def __init__(self, pacs: OrthancServer, node: TruthNode) -> None:
        self.pacs = pacs
        self.node = node

    def results(self, study_instance_uid: str) -> dict[str, list[pydicom.Dataset]]:
        """SEG and SR of the study as the PACS returns them over DICOMweb."""
        client = DICOMwebClient(self.pacs.dicomweb_url)
        found = client.search_for_instances(study_instance_uid)
        held: dict[str, list[pydicom.Dataset]] = {"SEG": [], "SR": []}
        for item in found:
            modality = item["00080060"]["Value"][0]
            if modality in held:
                held[modality].append(
                    client.retrieve_instance(
                        study_instance_uid, item["0020000E"]["Value"][0], item["00080018"]["Value"][0]
                    )
                )
        return held


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory, debian_tool: Callable[[str], str]) -> Iterator[Hospital]:
    folder = tmp_path_factory.mktemp("hospital")
    # The node needs the PACS's port and the PACS the node's: both are drawn before either starts.
    port = free_port()
    modality = Modality(name="node", ae_title="BTNODE", port=port)
    pacs = OrthancServer(debian_tool("Orthanc"), folder, modalities=[modality], lua=ROUTE_MR_TO_NODE, stable_age_s=1)
    node = TruthNode(
        folder,
        SEED,
        pacs.ae_title,
        pacs.dicom_port,
        port=port,
        pacs={"commitment": "request"},
        sections={"query": {"destination": "pacs", "quiet_s": 0.2, "again_s": 0.5}, "commitment": {"wait_s": 0.5}},
    )
    with pacs, node:
        yield Hospital(pacs, node)


@pytest.fixture(scope="module")
def study() -> PhantomStudy:
    return make_study(SEED, "siemens", size="small", clutter=True)


@pytest.fixture(scope="module")
def delivered(hospital: Hospital, study: PhantomStudy, tmp_path_factory: pytest.TempPathFactory) -> Hospital:
    written = write_study(tmp_path_factory.mktemp("study"), study)
    hospital.pacs.store([path for series in written for path in series.paths])
    scan = hospital.node.wait_for_end(study.study_instance_uid)
    assert scan.status is ScanState.DELIVERED, scan.error_text
    return hospital


def test_the_pacs_holds_one_seg_and_one_sr_of_the_study(delivered: Hospital, study: PhantomStudy) -> None:
    held = delivered.results(study.study_instance_uid)
    assert [len(held["SEG"]), len(held["SR"])] == [1, 1]
    assert held["SEG"][0].PatientID == study.patient.patient_id


def test_the_pacs_commits_itself_to_our_results(delivered: Hospital, study: PhantomStudy) -> None:
    store = delivered.node.store
    scan = store.scans.by_study(study.study_instance_uid)
    assert scan is not None
    commitments = CommitmentRepository(store.database)
    delivered.pacs.wait_for(
        lambda _: [row.state for row in commitments.of_scan(scan.id).values()] == [CommitmentState.COMMITTED] * 2
    )


def test_the_seg_in_the_pacs_matches_the_truth_on_the_t1ce_grid(delivered: Hospital, study: PhantomStudy) -> None:
    """Although the four series differ in grid and position: Dice >= 0.95 for each region."""
    dataset = delivered.results(study.study_instance_uid)["SEG"][0]
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    seg = hd.seg.segread(io.BytesIO(buffer.getvalue()))
    reference = study.of_role(SeriesRole.T1CE)
    truth = study.truth_of(reference)
    source_uids = [hd.UID(uid) for uid in uids_of_t1ce_slices(delivered, study)]
    frames = seg.get_pixels_by_source_instance(source_uids)  # (slices, rows, columns, segments), slices as k
    found = np.zeros(truth.shape, np.uint8)
    for index, number in enumerate(seg.segment_numbers):
        code = seg.get_segment_description(number).segmented_property_type.value
        found[frames[..., index].transpose(2, 1, 0) > 0] = LABEL_OF_CODE[code]
    for region in ((1, 2, 4), (1, 4), (4,)):
        a, b = np.isin(found, region), np.isin(truth, region)
        dice = 2 * (a & b).sum() / (a.sum() + b.sum())
        assert dice >= 0.95, (region, dice)


def uids_of_t1ce_slices(hospital: Hospital, study: PhantomStudy) -> list[str]:
    """SOP Instance UIDs of the T1CE series in the order of the truth's k."""
    scan = hospital.node.store.scans.by_study(study.study_instance_uid)
    assert scan is not None
    run = hospital.node.store.scans.runs_of(scan.id)[-1]
    record = json.loads((hospital.node.store.files.run_folder(run.id) / "evidence.json").read_text())
    assert np.allclose(record["reference"]["affine"], study.of_role(SeriesRole.T1CE).volume.grid.affine, atol=0.01)
    return [uid for uid, _ in record["reference"]["slices"]]


def test_our_results_coming_back_are_not_analysed(delivered: Hospital, study: PhantomStudy) -> None:
    scan = delivered.node.store.scans.by_study(study.study_instance_uid)
    delivered.pacs.post("/modalities/node/store", {"Resources": delivered.pacs.instances("SEG"), "Synchronous": True})
    after = delivered.node.store.scans.by_study(study.study_instance_uid)
    assert scan is not None
    assert after is not None
    assert (after.status, after.run, after.late) == (scan.status, scan.run, False)


def test_the_same_study_again_gives_no_second_result(delivered: Hospital, study: PhantomStudy, tmp_path: Path) -> None:
    written = write_study(tmp_path, study)
    paths = [path for series in written for path in series.paths]
    assert len(send(delivered.node.address, paths)) == len(paths)
    scan = delivered.node.wait_for_end(study.study_instance_uid)
    assert (scan.status, scan.run) == (ScanState.DELIVERED, 1)
    held = delivered.results(study.study_instance_uid)
    assert [len(held["SEG"]), len(held["SR"])] == [1, 1]


def test_one_study_by_two_interleaved_associations_gives_one_result(delivered: Hospital, tmp_path: Path) -> None:
    other = make_study(SEED, "siemens", size="small", clutter=False, motion_mm=0, motion_deg=0, salt="interleaved")
    paths = [path for series in write_study(tmp_path, other) for path in series.paths]
    with ThreadPoolExecutor(2) as senders:
        sent = list(senders.map(lambda part: send(delivered.node.address, part), (paths[::2], paths[1::2])))
    assert sorted(sent[0] + sent[1]) == sorted(paths)
    scan = delivered.node.wait_for_end(other.study_instance_uid)
    assert (scan.status, scan.run) == (ScanState.DELIVERED, 1)
    held = delivered.results(other.study_instance_uid)
    assert [len(held["SEG"]), len(held["SR"])] == [1, 1]


def test_no_patient_name_or_id_is_in_the_log(delivered: Hospital, study: PhantomStudy) -> None:
    log = delivered.node.log()
    assert "run done" in log
    for secret in (str(study.patient.name), study.patient.patient_id):
        assert secret not in log


def test_the_pacs_is_asked_what_it_holds_of_a_study_that_waits(hospital: Hospital, tmp_path: Path) -> None:
    """A study that is whole by content waits for no answer, so it may never be asked about: this one has a gap."""
    gapped = make_study(SEED, "siemens", size="small", clutter=False, motion_mm=0, motion_deg=0, salt="asked")
    written = write_study(tmp_path, gapped)
    hospital.pacs.store([path for series in written for path in (*series.paths[:3], *series.paths[4:])])
    answers = PacsAnswerRepository(hospital.node.store.database)

    def is_answered(_: OrthancServer) -> bool:
        here = Counter(row.series_instance_uid for row in instances_here(hospital, gapped))
        said = [(row.state, row.instances_of()) for row in answers.of_study(gapped.study_instance_uid)]
        return len(here) == len(written) and said == [(PacsAnswerState.ANSWERED, here)]

    hospital.pacs.wait_for(is_answered)


def instances_here(hospital: Hospital, study: PhantomStudy) -> list[InstanceRow]:
    try:
        return hospital.node.store.studies.instances_of(study.study_instance_uid)
    except NotFound:
        return []
