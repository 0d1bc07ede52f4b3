"""Who made a result, when, and for whom: everything that is the same in every object of one run.

The constructors of highdicom take the clock and invent UIDs. Here all of that is overwritten from the run's own frozen
values, so that encoding a run twice gives the same bytes under the same UIDs.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import highdicom
from highdicom.coding_schemes import CodingSchemeIdentificationItem
from pydicom import Dataset
from pydicom.valuerep import DA, TM

from dicom_node.results.codes import PRIVATE_SCHEME, PRIVATE_SCHEME_NAME, PROCESSING_EQUIPMENT, REPLACED_RESULT
from dicom_node.results.evidence import ReferenceSeries
from dicom_node.results.time_zones import time_zone
from dicom_node.uids import derive_uid
from pipeline.report import ModelIdentity, Report

#: Manufacturer's Model Name: how `inbound` knows our own objects when a PACS sends them back.
EQUIPMENT_NAME = "brain-tumor-node"
SERIES_DESCRIPTION_PREFIX = "BTN "
#: Our Series Numbers: 9001 and up, ten for each run.
FIRST_SERIES_NUMBER = 9000

#: Copied verbatim from the source and compared by lint: a PACS refuses results whose patient or study differs.
IDENTITY_KEYWORDS: tuple[str, ...] = (
    "SpecificCharacterSet",
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "IssuerOfPatientIDQualifiersSequence",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "StudyDescription",
    "AccessionNumber",
    "IssuerOfAccessionNumberSequence",
    "ReferringPhysicianName",
)

#: Type 2 in every image and document: present, even if empty.
_ALWAYS_PRESENT = frozenset(
    {
        "PatientName",
        "PatientID",
        "PatientBirthDate",
        "PatientSex",
        "StudyDate",
        "StudyTime",
        "StudyID",
        "AccessionNumber",
        "ReferringPhysicianName",
    }
)


@dataclass(frozen=True, kw_only=True)
class PredecessorDocument:
    """An object of an earlier run that this run's object of the same kind replaces."""

    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, kw_only=True)
class EncodingOptions:
    """What may be chosen about the results' form. Other choices give other UIDs: no UID is used for two contents.

    omit_empty_frames: leave out of SEG the frames without a voxel. ohif_compat: name the viewer SR's measurements as
    OHIF's own tools, so that it can edit them. language: of the PDF, 'en', 'de' or that of a file in `templates`.
    templates: a folder whose report templates and languages go before ours.
    """

    omit_empty_frames: bool = False
    ohif_compat: bool = True
    language: str = "en"
    templates: Path | None = None

    @property
    def identity(self) -> tuple[str, ...]:
        """What of the choices changes the content of objects, as parts of a derived UID; empty for the defaults."""
        default = EncodingOptions()
        names = ("omit_empty_frames", "ohif_compat", "language")
        return tuple(f"{n}={getattr(self, n)}" for n in names if getattr(self, n) != getattr(default, n))


@dataclass(frozen=True, kw_only=True)
class RunStamp:
    """What one run is known by. All of it must be frozen when the run starts and be the same on every retry.

    started_at: the date and time written into the objects, in its own time zone. inputs_digest: of the frozen list of
    inputs. run_number: from 1. software_version: of the node. predecessors: of each kind, what this run's replaces.
    """

    started_at: datetime
    inputs_digest: str
    run_number: int
    software_version: str
    predecessors: Mapping[str, PredecessorDocument] = field(default_factory=dict)
    options: EncodingOptions = field(default_factory=EncodingOptions)


def result_uid(kind: str, what: str, report: Report, reference: ReferenceSeries, stamp: RunStamp) -> str:
    """The UID of `what` ('series', 'instance', ...) of a result, the same whenever this run is encoded."""
    hashes = [model.weights_sha256 for model in report.models]
    run = [stamp.inputs_digest, str(stamp.run_number), stamp.software_version, *stamp.options.identity]
    return derive_uid(kind, what, reference.study_instance_uid, *run, *hashes)


def tracking_uid(reference: ReferenceSeries, *parts: str) -> str:
    """A tracking UID that follows the patient from study to study (the study alone where there is no Patient ID)."""
    patient_id = str(reference.first.get("PatientID") or "")
    owner = [patient_id, str(reference.first.get("IssuerOfPatientID") or "")]
    return derive_uid("tracking", *(owner if patient_id else [reference.study_instance_uid]), *parts)


def device_uid(report: Report) -> str:
    """Device UID: another one whenever any weights change."""
    return derive_uid("device", EQUIPMENT_NAME, *(model.weights_sha256 for model in report.models))


def device_serial_number(report: Report) -> str:
    """Device Serial Number, 16 hex digits, derived from the weights in use."""
    hashes = "".join(model.weights_sha256 for model in report.models)
    return hashlib.sha256(f"{EQUIPMENT_NAME}{hashes}".encode()).hexdigest()[:16]


