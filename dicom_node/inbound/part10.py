"""The head of the files the node writes: preamble, prefix and file meta information before the sender's own bytes."""

from __future__ import annotations

import re

from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID

from dicom_node.inbound.parsing import PREAMBLE_AND_PREFIX
from dicom_node.uids import derive_uid

IMPLEMENTATION_CLASS_UID = derive_uid("implementation", "brain-tumor-node")
IMPLEMENTATION_VERSION_NAME = "BTNODE"

# PS3.5 section 9.1, save that a component may begin with 0: such UIDs are in archives and identify well enough.
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")


def valid_uid(text: str) -> bool:
    """True for digits and single dots, at most 64 characters."""
    return len(text) <= 64 and _UID.fullmatch(text) is not None


def file_head(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> bytes:
    """What stands before the data set in a Part-10 file.

    It holds nothing of the association: the same data set gives the same file whoever sends it.
    """
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = UID(sop_class_uid)
    meta.MediaStorageSOPInstanceUID = UID(sop_instance_uid)
    meta.TransferSyntaxUID = UID(transfer_syntax_uid)
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    buffer = DicomBytesIO()
    buffer.write(PREAMBLE_AND_PREFIX)
    write_file_meta_info(buffer, meta, enforce_standard=True)
    return bytes(buffer.getvalue())
