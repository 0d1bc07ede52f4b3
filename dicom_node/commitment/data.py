"""Storage commitment's data sets (PS3.4 annex J) as plain values, both ways: requests and reports."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.uid import UID

from dicom_node.errors import Permanent

#: The one instance of the class that requests and reports are about (PS3.4 J.3.5).
PUSH_MODEL = "1.2.840.10008.1.20.1"
PUSH_MODEL_INSTANCE = "1.2.840.10008.1.20.1.1"

REQUEST_ACTION = 1
ALL_COMMITTED_EVENT = 1
SOME_FAILED_EVENT = 2

# PS3.3 C.14.1.1.
PROCESSING_FAILURE = 0x0110
NO_SUCH_INSTANCE = 0x0112
CLASS_INSTANCE_CONFLICT = 0x0119

_REASONS = {
    0x0110: "processing failure",
    0x0112: "no such object instance",
    0x0119: "class and instance do not belong together",
    0x0122: "SOP class not supported",
    0x0131: "duplicate transaction UID",
    0x0213: "resource limitation",
}

#: More than a study holds; a request that names more is not one.
_MOST_REFERENCES = 100_000

Reference = tuple[str, str]


class CommitmentDataInvalid(Permanent):
    """A request or report that lacks its transaction or its instances, or names what is no UID."""

    code = "commitment-data-invalid"


@dataclass(frozen=True, kw_only=True)
class CommitmentReport:
    """What is kept for good and what is not. committed: (SOP class, instance). failed: the same to a failure reason."""

    transaction_uid: str
    committed: tuple[Reference, ...] = ()
    failed: tuple[tuple[Reference, int], ...] = ()

    @property
    def event_type(self) -> int:
        """1 where all is committed, else 2."""
        return SOME_FAILED_EVENT if self.failed else ALL_COMMITTED_EVENT


def reason_text(code: int) -> str:
    """A failure reason in words with its number."""
    return f"{_REASONS.get(code, 'not committed')}, 0x{code:04X}"


def request_dataset(transaction_uid: str, references: Iterable[Reference]) -> Dataset:
    """The Action Information of a request."""
    dataset = Dataset()
    dataset.TransactionUID = transaction_uid
    dataset.ReferencedSOPSequence = [_item(reference) for reference in references]
    return dataset


def read_request(dataset: Dataset) -> tuple[str, tuple[Reference, ...]]:
    """The transaction and the instances a request names, in order, each once.

    Raises:
        CommitmentDataInvalid: no transaction, no instances, too many, or what is no UID.
    """
    references = tuple(dict.fromkeys(_references(dataset, "ReferencedSOPSequence")))
    if not references:
        raise CommitmentDataInvalid("the request names no instance")
    return _uid(dataset.get("TransactionUID")), references


def report_dataset(report: CommitmentReport) -> Dataset:
    """The Event Information of a report."""
    dataset = Dataset()
    dataset.TransactionUID = report.transaction_uid
    if report.committed:
        dataset.ReferencedSOPSequence = [_item(reference) for reference in report.committed]
    if report.failed:
        dataset.FailedSOPSequence = [_item(reference) for reference, _ in report.failed]
        for item, (_, reason) in zip(dataset.FailedSOPSequence, report.failed, strict=True):
            item.FailureReason = reason
    return dataset


def read_report(dataset: Dataset) -> CommitmentReport:
    """What a peer reports.

    Raises:
        CommitmentDataInvalid: no transaction, too many instances, or what is no UID.
    """
    failed = _references(dataset, "FailedSOPSequence")
    reasons = [_reason(item) for item in dataset.get("FailedSOPSequence") or []]
    return CommitmentReport(
        transaction_uid=_uid(dataset.get("TransactionUID")),
        committed=tuple(_references(dataset, "ReferencedSOPSequence")),
        failed=tuple(zip(failed, reasons, strict=True)),
    )


def _item(reference: Reference) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = reference
    return item


def _references(dataset: Dataset, keyword: str) -> list[Reference]:
    items: Sequence[Dataset] = dataset.get(keyword) or []
    if len(items) > _MOST_REFERENCES:
        raise CommitmentDataInvalid(f"it names more than {_MOST_REFERENCES} instances")
    return [(_uid(item.get("ReferencedSOPClassUID")), _uid(item.get("ReferencedSOPInstanceUID"))) for item in items]


def _reason(item: Dataset) -> int:
    try:
        return int(item.get("FailureReason") or PROCESSING_FAILURE)
    except (TypeError, ValueError):
        return PROCESSING_FAILURE


def _uid(value: object) -> str:
    text = str(value or "").strip(" \x00")
    if not UID(text).is_valid:
        raise CommitmentDataInvalid("a UID is missing or is none")
    return text
