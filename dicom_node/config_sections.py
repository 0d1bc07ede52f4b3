"""The sections of the configuration, each value typed and checked; config.yaml says what each key means."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from dicom_node.result_kinds import RECORD_KINDS


class Section(BaseModel):
    """Frozen; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class PeerSection(Section):
    """A peer that may associate."""

    ae_title: str = Field(min_length=1, max_length=16)
    addresses: tuple[str, ...] = ()
    services: tuple[Literal["store", "echo", "commitment"], ...] = ("store", "echo", "commitment")

    @field_validator("addresses")
    @classmethod
    def _are_networks(cls, addresses: tuple[str, ...]) -> tuple[str, ...]:
        for address in addresses:
            ip_network(address, strict=False)
        return addresses


class TlsSection(Section):
    """TLS of the DICOM listener."""

    certificate: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None
    client_certificates: Literal["none", "optional", "required"] = "none"

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key are given together")
        if self.client_certificates != "none" and (self.client_ca is None or self.certificate is None):
            raise ValueError("client certificates need certificate, key and client_ca")
        return self


class NodeSection(Section):
    """The DICOM listener."""

    ae_title: str = Field("BTNODE", min_length=1, max_length=16)
    host: str = "127.0.0.1"
    port: int = Field(11112, ge=0, le=65535)
    peers: tuple[PeerSection, ...] = ()
    max_associations: int = Field(25, ge=1)
    max_object_mb: int = Field(2048, ge=1)
    receive_path: Literal["fast", "pynetdicom"] = "fast"
    max_backlog_mb: int = Field(4096, ge=256)
    association_timeout_s: float = Field(10.0, gt=0)
    idle_timeout_s: float = Field(60.0, gt=0)
    tls: TlsSection = TlsSection()

    @field_validator("peers", mode="before")
    @classmethod
    def _titles_are_peers(cls, peers: Any) -> Any:
        """A plain AE title stands for a peer from anywhere that may do everything."""
        if not isinstance(peers, list | tuple):
            return peers
        return [{"ae_title": peer} if isinstance(peer, str) else peer for peer in peers]


class StorageSection(Section):
    """Where files and rows live."""

    root: Path = Path("var")
    database_url: str | None = None
    min_free_mb: int = Field(512, ge=0)

    @property
    def rows_url(self) -> str:
        """The SQLAlchemy URL of the rows; SQLite under `root` unless one is configured."""
        return self.database_url or f"sqlite:///{self.root.absolute() / 'node.sqlite'}"


class AssemblySection(Section):
    """When a study counts as complete, in seconds."""

    series_quiet_s: float = Field(20.0, gt=0)
    study_quiet_s: float = Field(300.0, gt=0)
    study_cap_s: float = Field(5400.0, gt=0)
    poll_s: float = Field(1.0, gt=0)
    heed_senders: bool = True


class ModelsSection(Section):
    """Which weights the worker loads."""

    folder: Path = Path("models")
    cache: Path | None = None
    convert: bool = True
    threads: int = Field(0, ge=0)
    explain: bool = True
    prognosis: bool = False


class ResultsSection(Section):
    """The form of the result objects and of the report."""

    omit_empty_frames: bool = False
    ohif_compat: bool = True
    language: str = Field("en", pattern="[a-z]{2,8}")
    templates: Path | None = None


class ReviewSection(Section):
    """What radiologists say of results."""

    before_sending: bool = False
    organization: str = Field("", max_length=64)


class FollowUpSection(Section):
    """Earlier studies of the same patient."""

    compare: bool = True
    fetch_priors: int = Field(0, ge=0, le=20)
    wait_s: float = Field(900.0, ge=0)


LintProfile = Literal["dicom", "ohif", "weasis", "orthanc", "strict-pacs"]


