"""What the listener accepts to store: SOP classes and transfer syntaxes, each once, in order of preference."""

from __future__ import annotations

from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom import ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts

from dicom_node.inbound.parsing import GE_PRIVATE_IMPLICIT_BIG_ENDIAN

#: Vendors' private storage classes met in MR studies: stored like the rest, never analysed.
PRIVATE_CLASSES = (
    "1.3.12.2.1107.5.9.1",
    "1.3.46.670589.2.3.1.1",
    "1.3.46.670589.5.0.1",
    "1.3.46.670589.5.0.2",
    "1.3.46.670589.11.0.0.12.1",
    "1.3.46.670589.11.0.0.12.2",
    "1.3.46.670589.11.0.0.12.4",
    "1.2.840.113619.4.27",
    "1.2.840.113619.4.30",
)

STORAGE_CLASSES = frozenset((*(str(c.abstract_syntax) for c in AllStoragePresentationContexts), *PRIVATE_CLASSES))

#: Ours is the order of preference. Explicit before implicit: conversion would cost private elements their VR.
STORAGE_SYNTAXES: tuple[str, ...] = tuple(
    sorted({*ALL_TRANSFER_SYNTAXES, GE_PRIVATE_IMPLICIT_BIG_ENDIAN}, key=lambda s: (s == ImplicitVRLittleEndian, s))
)

MAX_PDU_BYTES = 1 << 18
