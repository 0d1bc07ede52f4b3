"""Reports of peers on what we asked them to keep, applied to our rows: they come by two doors, at any time."""

from __future__ import annotations

import logging
from typing import Any

from dicom_node.commitment.data import CommitmentDataInvalid, CommitmentReport, read_report, reason_text
from storage.commitments import CommitmentRepository, Settled
from storage.errors import StorageError

_log = logging.getLogger(__name__)

SUCCESS = 0x0000
PROCESSING_FAILURE = 0x0110
INVALID_ARGUMENT = 0x0115


def take_report(commitments: CommitmentRepository, event: Any) -> int:
    """Apply an N-EVENT-REPORT (pynetdicom's event) and give the status it is answered with.

    A report that could not be kept is answered as a failure, for the peer then sends it again.
    """
    try:
        report = read_report(event.event_information)
        settled = apply_report(commitments, report)
    except CommitmentDataInvalid as error:
        _log.warning("a commitment report was not understood: %s", error)
        return INVALID_ARGUMENT
    except StorageError as error:
        _log.error("a commitment report could not be kept: %s", error.code)
        return PROCESSING_FAILURE
    except Exception as error:  # the library documents no closed set of errors for a data set it cannot decode
        _log.warning("a commitment report could not be read: %s", type(error).__name__)
        return PROCESSING_FAILURE
    return SUCCESS if settled.known else INVALID_ARGUMENT


def apply_report(commitments: CommitmentRepository, report: CommitmentReport) -> Settled:
    """Write down what a peer reported. Raises StorageError."""
    settled = commitments.settle(
        report.transaction_uid,
        [uid for _, uid in report.committed],
        {uid: reason_text(reason) for (_, uid), reason in report.failed},
    )
    if not settled.known:
        _log.warning("a commitment report names transaction %s, which is not ours", report.transaction_uid)
    elif settled.failed or settled.sent_again:
        _log.error("storage commitment denied: %d sent again, %d given up", settled.sent_again, settled.failed)
    return settled
