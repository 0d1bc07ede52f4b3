"""A review through a whole node: results wait for it, go out verified once accepted, are taken back once rejected."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from dicom_node.phantom.study import make_study
from dicom_node.phantom.write_dicom import write_study
from pipeline.volume import SeriesRole
from storage.lifecycle import ScanState
from storage.vocabulary import ReviewVerdict
from tests.acceptance.nodes import TruthNode, send
from tests.orthanc import OrthancServer

SEED = 11


def test_results_wait_go_out_verified_and_are_taken_back(tmp_path: Path, debian_tool: Callable[[str], str]) -> None:
    study = make_study(SEED, "siemens", size="small", clutter=False, roles=(SeriesRole.T1CE,))
    paths = [path for series in write_study(tmp_path / "study", study) for path in series.paths]
    with OrthancServer(debian_tool("Orthanc"), tmp_path) as pacs, ExitStack() as stack:
        node = TruthNode(
            tmp_path / "node",
            SEED,
            pacs.ae_title,
            pacs.dicom_port,
            study_quiet_s=3.0,
            pacs={"kinds": ["SEG", "SR", "REJECTION"]},
            sections={"review": {"before_sending": True, "organization": "St. Elsewhere"}},
        )
        stack.callback(node.store.database.close)
        stack.callback(node.stop)
        node.start("--quick", "--still")
        assert len(send(node.address, paths)) == len(paths)
        node.wait_for_state(study.study_instance_uid, [ScanState.AWAITING_REVIEW])
        assert pacs.instances("SEG") == pacs.instances("SR") == []
        scan = node.store.scans.by_study(study.study_instance_uid)
        assert scan is not None
        run_id = node.store.scans.runs_of(scan.id)[-1].id

        def review(verdict: ReviewVerdict) -> None:
            told = {"reviewer": "ada", "reviewer_name": "Lovelace^Ada", "comment": "As seen on FLAIR."}
            node.store.reviews.add(run_id, verdict, **told)  # type: ignore[arg-type]

        review(ReviewVerdict.ACCEPTED)
        assert node.wait_for_end(study.study_instance_uid).status is ScanState.DELIVERED
        pacs.wait_for(lambda server: len(server.instances("SR")) == 2)
        flags = {str(dataset.VerificationFlag): dataset for dataset in pacs.datasets("SR")}
        assert flags["VERIFIED"].VerifyingObserverSequence[0].VerifyingObserverName == "Lovelace^Ada"
        sent = [*pacs.datasets("SEG"), *flags.values()]
        assert [dataset.Modality for dataset in sent] == ["SEG", "SR", "SR"]

        review(ReviewVerdict.REJECTED)
        pacs.wait_for(lambda server: len(server.instances("KO")) == 1)
        (note,) = pacs.datasets("KO")
        assert note.ConceptNameCodeSequence[0].CodeMeaning == "Rejected for Quality Reasons"
        named = {
            str(instance.ReferencedSOPInstanceUID)
            for series in note.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
            for instance in series.ReferencedSOPSequence
        }
        assert named == {str(dataset.SOPInstanceUID) for dataset in sent}
        assert (note.PatientID, str(note.PatientName)) == (study.patient.patient_id, str(study.patient.name))
