"""STOW-RS: results stored in a DICOMweb service."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from xml.etree.ElementTree import ParseError

import requests
from pydicom import dcmread
from pydicom.dataset import Dataset

from dicom_node.outbound.dicomweb import client_for, close, why_failed
from dicom_node.outbound.dimse_status import CLASS_NOT_SUPPORTED, verdict_of_status
from dicom_node.outbound.sending import Destination, OutgoingObject, SendOutcome, Verdict

#: A request is built in memory; objects are shared out over requests of about this size.
_REQUEST_BYTES = 32 << 20

#: We may not come in, or the service is not where we were told: the same answer for whatever we send.
_TURNED_AWAY = frozenset({301, 302, 303, 307, 308, 401, 403, 404, 405})
#: The request itself is wrong in the peer's eyes, and will be next time.
_REFUSED = frozenset({400, 406, 409, 411, 413, 414, 415, 422, 501, 505})


#: Besides what went wrong on the way, all that the client raises for an answer that is not what it should be.
_UNREADABLE = (requests.exceptions.RequestException, ParseError, ValueError, KeyError, TypeError, AttributeError)


class DicomwebSender:
    """Sends with STOW-RS, several objects a request; the peer's answer names each one."""

    def __init__(self, destination: Destination, our_ae_title: str) -> None:
        self._destination = destination

    def send(self, objects: Sequence[OutgoingObject]) -> tuple[SendOutcome, ...]:
        """Store all. See `sending.ResultSender`."""
        if not objects:
            return ()
        client = client_for(self._destination)
        try:
            return tuple(outcome for batch in _batches(objects) for outcome in self._store(client, batch))
        finally:
            close(client)

    def _store(self, client: Any, batch: Sequence[OutgoingObject]) -> list[SendOutcome]:
        try:
            answer = client.store_instances([dcmread(item.path) for item in batch])
        except requests.exceptions.HTTPError as error:
            return _after_http_error(error, batch)
        except _UNREADABLE as error:
            away = isinstance(error, requests.exceptions.TooManyRedirects)
            return [_outcome(item, Verdict.RETRY, why_failed(error), turned_away=away) for item in batch]
        return _by_answer(answer, batch)


def _batches(objects: Sequence[OutgoingObject]) -> Iterator[list[OutgoingObject]]:
    batch: list[OutgoingObject] = []
    size = 0
    for item in objects:
        grows = item.path.stat().st_size
        if batch and size + grows > _REQUEST_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += grows
    yield batch


def _after_http_error(error: requests.exceptions.HTTPError, batch: Sequence[OutgoingObject]) -> list[SendOutcome]:
    """409 names what it refused (PS3.18 10.5.3); any other status speaks of the whole request."""
    assert error.response is not None
    status = error.response.status_code
    try:
        answer = Dataset.from_json(json.loads(error.response.content))
        if status == 409 and "FailedSOPSequence" in answer:
            return _by_answer(answer, batch)
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    text = why_failed(error)
    if status in _TURNED_AWAY:
        return [_outcome(item, Verdict.RETRY, f"turned away: {text}", turned_away=True) for item in batch]
    verdict = Verdict.REFUSED if status in _REFUSED else Verdict.RETRY
    return [_outcome(item, verdict, text) for item in batch]


def _by_answer(answer: Dataset, batch: Sequence[OutgoingObject]) -> list[SendOutcome]:
    """An object the answer does not name was not provably stored, whatever the HTTP status said."""
    stored = _reasons(answer, "ReferencedSOPSequence", "WarningReason")
    failed = _reasons(answer, "FailedSOPSequence", "FailureReason")
    outcomes = []
    for item in batch:
        uid = item.sop_instance_uid
        if uid in failed:
            verdict, text = verdict_of_status(failed[uid] or 0x0110)
            outcomes.append(_outcome(item, verdict, text, status=failed[uid]))
        elif uid in stored:
            text = "stored" if not stored[uid] else f"stored with a warning, 0x{stored[uid]:04X}"
            outcomes.append(_outcome(item, Verdict.SENT, text, status=stored[uid] or None))
        else:
            outcomes.append(_outcome(item, Verdict.RETRY, "the peer's answer does not say that it stored this object"))
    return outcomes


def _reasons(answer: Dataset, sequence: str, reason: str) -> Mapping[str, int]:
    found: dict[str, int] = {}
    for item in answer.get(sequence) or []:
        try:
            found[str(item.get("ReferencedSOPInstanceUID") or "")] = int(item.get(reason) or 0)
        except (TypeError, ValueError):
            found[str(item.get("ReferencedSOPInstanceUID") or "")] = 0x0110
    return found


def _outcome(
    item: OutgoingObject, verdict: Verdict, text: str, *, status: int | None = None, turned_away: bool = False
) -> SendOutcome:
    return SendOutcome(
        sop_instance_uid=item.sop_instance_uid,
        verdict=verdict,
        text=text,
        status=status,
        turned_away=turned_away,
        class_refused=status == CLASS_NOT_SUPPORTED,
    )
