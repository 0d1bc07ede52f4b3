"""The words the tables hold, beside the states of a scan (`storage.lifecycle`)."""

from __future__ import annotations

from enum import StrEnum


class Source(StrEnum):
    """How a scan came in."""

    CSTORE = "cstore"
    UPLOAD_DICOM = "upload-dicom"
    UPLOAD_NIFTI = "upload-nifti"


class Role(StrEnum):
    """What an account may do."""

    ADMIN = "admin"
    DOCTOR = "doctor"
    TECHNICIAN = "technician"


class AccountStatus(StrEnum):
    """`pending` waits for an administrator; `disabled` may not sign in."""

    ACTIVE = "active"
    PENDING = "pending"
    DISABLED = "disabled"


class RunState(StrEnum):
    """A run is `running` until it is `done` or `failed`; a failed one may be opened again."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


#: The kind of result that takes back what a destination has.
REJECTION_NOTE = "REJECTION"


class DeliveryState(StrEnum):
    """`owed` until the destination took it (`sent`) or refused it for good (`failed`).

    `held`: it has a defect that the destination's lint profiles name, and is never sent. `replaced`: the destination
    takes no object of this SOP class, and is owed its fall-back kinds instead, or a later run's results took its place.
    `waiting`: for a review that accepts it. `withdrawn`: rejected in a review before it was sent.
    """

    OWED = "owed"
    SENT = "sent"
    FAILED = "failed"
    HELD = "held"
    REPLACED = "replaced"
    WAITING = "waiting"
    WITHDRAWN = "withdrawn"


class ReviewVerdict(StrEnum):
    """What a radiologist says of a run's results."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    ON_HOLD = "on-hold"


class ConflictKind(StrEnum):
    """`content`: one SOP Instance UID, other bytes. `identity`: one Study UID, another patient.

    `hierarchy`: one Series UID, another study.
    """

    CONTENT = "content"
    IDENTITY = "identity"
    HIERARCHY = "hierarchy"


class RequestKind(StrEnum):
    """What a person can ask of the worker."""

    PROCESS_NOW = "process-now"
    RETRY = "retry"
    ROLE_OVERRIDE = "role-override"
    RESEND = "resend"
    FETCH = "fetch"


class CommitmentState(StrEnum):
    """What a destination says of keeping an object for good.

    `owed`: not asked yet. `asked`: its report is awaited. `not-confirmed`: it never came, or the peer does not offer
    the service; nothing waits for it any longer.
    """

    OWED = "owed"
    ASKED = "asked"
    COMMITTED = "committed"
    FAILED = "failed"
    UNCONFIRMED = "not-confirmed"


class ReportState(StrEnum):
    """Our answer to a peer's commitment request: `owed`, `answered`, or `given-up` as nobody took it."""

    OWED = "owed"
    ANSWERED = "answered"
    GIVEN_UP = "given-up"


class PacsAnswerState(StrEnum):
    """What came of asking a PACS about a study. `mismatch`: it files the study under another patient."""

    ANSWERED = "answered"
    UNKNOWN = "unknown"
    NO_ANSWER = "no-answer"
    MISMATCH = "mismatch"


class AnswerMode(StrEnum):
    """How a model answered: `active` and `ab` for the report, `shadow` for the record alone."""

    ACTIVE = "active"
    SHADOW = "shadow"
    AB = "ab"
