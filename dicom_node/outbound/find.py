"""C-FIND (Study Root): what a PACS holds of a study and of a patient."""

from __future__ import annotations

import time
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind

from dicom_node.outbound.asking import MOST_MATCHES, FoundStudy, NoAnswer, PatientIdentity
from dicom_node.outbound.association import (
    HostUnknown,
    all_contexts_refused,
    association,
    why_class_refused,
    why_not_established,
)
from dicom_node.outbound.sending import Destination
from storage.pacs_answers import PacsSeries, PacsStudy

_FIND = StudyRootQueryRetrieveInformationModelFind
_PENDING = frozenset({0xFF00, 0xFF01})
_SUCCESS = 0x0000
#: A Patient ID with these would match others' (PS3.4 C.2.2.2.4); it cannot be asked for.
_WILDCARDS = frozenset("*?\\")


def find(destination: Destination, our_ae_title: str, level: str, keys: dict[str, str]) -> list[Dataset]:
    """The matches of one query. keys: keywords to values; "" asks for the attribute.

    Raises:
        NoAnswer: no association, the service refused, a failure, or not all answers within twice the time-out.
    """
    query = Dataset()
    query.QueryRetrieveLevel = level
    if not all(value.isascii() for value in keys.values()):
        query.SpecificCharacterSet = "ISO_IR 192"
    for keyword, value in keys.items():
        setattr(query, keyword, value)
    try:
        with association(destination, our_ae_title, [(_FIND, None)]) as peer:
            if all_contexts_refused(peer):
                raise NoAnswer(f"{destination.name}: {why_class_refused(peer, _FIND)}")
            if not peer.is_established:
                raise NoAnswer(f"{destination.name}: no association: {why_not_established(peer)}")
            return _matches(peer, query, destination)
    except HostUnknown as error:
        raise NoAnswer(str(error)) from error
    except (RuntimeError, ValueError) as error:
        raise NoAnswer(f"{destination.name}: the query could not be sent ({type(error).__name__})") from error


def _matches(peer: Any, query: Dataset, destination: Destination) -> list[Dataset]:
    found: list[Dataset] = []
    deadline = time.monotonic() + 2 * destination.timeout_s
    for answer, identifier in peer.send_c_find(query, _FIND):
        status = getattr(answer, "Status", None)
        if status == _SUCCESS:
            return found
        if status not in _PENDING:
            shown = "no answer in time" if status is None else f"C-FIND status 0x{status:04X}"
            raise NoAnswer(f"{destination.name}: {shown}")
        if identifier is not None:
            found.append(identifier)
        if len(found) > MOST_MATCHES or time.monotonic() > deadline:
            peer.abort()
            raise NoAnswer(f"{destination.name}: it answers without end")
    raise NoAnswer(f"{destination.name}: the association ended before the last answer")


class DicomFind:
    """The asking half of a DICOM PACS. See `asking.PacsQuery`."""

    def __init__(self, destination: Destination, our_ae_title: str) -> None:
        self.name = destination.name
        self._destination = destination
        self._our_ae_title = our_ae_title

    def _find(self, level: str, **keys: str) -> list[Dataset]:
        return find(self._destination, self._our_ae_title, level, keys)

    def study(self, study_instance_uid: str) -> FoundStudy | None:
        """The study as the PACS files it. Raises NoAnswer."""
        found = self._find("STUDY", StudyInstanceUID=study_instance_uid, **_STUDY_KEYS)
        mine = [one for one in found if _text(one, "StudyInstanceUID") == study_instance_uid]
        return _found_study(mine[0]) if mine else None

    def series(self, study_instance_uid: str) -> list[PacsSeries]:
        """Its series; where the PACS does not count instances they are listed and counted. Raises NoAnswer."""
        keys = dict.fromkeys(
            ("SeriesInstanceUID", "Modality", "SeriesDescription", "NumberOfSeriesRelatedInstances"), ""
        )
        found = self._find("SERIES", StudyInstanceUID=study_instance_uid, **keys)
        return [self._series(study_instance_uid, one) for one in found if _text(one, "SeriesInstanceUID")]

    def _series(self, study_instance_uid: str, found: Dataset) -> PacsSeries:
        uid = _text(found, "SeriesInstanceUID")
        count = _number(found, "NumberOfSeriesRelatedInstances")
        return PacsSeries(
            series_instance_uid=uid,
            modality=_text(found, "Modality"),
            description=_text(found, "SeriesDescription"),
            instances=len(self.instances(study_instance_uid, uid)) if count is None else count,
        )

    def studies_of(self, patient: PatientIdentity) -> list[FoundStudy]:
        """What the PACS returns for the Patient ID. Raises NoAnswer, also for an ID that would match others."""
        patient_id = patient.patient_id.strip()
        if not patient_id or _WILDCARDS & set(patient_id):
            raise NoAnswer(f"{self.name}: a Patient ID that is empty or holds wildcards cannot be asked for")
        keys = {**_STUDY_KEYS, "PatientID": patient_id, "StudyInstanceUID": ""}
        if patient.issuer_of_patient_id.strip():
            keys["IssuerOfPatientID"] = patient.issuer_of_patient_id.strip()
        return [_found_study(one) for one in self._find("STUDY", **keys) if _text(one, "StudyInstanceUID")]

    def instances(self, study_instance_uid: str, series_instance_uid: str) -> list[str]:
        """SOP Instance UIDs of a series. Raises NoAnswer."""
        found = self._find(
            "IMAGE", StudyInstanceUID=study_instance_uid, SeriesInstanceUID=series_instance_uid, SOPInstanceUID=""
        )
        return [uid for one in found if (uid := _text(one, "SOPInstanceUID"))]


_STUDY_KEYS = dict.fromkeys(
    (
        "PatientID", "IssuerOfPatientID", "StudyDate", "StudyDescription", "ModalitiesInStudy",
        "NumberOfStudyRelatedInstances",
    ),
    "",
)  # fmt: skip


def _found_study(found: Dataset) -> FoundStudy:
    modalities = found.get("ModalitiesInStudy") or ()
    return FoundStudy(
        patient=PatientIdentity(
            patient_id=_text(found, "PatientID"), issuer_of_patient_id=_text(found, "IssuerOfPatientID")
        ),
        study=PacsStudy(
            study_instance_uid=_text(found, "StudyInstanceUID"),
            study_date=_text(found, "StudyDate"),
            description=_text(found, "StudyDescription"),
            modalities=(modalities,) if isinstance(modalities, str) else tuple(str(one) for one in modalities),
            instances=_number(found, "NumberOfStudyRelatedInstances"),
        ),
    )


def _text(found: Dataset, keyword: str) -> str:
    value = found.get(keyword)
    return "" if value is None else str(value).strip(" \x00")


def _number(found: Dataset, keyword: str) -> int | None:
    try:
        return int(_text(found, keyword))
    except ValueError:
        return None