def series_number(stamp: RunStamp, offset: int) -> int:
    """Series Number in our block. offset: 1..9, one for each kind of result."""
    return FIRST_SERIES_NUMBER + 10 * (stamp.run_number - 1) + offset


def model_equipment(model: ModelIdentity) -> highdicom.ContributingEquipment:
    """A model as contributing equipment; its Device UID and serial number change with its weights."""
    item = highdicom.ContributingEquipment(
        manufacturer=EQUIPMENT_NAME,
        purpose_of_reference=PROCESSING_EQUIPMENT,
        manufacturer_model_name=plain_text(model.name, 64),
        software_versions=plain_text(model.version, 64),
        device_serial_number=model.weights_sha256[:64],
        contribution_description=plain_text(f"Model for {model.task}", 64),
    )
    item.DeviceUID = derive_uid("model", model.name, model.weights_sha256)
    return item


def equipment_arguments(report: Report, reference: ReferenceSeries, stamp: RunStamp) -> dict[str, Any]:
    """The keyword arguments that every highdicom constructor takes alike."""
    moment = moment_of(stamp, reference.first)
    return {
        "manufacturer": EQUIPMENT_NAME,
        "manufacturer_model_name": EQUIPMENT_NAME,
        "device_serial_number": device_serial_number(report),
        "software_versions": plain_text(stamp.software_version, 64),
        "content_date": moment.date(),
        "content_time": moment.time(),
        "series_date": moment.date(),
        "series_time": moment.time(),
        "contributing_equipment": [model_equipment(part) for model in report.models for part in model.parts],
        "coding_schemes": [
            CodingSchemeIdentificationItem(
                designator=PRIVATE_SCHEME, name=PRIVATE_SCHEME_NAME, responsible_organization=EQUIPMENT_NAME
            )
        ],
        "specific_character_set": None,
    }


def finish(dataset: Dataset, reference: ReferenceSeries, stamp: RunStamp) -> None:
    """Put the source's identity and the run's time into a constructed object, in place."""
    source = reference.first
    for keyword in IDENTITY_KEYWORDS:
        if keyword in source:
            dataset[keyword] = source[keyword]
        elif keyword in _ALWAYS_PRESENT:
            setattr(dataset, keyword, None)
        elif keyword in dataset:
            delattr(dataset, keyword)
    moment = moment_of(stamp, source)
    dataset.InstanceCreationDate, dataset.InstanceCreationTime = DA(moment.date()), TM(moment.time())
    if "DateOfSecondaryCapture" in dataset:
        dataset.DateOfSecondaryCapture, dataset.TimeOfSecondaryCapture = DA(moment.date()), TM(moment.time())
    if time_zone(source) is not None:  # else our times are not in it
        dataset.TimezoneOffsetFromUTC = source.TimezoneOffsetFromUTC
    for item in dataset.get("ContributingEquipmentSequence", []):
        # The library states itself with the moment of the call.
        if item.get("ContributionDateTime") and "highdicom" in str(item.get("ManufacturerModelName", "")).lower():
            del item.ContributionDateTime


def document_predecessor(replaced: PredecessorDocument) -> Dataset:
    """The item of Predecessor Documents Sequence (PS3.3 table 10-11's hierarchy) that names a document."""
    sop, series, study = Dataset(), Dataset(), Dataset()
    sop.ReferencedSOPClassUID, sop.ReferencedSOPInstanceUID = replaced.sop_class_uid, replaced.sop_instance_uid
    series.SeriesInstanceUID, series.ReferencedSOPSequence = replaced.series_instance_uid, [sop]
    study.StudyInstanceUID, study.ReferencedSeriesSequence = replaced.study_instance_uid, [series]
    return study


def cite_replaced(dataset: Dataset, kind: str, stamp: RunStamp) -> None:
    """Name in an image the earlier run's image that it replaces, in place. Documents have a sequence of their own."""
    replaced = stamp.predecessors.get(kind)
    if replaced is None:
        return
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = replaced.sop_class_uid, replaced.sop_instance_uid
    # No context group has a word for it: DICOM knows predecessors of documents only.
    item.PurposeOfReferenceCodeSequence = [highdicom.sr.CodedConcept.from_code(REPLACED_RESULT)]
    dataset.ReferencedInstanceSequence = [item]


def moment_of(stamp: RunStamp, source: Dataset) -> datetime:
    """The run's start to the second, in the source's time zone where it states one, else in the stamp's own."""
    moment = stamp.started_at.replace(microsecond=0)
    zone = time_zone(source)
    if moment.tzinfo is not None and zone is not None:
        moment = moment.astimezone(zone)
    return moment.replace(tzinfo=None)


def plain_text(text: str, limit: int = 1024) -> str:
    """`text` in ASCII, so that it is valid in whatever character set the source has; at most `limit` characters."""
    decomposed = unicodedata.normalize("NFKD", text.replace("\\", "/"))
    return "".join(c for c in decomposed if not unicodedata.combining(c)).encode("ascii", "replace").decode()[:limit]
