"""The rule for Orthanc in docs/for-pacs-administrators.md, in a real Orthanc before the node's real listener."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

from pydicom import dcmread

from dicom_node.outbound.scu import DicomSender
from dicom_node.outbound.sending import Destination, Verdict, outgoing_file
from tests.listener import listening
from tests.mr_series import mr_series
from tests.orthanc import Modality, OrthancServer

PAGE = (Path(__file__).resolve().parents[2] / "docs/for-pacs-administrators.md").read_text(encoding="utf-8")


def documented(language: str) -> str:
    (block,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(block)


def test_orthanc_forwards_mr_series_and_nothing_else(debian_tool: Callable[[str], str], tmp_path: Path) -> None:
    settings = json.loads(documented("json"))
    ((name, peer),) = settings["DicomModalities"].items()
    images = mr_series(slices=3).write(tmp_path / "mr")
    document = dcmread(images[0])
    document.Modality, document.SeriesInstanceUID, document.SOPInstanceUID = "SR", "2.25.77", "2.25.78"
    document.file_meta.MediaStorageSOPInstanceUID = document.SOPInstanceUID
    document.save_as(tmp_path / "sr.dcm")
    with listening(tmp_path) as node:
        orthanc = OrthancServer(
            debian_tool("Orthanc"),
            tmp_path / "orthanc",
            modalities=[Modality(name=name, ae_title=peer["AET"], port=node.address.port)],
            lua=documented("lua"),
            always_allow_store=True,
            options={"StableAge": 1},
        )
        assert node.address.ae_title == peer["AET"]
        with orthanc:
            pacs = Destination(name="pacs", ae_title=orthanc.ae_title, host="127.0.0.1", port=orthanc.dicom_port)
            sent = DicomSender(pacs, "CT1").send([outgoing_file(path) for path in (*images, tmp_path / "sr.dcm")])
            assert {outcome.verdict for outcome in sent} == {Verdict.SENT}
            study, deadline = str(document.StudyInstanceUID), time.monotonic() + 60
            while len(node.studies.known_paths()) < 3 and time.monotonic() < deadline:
                time.sleep(0.2)
            time.sleep(1.5)  # for what should not come
        arrived = {row.sop_instance_uid for row in node.studies.instances_of(study)}
    assert arrived == {str(dcmread(path).SOPInstanceUID) for path in images}
