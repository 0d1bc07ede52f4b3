from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from fastapi.testclient import TestClient

from pipeline.case_files import find_case_files
from pipeline.volume import SeriesRole
from storage.requests import RequestRepository

DICOM = b"\0" * 128 + b"DICM"


def nifti(shape: tuple[int, ...] = (4, 5, 6), **header: Any) -> bytes:
    image = nib.Nifti1Image(np.zeros(shape, np.int16), np.eye(4))
    data = bytearray(image.to_bytes())
    if "dim" in header:
        data[40:56] = np.array(header["dim"], "<i2").tobytes()
    return bytes(data)


def post(node: Any, client: TestClient, *files: tuple[str, bytes], **fields: Any) -> Any:
    parts = [("files", (name, io.BytesIO(data))) for name, data in files]
    return client.post("/api/process-mri", files=parts, data=fields, headers=node.bearer(client))


def zipped(*members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return out.getvalue()


def left_behind(node: Any) -> list[Path]:
    return [path for area in ("spool", "uploads") for path in (node.files.root / area).rglob("*")]


def test_nifti_files_become_one_scan_for_the_worker(node: Any, client: TestClient) -> None:
    plain, packed = nifti(), gzip.compress(nifti())
    answer = post(node, client, ("a_flair.nii.gz", packed), ("a_t1.nii", plain), patientName="Doe^Jane", patientId="P7")
    assert answer.status_code == 202
    (scan,) = answer.json()["scans"]
    assert (scan["patientName"], scan["patientId"], scan["modalities"]) == ("Doe^Jane", "P7", ["T1", "FLAIR"])
    assert (scan["status"], scan["source"], scan["userId"]) == ("received", "upload-nifti", node.user().id)
    folder = node.files.upload_folder(scan["id"])
    assert (folder / "flair.nii.gz").read_bytes() == packed
    assert set(find_case_files(folder).images) == {SeriesRole.T1, SeriesRole.FLAIR}
    (request,) = RequestRepository(node.database).pending()
    assert (request.scan_id, request.kind) == (scan["id"], "process-now")
    assert node.events("audit.upload")[0]["files"] == 2


def test_a_patient_id_is_given_where_none_is(node: Any, client: TestClient) -> None:
    (scan,) = post(node, client, ("t1.nii", nifti())).json()["scans"]
    assert scan["patientId"].startswith("AUTO-20261123-")
    assert scan["scanDate"] == "2026-11-23"


def test_roles_can_be_said_instead_of_told_by_names(node: Any, client: TestClient) -> None:
    answer = post(node, client, ("x.nii", nifti()), ("y.nii", nifti()), roles=["T1CE", "t2"])
    assert answer.json()["scans"][0]["modalities"] == ["T1CE", "T2"]


@pytest.mark.parametrize(
    ("files", "fields", "slug"),
    [
        ([("x.nii", nifti())], {}, "role-unclear"),
        ([("x.nii", nifti())], {"roles": ["T9"]}, "role-unknown"),
        ([("a_t1.nii", nifti()), ("b_t1.nii", nifti())], {}, "role-twice"),
        ([("a_seg.nii", nifti())], {}, "role-unclear"),
        ([("t1.nii", b"no image")], {}, "nifti-refused"),
        ([("t1.nii", b"")], {}, "nifti-refused"),
        ([("t1.nii.gz", gzip.compress(nifti())[:-20])], {}, "nifti-refused"),
        ([("t1.nii.gz", gzip.compress(nifti()) + b"junk")], {}, "nifti-refused"),
        ([("t1.nii", nifti()), ("a.zip", zipped(("a", DICOM)))], {}, "mixed-upload"),
        ([("a.zip", zipped(("a.txt", b"text")))], {}, "no-dicom"),
        ([("a.zip", b"PK\x03\x04 damaged")], {}, "archive-refused"),
        ([("t1.nii", nifti())], {"patientName": "x" * 1000}, "invalid-request"),
        ([("t1.nii", nifti())], {"patientId": "two\nlines"}, "invalid-request"),
    ],
)
def test_an_upload_that_cannot_be_used_leaves_nothing(
    node: Any, client: TestClient, files: list[tuple[str, bytes]], fields: dict[str, Any], slug: str
) -> None:
    answer = post(node, client, *files, **fields)
    assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (422, slug)
    assert left_behind(node) == []
    assert node.scans.list_page().rows == ()


def test_no_files_and_no_form_are_told(node: Any, client: TestClient) -> None:
    doctor = node.bearer(client)
    assert client.post("/api/process-mri", json={}, headers=doctor).status_code == 415
    assert post(node, client).status_code in (415, 422)
    broken = {**doctor, "content-type": "multipart/form-data"}
    assert client.post("/api/process-mri", content=b"x", headers=broken).status_code == 400
    many = [(f"{n}_t1.nii", b"x") for n in range(40)]
    assert post(node, client, *many).status_code == 400


def test_an_upload_over_the_limit_is_cut_off(node: Any) -> None:
    with node.client(max_upload_bytes=10_000) as client:
        assert post(node, client, ("t1.nii", b"\0" * 20_000)).status_code == 413
    assert left_behind(node) == []


def test_a_bomb_and_a_lying_header_are_refused_by_size(node: Any) -> None:
    bomb = gzip.compress(nifti() + b"\0" * 5_000_000)
    with node.client(max_volume_bytes=1_000_000) as client:
        assert post(node, client, ("t1.nii.gz", bomb)).status_code == 422
        claim = nifti(dim=[3, 2048, 2048, 2048, 1, 1, 1, 1])
        assert post(node, client, ("t1.nii", claim)).status_code == 413
    assert left_behind(node) == []


def test_a_zip_of_dicom_goes_through_the_receiver(node: Any, client: TestClient) -> None:
    archive = zipped(
        ("../../../etc/evil.dcm", DICOM + b"1"),
        ("/abs.dcm", DICOM + b"2"),
        ("folder/", b""),
        ("DICOMDIR", b"no dicom"),
        ("again.dcm", DICOM + b"1"),
    )
    answer = post(node, client, ("study.zip", archive))
    assert answer.status_code == 202
    found = answer.json()
    assert (found["received"], found["duplicates"], len(found["scans"])) == (2, 1, 1)
    assert [(one["number"], one["reason"]) for one in found["refused"]] == [(3, "no DICOM file")]
    assert node.ingest.taken == [DICOM + b"1", DICOM + b"2", DICOM + b"1"]
    assert all(path.parent == node.files.root / "spool" and not path.exists() for path in node.ingest.paths)
    assert left_behind(node) == []


@pytest.mark.parametrize(
    ("limits", "status"), [({"max_archive_members": 2}, 413), ({"max_archive_bytes": 500}, 413), ({}, 202)]
)
def test_a_zip_over_its_limits_is_refused(node: Any, limits: dict[str, int], status: int) -> None:
    archive = zipped(*((f"{n}.dcm", DICOM + b"\0" * 200) for n in range(3)))
    with node.client(**limits) as client:
        assert post(node, client, ("a.zip", archive)).status_code == status
    assert [path for path in left_behind(node) if path.is_file()] == []


def test_a_stranger_is_refused_before_the_body_is_read(node: Any, client: TestClient) -> None:
    answer = client.post("/api/process-mri", files={"files": ("t1.nii", nifti())})
    assert answer.status_code == 401
