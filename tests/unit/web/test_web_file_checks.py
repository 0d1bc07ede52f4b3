from __future__ import annotations

import gzip
import io
import struct
import tracemalloc
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from pipeline.volume import SeriesRole
from storage.files import FileStore
from web.archives import ArchiveRefused, ArchiveTooLarge, unpacked_members
from web.nifti_check import NiftiRefused, NiftiTooLarge, check_nifti
from web.role_names import UnclearName, role_from_name


def image(shape: tuple[int, ...] = (4, 5, 6), affine: Any = None, kind: Any = np.int16) -> nib.Nifti1Image:
    return nib.Nifti1Image(np.zeros(shape, kind), np.eye(4) if affine is None else affine)


def check(data: bytes, max_bytes: int = 10_000_000) -> tuple[int, int, int]:
    return check_nifti(io.BytesIO(data), max_bytes=max_bytes)


def with_header(**fields: Any) -> bytes:
    made = image()
    for name, value in fields.items():
        made.header[name] = value
    header = made.header
    return bytes(header.binaryblock) + b"\0" * 4 + np.zeros((4, 5, 6), np.int16).tobytes()


def test_good_files_pass() -> None:
    assert check(image().to_bytes()) == (4, 5, 6)
    assert check(gzip.compress(image().to_bytes())) == (4, 5, 6)
    assert check(image((4, 5, 6, 1)).to_bytes()) == (4, 5, 6)
    data = image().to_bytes()
    assert check(gzip.compress(data[:300]) + gzip.compress(data[300:])) == (4, 5, 6)
    assert check(gzip.compress(data) + b"\0" * 512) == (4, 5, 6)
    assert check(nib.Nifti2Image(np.zeros((4, 5, 6), np.float32), np.eye(4)).to_bytes()) == (4, 5, 6)


def coded(sform: Any, qform: Any, sform_code: int = 1, qform_code: int = 1) -> bytes:
    made = image()
    made.set_sform(sform, code=sform_code)
    made.set_qform(qform, code=qform_code)
    return bytes(made.to_bytes())


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(image((4, 5)).to_bytes(), "2 dimensions", id="2-D"),
        pytest.param(image((4, 5, 6, 2)).to_bytes(), "4 dimensions", id="4-D"),
        pytest.param(image((4, 5, 6, 1, 3)).to_bytes(), "5 dimensions", id="5-D"),
        pytest.param(image((4, 5, 1)).to_bytes(), "4 x 5 x 1", id="one slice"),
        pytest.param(image(kind=np.complex64).to_bytes(), "plain numbers", id="complex"),
        pytest.param(image().to_bytes()[:348], "cut off|no NIfTI", id="header only"),
        pytest.param(image().to_bytes()[:-1], "cut off", id="a byte short"),
        pytest.param(image().to_bytes() + b"x" * 100_000, "more bytes", id="trailing bytes"),
        pytest.param(with_header(dim=[3, -4, 5, 6, 1, 1, 1, 1]), "valid|voxels", id="negative side"),
        pytest.param(with_header(magic=b"ni1"), "pair|no NIfTI", id="pair"),
        pytest.param(with_header(srow_x=[np.nan, 0, 0, 0]), "NaN", id="NaN affine"),
        pytest.param(with_header(srow_x=[0, 1, 0, 0]), "singular|voxel sizes", id="singular affine"),
        pytest.param(with_header(sform_code=0, qform_code=0), "left and right", id="no orientation"),
        pytest.param(with_header(pixdim=[1, 3, 1, 1, 0, 0, 0, 0]), "voxel sizes", id="two voxel sizes"),
        pytest.param(coded(np.eye(4), np.diag([-1, -1, 1, 1.0])), "disagree", id="sform against qform"),
        pytest.param(b"\x1f\x8b" + b"x" * 100, "damaged", id="no gzip"),
        pytest.param(gzip.compress(image().to_bytes())[:60], "too early|no NIfTI", id="half a gzip"),
        pytest.param(b"%PDF-1.7" + b"\0" * 1000, "no NIfTI", id="PDF"),
    ],
)
def test_what_is_no_volume_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(NiftiRefused, match=reason):
        check(data)


def test_a_template_space_may_differ_from_the_scanner_space() -> None:
    assert check(coded(np.eye(4), np.diag([-1, -1, 1, 1.0]), sform_code=4)) == (4, 5, 6)


