"""A radiologist's rejection as DICOM says it: a key object selection that tells a PACS to show these objects no more.

IHE Radiology TF-1 section 33 (IOCM): the note's title says why; an archive that knows such notes hides or deletes what
the note refers to. Any other keeps the note as a document like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import highdicom as hd
from pydicom import Dataset
from pydicom.uid import KeyObjectSelectionDocumentStorage
from pydicom.valuerep import DA, TM

from dicom_node.result_kinds import ResultKind
from dicom_node.results.codes import PERSON, REJECTED_FOR_QUALITY
from dicom_node.results.encoded import EncodedObject
from dicom_node.results.source_images import without_identity
from dicom_node.results.stamp import EQUIPMENT_NAME, IDENTITY_KEYWORDS, SERIES_DESCRIPTION_PREFIX, plain_text
from dicom_node.results.time_zones import time_zone
from dicom_node.uids import derive_uid

KIND = ResultKind.REJECTION.value
SOP_CLASS_UID = str(KeyObjectSelectionDocumentStorage)
#: In the block of ten Series Numbers that the rejected objects' run has.
_NUMBER_IN_BLOCK = 9


@dataclass(frozen=True, kw_only=True)
class Rejection:
    """Who rejected, and when. observer: a person's name, '' where none is known; key: tells this rejection from others.

    reason: as the reviewer put it.
    """

    observer: str
    reason: str
    at: datetime
    key: str


def rejection_note(rejected: Sequence[Dataset], rejection: Rejection) -> EncodedObject:
    """The note on these objects of one study. The same arguments give the same bytes.

    rejected: results of this node as they were sent; pixel data is not read.

    Raises:
        ValueError: nothing is rejected.
    """
    first = rejected[0] if rejected else None
    if first is None:
        raise ValueError("a rejection note refers to at least one object")
    objects = sorted(rejected, key=lambda dataset: str(dataset.SOPInstanceUID))
    uids = [str(dataset.SOPInstanceUID) for dataset in objects]
    # The constructors refuse sexes, dates and times that are in real headers; the true ones are copied back below.
    cleaned = [without_identity(dataset) for dataset in objects]
    local = rejection.at.astimezone(time_zone(first) or UTC).replace(microsecond=0, tzinfo=None)
    observer = None
    if rejection.observer:
        name = plain_text(rejection.observer.replace("=", " "), 63).strip()
        # The caret tells the library that a name written as one text is meant to be one component.
        person = hd.sr.PersonObserverIdentifyingAttributes(name=name if "^" in name else f"{name}^")
        observer = hd.sr.ObserverContext(observer_type=PERSON, observer_identifying_attributes=person)
    sentence = f"Results of {EQUIPMENT_NAME} (research use only), rejected by a person who reviewed them."
    dataset = hd.ko.KeyObjectSelectionDocument(
        evidence=cleaned,
        content=hd.ko.KeyObjectSelection(
            document_title=REJECTED_FOR_QUALITY,
            referenced_objects=cleaned,
            observer_person_context=observer,
            description=plain_text(f"{sentence} {rejection.reason}".strip()),
        ),
        series_instance_uid=derive_uid(KIND, "series", *uids, rejection.key),
        series_number=int(first.SeriesNumber) // 10 * 10 + _NUMBER_IN_BLOCK,
        sop_instance_uid=derive_uid(KIND, "instance", *uids, rejection.key),
        instance_number=1,
        manufacturer=EQUIPMENT_NAME,
        manufacturer_model_name=EQUIPMENT_NAME,
        device_serial_number=str(first.DeviceSerialNumber),
        software_versions=str(first.SoftwareVersions),
        series_description=f"{SERIES_DESCRIPTION_PREFIX}Rejected (research)",
        content_date=local.date(),
        content_time=local.time(),
        series_date=local.date(),
        series_time=local.time(),
        specific_character_set=None,
    )
    for keyword in (*IDENTITY_KEYWORDS, "TimezoneOffsetFromUTC"):
        dataset.pop(keyword, None)
        if keyword in first:
            dataset[keyword] = first[keyword]
    dataset.InstanceCreationDate, dataset.InstanceCreationTime = DA(local.date()), TM(local.time())
    for item in dataset.get("ContributingEquipmentSequence", []):
        item.pop("ContributionDateTime", None)  # the library states itself with the moment of the call
    return EncodedObject(kind=KIND, dataset=dataset)