class DestinationSection(Section):
    """A PACS that results are sent to: a DICOM peer or a DICOMweb service."""

    name: str = Field(min_length=1, max_length=64)
    kind: Literal["dicom", "dicomweb"] = "dicom"
    ae_title: str = Field("", max_length=16)
    host: str = ""
    port: int = Field(0, ge=0, le=65535)
    url: str = ""
    auth: Literal["none", "basic", "bearer"] = "none"
    username: str = ""
    secret_env: str = ""
    tls: bool = False
    ca_file: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    kinds: tuple[str, ...] = tuple(kind.value for kind in RECORD_KINDS)
    fallback: tuple[str, ...] = ()
    lint: tuple[LintProfile, ...] = ("dicom", "ohif", "weasis", "orthanc", "strict-pacs")
    timeout_s: float = Field(60.0, gt=0)
    commitment: Literal["none", "request"] = "none"

    @model_validator(mode="after")
    def _leads_somewhere(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key go together")
        if set(self.fallback) & set(self.kinds):
            raise ValueError("what is sent anyway, by kinds, cannot be sent in place of something, by fallback")
        if self.kind == "dicom":
            if not (self.ae_title and self.host and self.port):
                raise ValueError("a destination of kind dicom needs ae_title, host and port")
            return self
        url = urlsplit(self.url)
        if url.scheme not in ("http", "https") or not url.hostname or url.query or url.username:
            raise ValueError("a destination of kind dicomweb needs the service's URL, without password or query")
        if self.commitment != "none":
            raise ValueError("storage commitment is asked of destinations of kind dicom only")
        if self.auth != "none" and not self.secret_env:
            raise ValueError("secret_env must name the environment variable with the password or token")
        if self.auth != "none" and url.scheme == "http" and not _is_loopback(url.hostname):
            raise ValueError("a password or token may not go over plain http; use https")
        return self


class DeliverySection(Section):
    """How long and how often a destination that is unreachable, or refuses, is tried again."""

    first_retry_s: float = Field(5.0, gt=0)
    longest_wait_s: float = Field(3600.0, gt=0)
    give_up_after_days: float = Field(7.0, gt=0)
    lease_s: float = Field(300.0, gt=0)
    poll_s: float = Field(1.0, gt=0)
    breaker_refusals: int = Field(5, ge=1)
    breaker_trial_s: float = Field(300.0, gt=0)
    breaker_longest_trial_s: float = Field(21600.0, gt=0)


class ReportToSection(Section):
    """Where a peer listens that asks us for storage commitment and is no destination."""

    ae_title: str = Field(min_length=1, max_length=16)
    host: str
    port: int = Field(ge=1, le=65535)


class CommitmentSection(Section):
    """Storage commitment, asked and given."""

    wait_s: float = Field(5.0, ge=0)
    ask_again_h: float = Field(6.0, gt=0)
    give_up_h: float = Field(24.0, gt=0)
    report_to: tuple[ReportToSection, ...] = ()


class QuerySection(Section):
    """The PACS that is asked what it holds."""

    destination: str | None = None
    retrieve: Literal["get", "move"] = "get"
    timeout_s: float = Field(10.0, gt=0)
    retrieve_timeout_s: float = Field(600.0, gt=0)
    quiet_s: float = Field(5.0, gt=0)
    again_s: float = Field(60.0, gt=0)
    fetch_missing: bool = False


class RetentionSection(Section):
    """How long received images are kept once all is delivered."""

    received_days: float | None = Field(None, gt=0)
    free_below_mb: int | None = Field(None, ge=1)
    least_hours: float = Field(24.0, ge=0)
    poll_s: float = Field(600.0, gt=0)


class ScrubSection(Section):
    """Reading every file at rest again."""

    every_days: float | None = Field(30.0, gt=0)
    poll_s: float = Field(60.0, gt=0)


class EngineSection(Section):
    """The durable job engine."""

    database_url: str | None = None
    executor_id: str = "node-1"
    poll_s: float = Field(0.5, gt=0)
    takeover_after_s: float = Field(60.0, gt=0)
    finish_within_s: float = Field(0.0, ge=0)


class LoggingSection(Section):
    """What the log says; never patient names or identifiers."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    access: bool = False
    folder: Path | None = None
    max_mb: int = Field(20, ge=1)
    keep: int = Field(10, ge=1)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
