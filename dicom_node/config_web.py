"""The settings of the dashboard and its API: `web` in config.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from dicom_node.config_sections import Section


class WebTlsSection(Section):
    """HTTPS by the node itself; a reverse proxy in front of it can do the same."""

    certificate: Path | None = None
    key: Path | None = None

    @model_validator(mode="after")
    def _both(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("give certificate and key, or neither")
        return self


class OidcRolesSection(Section):
    """Which role a new account gets by what the identity provider says of it; the first entry that fits counts."""

    claim: str = Field("groups", min_length=1)
    map: dict[str, Literal["admin", "doctor", "technician"]] = Field(default_factory=dict)


class OidcSection(Section):
    """Sign-in by the hospital's identity provider; off without an issuer."""

    issuer: str | None = None
    name: str = Field("", max_length=64)
    client_id: str = ""
    secret_env: str = ""
    public_url: str = ""
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    roles: OidcRolesSection = OidcRolesSection()  # type: ignore[call-arg]
    match_email: bool = False
    create_accounts: bool = False
    ca_file: Path | None = None


class WebSection(Section):
    """The dashboard and its API."""

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    registration: Literal["open", "approval", "closed"] = "approval"
    token_minutes: int = Field(15, ge=1)
    sign_in_hours: float = Field(12.0, gt=0, le=24 * 30)
    limits_url: str = Field("memory://", repr=False)
    cors_origins: tuple[str, ...] = ()
    max_upload_mb: int = Field(2048, ge=1)
    cookie_secure: bool = False
    tls: WebTlsSection = WebTlsSection()
    secret_file: Path | None = None
    secret: str | None = Field(None, repr=False)
    inbox_token_file: Path | None = None
    inbox_token: str | None = Field(None, repr=False)
    oidc: OidcSection = OidcSection()  # type: ignore[call-arg]

    @model_validator(mode="after")
    def _accounts_may_be_made(self) -> Self:
        if self.oidc.create_accounts and self.registration == "closed":
            raise ValueError("oidc.create_accounts makes none while registration is closed; choose approval or open")
        return self
