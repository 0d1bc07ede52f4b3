"""The values the web application runs with, checked at construction."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

MINIMUM_SECRET_BYTES = 32


class InvalidWebSettings(ValueError):
    """A setting with which the web application must not start. The message names the setting and what to do."""


class Registration(StrEnum):
    """Who may create an account: anybody at once, anybody whom an admin then approves, or nobody."""

    OPEN = "open"
    APPROVAL = "approval"
    CLOSED = "closed"


@dataclass(frozen=True, kw_only=True)
class WebSettings:
    """Frozen settings of one web application.

    token_secret: signs sign-in tokens; at least 32 bytes. token_minutes: how long a bearer token lasts; sign_in_hours:
    how long a sign-in can be kept alive. account_age_s: how long what is known of an account may be used.
    cors_origins: other origins whose pages may call the API with a bearer token; never '*'.
    max_upload_bytes: one upload request as sent. max_volume_bytes: one NIfTI file after decompression.
    max_archive_bytes, max_archive_members: a DICOM zip after unpacking. chunk_timeout_s: longest silence in an upload.
    max_object_bytes: one object of a DICOMweb request. inbox_token: with it a machine may store by DICOMweb; at least
    32 characters, None for nobody.
    node_name: this node in DICOM audit messages. limits_url: where attempts are counted, in the words of `limits`.
    cookie_secure: False only where the pages are reached over plain http (loopback, tests).

    Raises:
        InvalidWebSettings: a secret too short to sign with, a wildcard origin, a limit below one.
    """

    token_secret: str = field(repr=False)
    registration: Registration = Registration.APPROVAL
    token_minutes: int = 15
    sign_in_hours: float = 12.0
    account_age_s: float = 1.0
    cors_origins: tuple[str, ...] = ()
    max_upload_bytes: int = 2 * 1024**3
    max_volume_bytes: int = 1024**3
    max_archive_bytes: int = 8 * 1024**3
    max_archive_members: int = 20_000
    chunk_timeout_s: float = 30.0
    cookie_secure: bool = True
    max_object_bytes: int = 2 * 1024**3
    inbox_token: str | None = field(default=None, repr=False)
    node_name: str = "BTNODE"
    limits_url: str = field(default="memory://", repr=False)
    issuer: str = "brain-tumor-node"
    audience: str = "brain-tumor-node/web"

    def __post_init__(self) -> None:
        object.__setattr__(self, "registration", Registration(self.registration))
        if len(self.token_secret.encode()) < MINIMUM_SECRET_BYTES:
            raise InvalidWebSettings(
                f"the token secret has fewer than {MINIMUM_SECRET_BYTES} bytes: set BTN_WEB_SECRET to the output of "
                "`python -c 'import secrets; print(secrets.token_urlsafe(48))'`"
            )
        if self.inbox_token is not None and len(self.inbox_token) < MINIMUM_SECRET_BYTES:
            raise InvalidWebSettings(
                f"the inbox token has fewer than {MINIMUM_SECRET_BYTES} characters: set BTN_WEB__INBOX_TOKEN to the "
                "output of `openssl rand -hex 32`"
            )
        for origin in self.cors_origins:
            if origin == "*" or not origin.startswith(("http://", "https://")) or origin.rstrip("/").count("/") != 2:
                raise InvalidWebSettings(
                    f"cors_origins names {origin!r}: give whole origins as https://pacs.example.org, never a wildcard"
                )
        for name in (
            "token_minutes",
            "sign_in_hours",
            "max_upload_bytes",
            "max_volume_bytes",
            "max_archive_bytes",
            "max_archive_members",
            "max_object_bytes",
        ):
            if getattr(self, name) < 1:
                raise InvalidWebSettings(f"{name} must be at least 1, not {getattr(self, name)}")