def test_a_bomb_is_refused_in_little_memory() -> None:
    bomb = gzip.compress(image().to_bytes() + b"\0" * 200_000_000)
    tracemalloc.start()
    with pytest.raises(NiftiRefused):
        check(bomb, max_bytes=10**9)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


def test_a_claim_over_the_limit_is_refused_from_the_header() -> None:
    with pytest.raises(NiftiTooLarge, match="claims 17179869536 bytes"):
        check(with_header(dim=[3, 2048, 2048, 2048, 1, 1, 1, 1], pixdim=[1, 1, 1, 1, 0, 0, 0, 0]))


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("BraTS20_Training_001_t1.nii.gz", "T1"),
        ("BraTS20_Training_001_t1ce.nii.gz", "T1CE"),
        ("BraTS-GLI-00000-000-t1c.nii.gz", "T1CE"),
        ("BraTS-GLI-00000-000-t1n.nii.gz", "T1"),
        ("BraTS-GLI-00000-000-t2w.nii.gz", "T2"),
        ("BraTS-GLI-00000-000-t2f.nii.gz", "FLAIR"),
        ("t2.nii", "T2"),
        ("FLAIR.NII.GZ", "FLAIR"),
        ("sub-01_t2_flair.nii.gz", "FLAIR"),
        ("t1 post contrast.nii", "T1CE"),
        ("C:\\data\\t1_gd.nii", "T1CE"),
    ],
)
def test_names_tell_roles(name: str, role: str) -> None:
    assert role_from_name(name) is SeriesRole(role)


@pytest.mark.parametrize("name", ["scan.nii", "t1_t2.nii", "case_seg.nii.gz", "t1_mask.nii", "", "patient1t1x.nii"])
def test_unclear_names_are_refused(name: str) -> None:
    with pytest.raises(UnclearName):
        role_from_name(name)


@contextmanager
def store(tmp_path: Path) -> Any:
    yield FileStore(tmp_path / "files", min_free_bytes=0).new_spool_file


def unpack(tmp_path: Path, data: bytes, members: int = 10, size: int = 10_000) -> list[bytes]:
    new_file = FileStore(tmp_path / "files", min_free_bytes=0).new_spool_file
    found = unpacked_members(io.BytesIO(data), new_file=new_file, max_members=members, max_bytes=size)
    return [spool.path.read_bytes() for _, spool in found]


def archive(*members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as opened:
        for name, data in members:
            opened.writestr(name, data)
    return out.getvalue()


def test_members_come_in_order_and_names_lead_nowhere(tmp_path: Path) -> None:
    assert unpack(tmp_path, archive(("../a", b"1"), ("d/", b""), ("/etc/passwd", b"2"))) == [b"1", b"2"]
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_archives_over_their_limits_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveTooLarge, match="3 files"):
        unpack(tmp_path, archive(*((str(n), b"x") for n in range(3))), members=2)
    with pytest.raises(ArchiveTooLarge, match="unpacks"):
        unpack(tmp_path, archive(("bomb", b"\0" * 50_000)))
    with pytest.raises(ArchiveTooLarge, match="lists"):
        unpack(tmp_path, archive(*((str(n), b"") for n in range(1200))), members=10)


def test_a_member_larger_than_it_claims_is_refused(tmp_path: Path) -> None:
    data = bytearray(archive(("lie", b"\0" * 50_000)))
    for signature, at in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<I", data, data.find(signature) + at, 10)
    with pytest.raises(ArchiveRefused):
        unpack(tmp_path, bytes(data))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"PK\x03\x04" + b"x" * 100, id="no end"),
        pytest.param(b"", id="empty"),
        pytest.param(archive(("a", b"x" * 100))[:-30] + b"\0" * 30, id="end overwritten"),
        pytest.param(archive(("a", b"x"), method=zipfile.ZIP_LZMA), id="lzma"),
    ],
)
def test_damaged_archives_are_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(ArchiveRefused):
        unpack(tmp_path, data)


def test_an_encrypted_archive_is_refused(tmp_path: Path) -> None:
    data = bytearray(archive(("a", b"x")))
    for signature, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.find(signature) + at] |= 1
    with pytest.raises(ArchiveRefused, match="encrypted"):
        unpack(tmp_path, bytes(data))
