from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import zlib

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicom_node.inbound.headers import InstanceHeader, read_header
from dicom_node.inbound.parsing import parse_data_set, split_part10
from dicom_node.inbound.part10 import file_head, valid_uid
from dicom_node.inbound.refusals import ObjectUnreadable

_HEAD = file_head("1.2.840.10008.5.1.4.1.1.4", "1.2.3", ExplicitVRLittleEndian)


def _element(group: int, element: int, vr: bytes, value: bytes) -> bytes:
    value += b" " * (len(value) % 2)
    return group.to_bytes(2, "little") + element.to_bytes(2, "little") + vr + len(value).to_bytes(2, "little") + value


def _nested(depth: int) -> bytes:
    """A sequence in a sequence, `depth` times, all of undefined length."""
    begin = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    end = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
    return begin * depth + end * depth


def test_odd_values_become_nothing_and_are_named():
    data = b"".join(
        [
            _element(0x0008, 0x0018, b"UI", b"1.2.3"),
            _element(0x0010, 0x0020, b"LO", b"A\\B"),
            _element(0x0018, 0x0050, b"DS", b"thick"),
            _element(0x0018, 0x0080, b"DS", b""),
            _element(0x0018, 0x0081, b"DS", b"inf"),
            _element(0x0020, 0x0013, b"IS", b"7"),
            _element(0x0020, 0x0032, b"DS", b"1\\nan\\3"),
            _element(0x0020, 0x0037, b"DS", b"1\\0\\0"),
            _element(0x0028, 0x0030, b"DS", b"1"),
        ]
    )
    header = read_header(_HEAD + data)
    assert (header.position, header.orientation, header.pixel_spacing_mm) == ((), (), ())
    assert (header.slice_thickness_mm, header.repetition_time_ms, header.echo_time_ms) == (None, None, None)
    assert (header.patient_id, header.instance_number) == ("A", 7)
    named = {p.split(":")[0] for p in header.problems}
    assert {"ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "PatientID", "EchoTime"} <= named
    assert not any("A" in p.split(": ", 1)[1] or "thick" in p for p in header.problems)


def test_json_round_trip_keeps_every_field(header):
    full = header(echo_time_ms=2.5, scanning_sequence=("GR", "IR"), problems=("EchoTime: not a number",))
    assert InstanceHeader.from_json(json.loads(json.dumps(full.to_json()))) == full
    assert "flip_angle_deg" not in full.to_json()


def test_enhanced_geometry_and_timing_come_from_the_functional_groups(shared_data):
    path = next((shared_data / "dicom/siemens_xa30_enhanced/5_anat-T1w_acq-tfl").glob("*.dcm"))
    header = read_header(path)
    assert len(header.frames) == header.number_of_frames == 96
    assert header.frames[0].position == (-100.424, -156.094, 113.224)
    assert header.frames[0].pixel_spacing_mm == (2.0, 2.0)
    assert (header.repetition_time_ms, header.echo_time_ms, header.inversion_time_ms) == (1800.0, 2.41, 900.0)
    assert InstanceHeader.from_json(json.loads(json.dumps(header.to_json()))) == header


def test_every_real_file_gives_a_header_or_a_named_refusal(shared_data):
    read = 0
    for path in (p for p in (shared_data / "dicom").rglob("*") if p.is_file() and p.suffix != ".csv"):
        with contextlib.suppress(ObjectUnreadable):
            read += bool(read_header(path).sop_class_uid)
    assert read >= 40


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not DICOM" * 100,
        b"\0" * 128 + b"DICM",
        b"\0" * 128 + b"DICM" + b"\xff" * 64,
        _HEAD[:150],
        _HEAD + _nested(10_000),
        _HEAD + b"\x08\x00\x18\x00UI\xff\xff1.2",
        _HEAD + b"\x10\x00\x10\x00ZZ\x04\x00abcd\x99",
    ],
    ids=["empty", "text", "no meta", "broken meta", "cut meta", "nested", "length past the end", "broken element"],
)
def test_what_cannot_be_parsed_raises_one_error_or_is_read(data):
    with contextlib.suppress(ObjectUnreadable):
        assert read_header(data).sop_instance_uid in ("", "1.2")


def test_a_uid_that_is_no_transfer_syntax_is_an_object_error():
    with pytest.raises(ObjectUnreadable):
        parse_data_set(b"", "1.2.840.10008.1.1", stop_before_pixels=True)


