"""A radiologist's acceptance as DICOM says it: an amended SR, VERIFIED, that names who verified it and what it amends.

An object's UID stands for one content, so the SR that was sent stays as it is and the amended one is another object.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from datetime import UTC, datetime

from pydicom import Dataset
from pydicom.uid import Comprehensive3DSRStorage
from pydicom.valuerep import DA, TM

from dicom_node.results.encoded import EncodedObject
from dicom_node.results.stamp import PredecessorDocument, document_predecessor, plain_text
from dicom_node.results.time_zones import time_zone
from dicom_node.uids import derive_uid


@dataclass(frozen=True, kw_only=True)
class Verification:
    """Who attests to a document's content. observer: a person's name; organization: whom that person answers to.

    key: tells this verification from others of the same document.
    """

    observer: str
    organization: str
    at: datetime
    key: str

    @property
    def is_attributable(self) -> bool:
        """Whether both that PS3.3 table C.17-2 demands a value of are known."""
        return bool(_name(self.observer)) and bool(plain_text(self.organization).strip())


def can_be_verified(dataset: Dataset) -> bool:
    """Whether it is a whole document of ours; nobody is made to attest to one that lacks parts."""
    return str(dataset.SOPClassUID) == Comprehensive3DSRStorage and dataset.CompletionFlag == "COMPLETE"


def verified(kind: str, source: Dataset, verification: Verification) -> EncodedObject:
    """The amended document, in a series of its own. The same arguments give the same bytes.

    Raises:
        ValueError: the verification lacks a name or an organization, or the document cannot be verified.
    """
    if not verification.is_attributable or not can_be_verified(source):
        raise ValueError(f"{kind} cannot be verified: it is not complete, or who verifies it is not known")
    amended = copy.deepcopy(source)
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID"):
        setattr(amended, keyword, derive_uid("verified", keyword, str(source.SOPInstanceUID), verification.key))
    amended.file_meta.MediaStorageSOPInstanceUID = amended.SOPInstanceUID
    amended.VerificationFlag, amended.PreliminaryFlag = "VERIFIED", "FINAL"
    at = verification.at.astimezone(UTC).replace(microsecond=0)
    observer = Dataset()
    observer.VerifyingOrganization = plain_text(verification.organization, 64).strip()
    observer.VerificationDateTime = at.strftime("%Y%m%d%H%M%S+0000")
    observer.VerifyingObserverName = _name(verification.observer)
    observer.VerifyingObserverIdentificationCodeSequence = []
    amended.VerifyingObserverSequence = [observer]
    amended.PredecessorDocumentsSequence = [
        document_predecessor(
            PredecessorDocument(
                study_instance_uid=str(source.StudyInstanceUID),
                series_instance_uid=str(source.SeriesInstanceUID),
                sop_class_uid=str(source.SOPClassUID),
                sop_instance_uid=str(source.SOPInstanceUID),
            )
        )
    ]
    local = at.astimezone(time_zone(source) or UTC)
    amended.InstanceCreationDate, amended.InstanceCreationTime = DA(local.date()), TM(local.time())
    amended.SeriesDate, amended.SeriesTime = amended.InstanceCreationDate, amended.InstanceCreationTime
    return EncodedObject(kind=kind, dataset=amended)


def _name(observer: str) -> str:
    """As a Person Name; what is written as one text stays one component."""
    return plain_text(observer.replace("=", " "), 64).strip()
