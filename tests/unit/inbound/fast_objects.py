"""Tiny data sets for the journal's tests, encoded by hand."""

from __future__ import annotations

import struct

from dicom_node.inbound.ingest import Claim

MR = "1.2.840.10008.5.1.4.1.1.4"
EXPLICIT = "1.2.840.10008.1.2.1"


def claim(number: int, *, instance: str = "", calling_ae: str = "MODALITY") -> Claim:
    return Claim(
        sop_class_uid=MR,
        sop_instance_uid=instance or f"1.2.3.4.{number}",
        transfer_syntax_uid=EXPLICIT,
        calling_ae=calling_ae,
    )


def data_set(number: int, *, pixel_bytes: int = 1000, patient: str = "P1") -> bytes:
    """Explicit little endian; the pixels tell the number too."""
    elements = [
        (0x0008, 0x0016, b"UI", MR),
        (0x0008, 0x0018, b"UI", f"1.2.3.4.{number}"),
        (0x0008, 0x0060, b"CS", "MR"),
        (0x0010, 0x0020, b"LO", patient),
        (0x0020, 0x000D, b"UI", "1.2.3"),
        (0x0020, 0x000E, b"UI", "1.2.3.4"),
    ]
    head = b"".join(_short(*element) for element in elements)
    pixels = (b"%08d" % number) * (pixel_bytes // 8)
    return head + struct.pack("<HH2s2xL", 0x7FE0, 0x0010, b"OW", len(pixels)) + pixels


def _short(group: int, element: int, vr: bytes, text: str) -> bytes:
    value = text.encode()
    value += (b"\0" if vr == b"UI" else b" ") * (len(value) % 2)
    return struct.pack("<HH2sH", group, element, vr, len(value)) + value