def test_an_implicit_big_endian_private_syntax_is_read():
    data = b"\x00\x08\x00\x18\x00\x00\x00\x06" + b"1.2.3\0"
    assert parse_data_set(data, "1.2.840.113619.5.2", stop_before_pixels=True).SOPInstanceUID == "1.2.3"


def test_deep_nesting_is_an_object_error_and_not_a_recursion_error():
    with pytest.raises(ObjectUnreadable):
        read_header(_HEAD + _nested(10_000))


def test_moderate_nesting_is_read():
    assert read_header(_HEAD + _nested(20)).sop_instance_uid == ""


def _deflated(data: bytes) -> bytes:
    press = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return press.compress(data) + press.flush()


def test_a_deflated_data_set_is_read_and_a_bomb_is_cut(monkeypatch):
    uid = _element(0x0008, 0x0018, b"UI", b"1.2.3")
    bomb = _deflated(uid + b"\xe0\x7f\x10\x00OB\0\0\0\0\0\x40" + b"\0" * (1 << 22))
    dataset = parse_data_set(bomb, DeflatedExplicitVRLittleEndian, stop_before_pixels=True)
    assert dataset.SOPInstanceUID == "1.2.3"
    monkeypatch.setattr("dicom_node.inbound.parsing.MAX_INFLATED_BYTES", 1 << 20)
    with pytest.raises(ObjectUnreadable, match="inflates past"):
        parse_data_set(bomb, DeflatedExplicitVRLittleEndian, stop_before_pixels=False)


def test_the_head_of_a_file_carries_the_data_set_unchanged():
    data = _element(0x0008, 0x0018, b"UI", b"1.2.3")
    assert split_part10(_HEAD + data) == (ExplicitVRLittleEndian, data)
    assert _HEAD[:132] == b"\0" * 128 + b"DICM"
    assert file_head("1.2", "1.2.3", ImplicitVRLittleEndian) == file_head("1.2", "1.2.3", ImplicitVRLittleEndian)


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("1.2.840.10008", True),
        ("1.02.3", True),
        ("1." * 31 + "12", True),
        ("1." * 32 + "1", False),
        ("", False),
        ("../../etc/x", False),
        ("/etc/passwd", False),
        ("1..2", False),
        ("1.2.", False),
        ("1.2\x00", False),
        ("1.2é", False),
        ("١.٢", False),
    ],
)
def test_valid_uid(text, valid):
    assert valid_uid(text) is valid


def test_own_objects_are_known_by_their_model_name():
    dataset = Dataset()
    dataset.ManufacturerModelName = "brain-tumor-node"
    assert read_header(dataset).own_object
    dataset.ManufacturerModelName = "Skyra"
    assert not read_header(dataset).own_object


def test_an_agent_in_an_enhanced_object_is_read_from_its_code():
    code, dataset = Dataset(), Dataset()
    code.CodeMeaning = "Gadobutrol"
    dataset.ContrastBolusAgentSequence = Sequence([code])
    assert read_header(dataset).contrast_agent == "Gadobutrol"


def test_a_header_that_swells_past_the_process_limit_is_refused_and_the_next_one_read() -> None:
    code = """
import struct, sys
from dicom_node.lean_process import be_lean
be_lean(300 << 20)
from dicom_node.inbound.headers import read_header
from dicom_node.inbound.refusals import ObjectUnreadable

head = bytes.fromhex(sys.argv[1])
items = b"".join(struct.pack("<HHHH", 0x0009, 0x1000 + n % 0xEFFF, 0x4F4C, 0) for n in range(1000))
item = struct.pack("<HHL", 0xFFFE, 0xE000, len(items)) + items
swelling = head + struct.pack("<HH2s2xL", 0x0008, 0x1140, b"SQ", 0xFFFFFFFF) + item * 3000
try:
    print("read", read_header(swelling).sop_instance_uid)
except ObjectUnreadable as error:
    print("refused", error)
del swelling
print("read", read_header(head).sop_instance_uid)
"""
    done = subprocess.run([sys.executable, "-c", code, _HEAD.hex()], capture_output=True, text=True, check=True)
    refused, read = done.stdout.splitlines()
    assert "refused" in refused
    assert "MemoryError" in refused
    assert read.startswith("read")
