"""What can be asked of a PACS, whatever its protocol, and what it may answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from dicom_node.errors import Transient
from storage.pacs_answers import PacsSeries, PacsStudy

#: A peer that lists without end is not believed beyond this.
MOST_MATCHES = 20_000


class NoAnswer(Transient):
    """The PACS is not there, does not offer the query, or did not answer in time."""

    code = "pacs-no-answer"


@dataclass(frozen=True, kw_only=True)
class PatientIdentity:
    """Whom a study belongs to. issuer_of_patient_id: "" where none is given."""

    patient_id: str
    issuer_of_patient_id: str = ""

    def same(self, other: PatientIdentity) -> bool:
        """True for the same patient: padding does not count, and an issuer only where both give one."""
        issuers = self.issuer_of_patient_id.strip(), other.issuer_of_patient_id.strip()
        return self.patient_id.strip() == other.patient_id.strip() and ("" in issuers or issuers[0] == issuers[1])


@dataclass(frozen=True, kw_only=True)
class FoundStudy:
    """A study as the PACS files it, with the patient it files it under."""

    patient: PatientIdentity
    study: PacsStudy


@dataclass(frozen=True, kw_only=True)
class ReceivedObject:
    """One object that a retrieval brought: its data set's bytes without file meta information."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    data_set: bytes


#: Keeps an object for good and says whether it did. Called on the retrieving thread, before the peer is answered.
Take = Callable[[ReceivedObject], bool]


@dataclass(frozen=True, kw_only=True)
class Retrieved:
    """What a retrieval came to: objects that arrived, objects that did not, and one line on why."""

    arrived: int
    failed: int
    text: str = ""


class PacsQuery(Protocol):
    """One PACS to ask. Every call ends within its time-outs; what is not answered raises NoAnswer."""

    name: str

    def study(self, study_instance_uid: str) -> FoundStudy | None:
        """The study, None where the PACS does not have it."""
        ...

    def series(self, study_instance_uid: str) -> list[PacsSeries]:
        """Its series, with how many instances each has."""
        ...

    def studies_of(self, patient: PatientIdentity) -> list[FoundStudy]:
        """What the PACS returns for this Patient ID: to be compared with `PatientIdentity.same`, never believed."""
        ...

    def instances(self, study_instance_uid: str, series_instance_uid: str) -> list[str]:
        """SOP Instance UIDs of a series."""
        ...

    def retrieve(
        self, study_instance_uid: str, series_instance_uid: str, sop_instance_uids: Sequence[str], take: Take
    ) -> Retrieved:
        """Bring these instances here, through `take` or through our own listener."""
        ...
