"""What an examination of the node finds: one list, whoever looks."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """`warning`: works now, and somebody should know. `skipped`: was not looked at, the text says why."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"
    SKIPPED = "skipped"


class Fault(StrEnum):
    """The name of what is wrong: stable, for scripts. docs/operations.md says what to do about each."""

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

    HOST_UNKNOWN = "host-unknown"
    PORT_CLOSED = "port-closed"
    NO_CONNECTION = "no-connection"
    TLS_NOT_SPOKEN = "tls-not-spoken"
    PEER_CERTIFICATE_EXPIRED = "peer-certificate-expired"
    PEER_CERTIFICATE_NOT_YET_VALID = "peer-certificate-not-yet-valid"
    WRONG_CA = "wrong-ca"
    OTHER_NAME = "certificate-for-another-name"
    CLIENT_CERTIFICATE = "client-certificate-refused"
    TLS_FAILED = "tls-failed"
    CALLED_AE = "called-ae-unknown"
    CALLING_AE = "calling-ae-unknown"
    REJECTED = "association-rejected"
    NO_ASSOCIATION = "no-association"
    ECHO_FAILED = "echo-failed"
    SOP_CLASS_REFUSED = "sop-class-refused"
    DICOMWEB_FAILED = "dicomweb-failed"
    QUERY_FAILED = "query-failed"

    STUDY_REFUSED = "study-refused"
    STUDY_NOT_ANALYSED = "study-not-analysed"
    STUDY_NOT_DELIVERED = "study-not-delivered"
    STUDY_NOT_FOUND = "study-not-found-at-destination"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at. what: 'database', 'model NAME', 'destination NAME', ... fault: of what is wrong."""

    what: str
    verdict: Verdict
    detail: str
    fault: Fault | None = None


def ok(what: str, detail: str) -> Finding:
    """All is well with it."""
    return Finding(what=what, verdict=Verdict.OK, detail=detail)


def wrong(what: str, fault: Fault, detail: str) -> Finding:
    """It has to be mended."""
    return Finding(what=what, verdict=Verdict.WRONG, detail=detail, fault=fault)


def warning(what: str, fault: Fault, detail: str) -> Finding:
    """It works now."""
    return Finding(what=what, verdict=Verdict.WARNING, detail=detail, fault=fault)


def skipped(what: str, detail: str) -> Finding:
    """It was not looked at."""
    return Finding(what=what, verdict=Verdict.SKIPPED, detail=detail)
