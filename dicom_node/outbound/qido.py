"""QIDO-RS and WADO-RS: asking and retrieving where the PACS is a DICOMweb service."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import pydicom
import requests

from dicom_node.outbound.asking import (
    MOST_MATCHES,
    FoundStudy,
    NoAnswer,
    PatientIdentity,
    ReceivedObject,
    Retrieved,
    Take,
)
from dicom_node.outbound.dicomweb import client_for, close, why_failed
from dicom_node.outbound.scu import EchoResult
from dicom_node.outbound.sending import Destination
from storage.pacs_answers import PacsSeries, PacsStudy

_TAGS = {
    "PatientID": "00100020",
    "IssuerOfPatientID": "00100021",
    "StudyInstanceUID": "0020000D",
    "StudyDate": "00080020",
    "StudyDescription": "00081030",
    "ModalitiesInStudy": "00080061",
    "NumberOfStudyRelatedInstances": "00201208",
    "SeriesInstanceUID": "0020000E",
    "Modality": "00080060",
    "SeriesDescription": "0008103E",
    "NumberOfSeriesRelatedInstances": "00201209",
    "SOPInstanceUID": "00080018",
}
_STUDY_FIELDS = ["PatientID", "IssuerOfPatientID", "StudyDescription", "ModalitiesInStudy"]
_FAILURES = (requests.exceptions.RequestException, ValueError, KeyError, TypeError, AttributeError)
_META_BEGIN = 144
Match = Mapping[str, Any]


class DicomwebPacs:
    """A DICOMweb PACS. See `asking.PacsQuery`. retrieve_timeout_s: for one retrieval as a whole."""

    def __init__(self, destination: Destination, *, retrieve_timeout_s: float) -> None:
        self.name = destination.name
        self._destination = destination
        self._retrieve_timeout_s = retrieve_timeout_s

    @contextmanager
    def _client(self) -> Iterator[Any]:
        client = client_for(self._destination)
        try:
            yield client
        except _FAILURES as error:
            raise NoAnswer(f"{self.name}: {why_failed(error)}") from error
        finally:
            close(client)

    def study(self, study_instance_uid: str) -> FoundStudy | None:
        """The study as the PACS files it. Raises NoAnswer."""
        with self._client() as client:
            found = client.search_for_studies(
                search_filters={"StudyInstanceUID": study_instance_uid}, fields=_STUDY_FIELDS
            )
            mine = [one for one in found if _text(one, "StudyInstanceUID") == study_instance_uid]
            return _found_study(mine[0]) if mine else None

    def series(self, study_instance_uid: str) -> list[PacsSeries]:
        """Its series with their numbers of instances. Raises NoAnswer."""
        with self._client() as client:
            found = client.search_for_series(
                study_instance_uid, fields=["SeriesDescription", "NumberOfSeriesRelatedInstances"]
            )
            return [
                PacsSeries(
                    series_instance_uid=_text(one, "SeriesInstanceUID"),
                    modality=_text(one, "Modality"),
                    description=_text(one, "SeriesDescription"),
                    instances=_number(one, "NumberOfSeriesRelatedInstances"),
                )
                for one in found[:MOST_MATCHES]
                if _text(one, "SeriesInstanceUID")
            ]

    def studies_of(self, patient: PatientIdentity) -> list[FoundStudy]:
        """What the PACS returns for the Patient ID. Raises NoAnswer."""
        patient_id = patient.patient_id.strip()
        if not patient_id or set("*?\\") & set(patient_id):
            raise NoAnswer(f"{self.name}: a Patient ID that is empty or holds wildcards cannot be asked for")
        with self._client() as client:
            found = client.search_for_studies(search_filters={"PatientID": patient_id}, fields=_STUDY_FIELDS)
            return [_found_study(one) for one in found[:MOST_MATCHES] if _text(one, "StudyInstanceUID")]

    def instances(self, study_instance_uid: str, series_instance_uid: str) -> list[str]:
        """SOP Instance UIDs of a series. Raises NoAnswer."""
        with self._client() as client:
            found = client.search_for_instances(study_instance_uid, series_instance_uid)
            return [uid for one in found[:MOST_MATCHES] if (uid := _text(one, "SOPInstanceUID"))]

    def retrieve(
        self, study_instance_uid: str, series_instance_uid: str, sop_instance_uids: Sequence[str], take: Take
    ) -> Retrieved:
        """Bring instances here one by one. What fails is in the answer's text."""
        deadline = time.monotonic() + self._retrieve_timeout_s
        arrived, text = 0, ""
        try:
            with self._client() as client:
                for uid in sop_instance_uids:
                    if time.monotonic() > deadline:
                        text = "not done in time"
                        break
                    # Any syntax: else the service would send every object in explicit VR, decompressed.
                    dataset = client.retrieve_instance(
                        study_instance_uid, series_instance_uid, uid, media_types=(("application/dicom", "*"),)
                    )
                    arrived += take(_received(dataset))
        except NoAnswer as error:
            text = str(error)
        return Retrieved(arrived=arrived, failed=len(sop_instance_uids) - arrived, text=text)


def reached(destination: Destination) -> EchoResult:
    """Whether a DICOMweb service lets us in and answers a search."""
    started = time.monotonic()
    client = client_for(destination)
    try:
        client.search_for_studies(limit=1)
        text = "answered"
    except _FAILURES as error:
        text = why_failed(error)
    finally:
        close(client)
    return EchoResult(ok=text == "answered", text=text, seconds=time.monotonic() - started)


def _received(dataset: pydicom.Dataset) -> ReceivedObject:
    """The data set's bytes: the client has parsed them, and unchanged elements are written as they were read."""
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    data = buffer.getvalue()
    # The file meta information begins with its own length, in bytes after this element (PS3.10 table 7.1-1).
    begin = _META_BEGIN + int.from_bytes(data[_META_BEGIN - 4 : _META_BEGIN], "little")
    return ReceivedObject(
        sop_class_uid=str(dataset.SOPClassUID),
        sop_instance_uid=str(dataset.SOPInstanceUID),
        transfer_syntax_uid=str(dataset.file_meta.TransferSyntaxUID),
        data_set=data[begin:],
    )


def _found_study(found: Match) -> FoundStudy:
    return FoundStudy(
        patient=PatientIdentity(
            patient_id=_text(found, "PatientID"), issuer_of_patient_id=_text(found, "IssuerOfPatientID")
        ),
        study=PacsStudy(
            study_instance_uid=_text(found, "StudyInstanceUID"),
            study_date=_text(found, "StudyDate"),
            description=_text(found, "StudyDescription"),
            modalities=tuple(str(one) for one in _values(found, "ModalitiesInStudy")),
            instances=_number(found, "NumberOfStudyRelatedInstances"),
        ),
    )


def _values(found: Match, keyword: str) -> list[Any]:
    return list(found.get(_TAGS[keyword], {}).get("Value") or [])


def _text(found: Match, keyword: str) -> str:
    values = _values(found, keyword)
    return str(values[0]).strip(" \x00") if values else ""


def _number(found: Match, keyword: str) -> int | None:
    try:
        return int(_text(found, keyword))
    except ValueError:
        return None
