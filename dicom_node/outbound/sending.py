"""What a sender is given and what it answers, whatever its protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal, Protocol

from pydicom.filereader import read_file_meta_info


@dataclass(frozen=True, kw_only=True)
class Destination:
    """One receiver of results.

    name: what deliveries are kept under. kind: a key of `destinations.SENDERS`. kinds: the results it gets ('SEG',
    'SR'). fallback: those it gets in place of what it refuses by its SOP class. timeout_s: for the connection, and
    again for each answer. commitment: whether it is asked, after each object sent, to commit itself to keeping it.

    ae_title, host and port lead to a DICOM peer, over TLS where `tls`; url to a DICOMweb service, with how to sign in
    there (secret: the password or token). ca_file: whose certificates are trusted, None for what the system trusts.
    certificate, key: with which this node shows who it is.
    """

    name: str
    ae_title: str = ""
    host: str = ""
    port: int = 0
    kind: str = "dicom"
    kinds: tuple[str, ...] = ("SEG", "SR")
    fallback: tuple[str, ...] = ()
    timeout_s: float = 60.0
    commitment: Literal["none", "request"] = "none"
    url: str = ""
    auth: Literal["none", "basic", "bearer"] = "none"
    username: str = ""
    secret: str = field(default="", repr=False)
    tls: bool = False
    ca_file: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def wants(self, kind: str) -> bool:
        """True where results of this kind are owed to it."""
        return kind in self.kinds


@dataclass(frozen=True, kw_only=True)
class OutgoingObject:
    """A finished result file: sent as it is, the same bytes on every attempt."""

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str


def outgoing_file(path: Path) -> OutgoingObject:
    """A DICOM file as it would be sent, named by its file meta information. Raises OSError, InvalidDicomError."""
    meta = read_file_meta_info(path)
    return OutgoingObject(
        path=path,
        sop_class_uid=str(meta.MediaStorageSOPClassUID),
        sop_instance_uid=str(meta.MediaStorageSOPInstanceUID),
        transfer_syntax_uid=str(meta.TransferSyntaxUID),
    )


class Verdict(StrEnum):
    """What came of sending one object."""

    SENT = "sent"
    RETRY = "retry"
    REFUSED = "refused"


@dataclass(frozen=True, kw_only=True)
class SendOutcome:
    """The verdict on one object. status: the DIMSE status where one came. text: one line, without patient data.

    class_refused: the peer takes no object of this SOP class, and says so. turned_away: the peer refused us before it
    saw the object, and says that it always will (unknown AE title, wrong password). The object stays owed; the
    destination is then left alone for a while.
    """

    sop_instance_uid: str
    verdict: Verdict
    text: str
    status: int | None = None
    turned_away: bool = False
    class_refused: bool = False


class ResultSender(Protocol):
    """Sends to one destination."""

    def send(self, objects: Sequence[OutgoingObject]) -> tuple[SendOutcome, ...]:
        """Send all, over one connection where the protocol allows; one outcome for each object, in order.

        A peer that is down, slow or confused is an outcome, not an exception.
        """
        ...
