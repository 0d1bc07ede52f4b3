"""What an examination of the node finds: one list, whoever looks."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dicom_node.outbound.obstacles import Obstacle


class Verdict(StrEnum):
    """`warning`: works now, and somebody should know. `skipped`: was not looked at, the text says why."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"
    SKIPPED = "skipped"


class Fault(StrEnum):
    """What is wrong, beside what can be in the way of a connection (`Obstacle`)."""

    CONFIGURATION_INVALID = "configuration-invalid"
    SECRET_MISSING = "secret-missing"
    NO_DESTINATION = "no-destination"
    RESULT_KIND_UNKNOWN = "result-kind-unknown"
    PEERS_EXCLUDE_PACS = "peers-exclude-pacs"

    DATABASE_UNREACHABLE = "database-unreachable"
    DATABASE_NOT_MIGRATED = "database-not-migrated"
    FOLDER_UNWRITABLE = "folder-unwritable"
    DISK_LOW = "disk-low"
    WORKER_SILENT = "worker-silent"
    MODEL_MISSING = "model-missing"
    MODEL_HASH_WRONG = "model-hash-wrong"
    MODEL_UNUSABLE = "model-unusable"

    CERTIFICATE_UNREADABLE = "certificate-unreadable"
    CERTIFICATE_KEY_MISMATCH = "certificate-key-mismatch"
    CERTIFICATE_EXPIRED = "certificate-expired"
    CERTIFICATE_NOT_YET_VALID = "certificate-not-yet-valid"
    CERTIFICATE_EXPIRES_SOON = "certificate-expires-soon"
    CHAIN_BROKEN = "certificate-chain-broken"

    CLOCK_WRONG = "clock-wrong"
    CLOCK_DIFFERS = "clock-differs-from-destination"

    LISTENER_PORT_TAKEN = "listener-port-taken"
    LISTENER_ADDRESS = "listener-address-not-ours"
    LISTENER_SILENT = "listener-does-not-answer"

    SOP_CLASS_REFUSED = "sop-class-refused"
    DICOMWEB_FAILED = "dicomweb-failed"
    QUERY_FAILED = "query-failed"

    STUDY_REFUSED = "study-refused"
    STUDY_NOT_ANALYSED = "study-not-analysed"
    STUDY_NOT_DELIVERED = "study-not-delivered"
    STUDY_NOT_FOUND = "study-not-found-at-destination"


#: The name of what is wrong: stable, for scripts. docs/operations.md says what to do about each.
FaultName = Fault | Obstacle


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at. what: 'database', 'model NAME', 'destination NAME', ... fault: of what is wrong."""

    what: str
    verdict: Verdict
    detail: str
    fault: FaultName | None = None


def ok(what: str, detail: str) -> Finding:
    """All is well with it."""
    return Finding(what=what, verdict=Verdict.OK, detail=detail)


def wrong(what: str, fault: FaultName, detail: str) -> Finding:
    """It has to be mended."""
    return Finding(what=what, verdict=Verdict.WRONG, detail=detail, fault=fault)


def warning(what: str, fault: FaultName, detail: str) -> Finding:
    """It works now."""
    return Finding(what=what, verdict=Verdict.WARNING, detail=detail, fault=fault)


def skipped(what: str, detail: str) -> Finding:
    """It was not looked at."""
    return Finding(what=what, verdict=Verdict.SKIPPED, detail=detail)
