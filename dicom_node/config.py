"""The node's configuration: one frozen, fully typed value, read once from config.yaml, environment over file.

Environment variables start with `BTN_` and use two underscores between levels (`BTN_NODE__PORT=11113`). Secrets come
from the environment or from a file only, never from config.yaml.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from dicom_node.errors import Permanent

ENVIRONMENT_PREFIX = "BTN_"


class ConfigurationInvalid(Permanent):
    """config.yaml or the environment holds something the node cannot run with; the message names every key."""

    code = "configuration-invalid"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NodeSection(_Section):
    """The DICOM listener."""

    ae_title: str = Field("BTNODE", min_length=1, max_length=16)
    host: str = "127.0.0.1"
    port: int = Field(11112, ge=0, le=65535)
    peers: tuple[str, ...] = ()
    max_associations: int = Field(25, ge=1)
    max_object_mb: int = Field(2048, ge=1)


class StorageSection(_Section):
    """Where files and rows live."""

    root: Path = Path("var")
    database_url: str | None = None
    min_free_mb: int = Field(512, ge=0)

    @property
    def rows_url(self) -> str:
        """The SQLAlchemy URL of the rows; SQLite under `root` unless one is configured."""
        return self.database_url or f"sqlite:///{self.root.absolute() / 'node.sqlite'}"


class AssemblySection(_Section):
    """When a study counts as complete, in seconds."""

    series_quiet_s: float = Field(20.0, gt=0)
    study_quiet_s: float = Field(300.0, gt=0)
    study_cap_s: float = Field(5400.0, gt=0)
    poll_s: float = Field(1.0, gt=0)


class ModelsSection(_Section):
    """Which weights the worker loads."""

    folder: Path = Path("models")
    threads: int = Field(0, ge=0)


class DestinationSection(_Section):
    """A PACS that results are sent to."""

    name: str = Field(min_length=1, max_length=64)
    kind: Literal["dicom"] = "dicom"
    ae_title: str = Field(min_length=1, max_length=16)
    host: str
    port: int = Field(ge=1, le=65535)
    kinds: tuple[str, ...] = ("SEG", "SR")
    timeout_s: float = Field(60.0, gt=0)


class DeliverySection(_Section):
    """How long and how often an unreachable destination is tried again."""

    first_retry_s: float = Field(5.0, gt=0)
    longest_wait_s: float = Field(3600.0, gt=0)
    give_up_after_days: float = Field(7.0, gt=0)
    lease_s: float = Field(300.0, gt=0)
    poll_s: float = Field(1.0, gt=0)


class WebSection(_Section):
    """The dashboard and its API."""

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    registration: Literal["open", "approval", "closed"] = "approval"
    token_minutes: int = Field(60, ge=1)
    cors_origins: tuple[str, ...] = ()
    max_upload_mb: int = Field(2048, ge=1)
    cookie_secure: bool = False
    secret_file: Path | None = None
    secret: str | None = Field(None, repr=False)


class EngineSection(_Section):
    """The durable job engine."""

    database_url: str | None = None
    executor_id: str = "node-1"
    poll_s: float = Field(0.5, gt=0)
    takeover_after_s: float = Field(60.0, gt=0)


class LoggingSection(_Section):
    """What the log says; never patient names or identifiers."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class NodeConfig(BaseSettings):
    """Every setting of the node. See config.yaml for what each key means."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX, env_nested_delimiter="__", frozen=True, extra="forbid"
    )

    node: NodeSection = NodeSection()  # type: ignore[call-arg]
    storage: StorageSection = StorageSection()  # type: ignore[call-arg]
    assembly: AssemblySection = AssemblySection()  # type: ignore[call-arg]
    models: ModelsSection = ModelsSection()  # type: ignore[call-arg]
    destinations: tuple[DestinationSection, ...] = ()
    delivery: DeliverySection = DeliverySection()  # type: ignore[call-arg]
    web: WebSection = WebSection()  # type: ignore[call-arg]
    engine: EngineSection = EngineSection()  # type: ignore[call-arg]
    logging: LoggingSection = LoggingSection()

    @field_validator("destinations")
    @classmethod
    def _names_differ(cls, destinations: tuple[DestinationSection, ...]) -> tuple[DestinationSection, ...]:
        names = [destination.name for destination in destinations]
        if len(set(names)) != len(names):
            raise ValueError("two destinations have one name; deliveries are kept by name")
        return destinations

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment over file: `load_config` passes the file as init values."""
        return env_settings, init_settings


def load_config(path: Path | None) -> NodeConfig:
    """Read `path` (None: defaults and environment only).

    Raises:
        ConfigurationInvalid: the file is absent or not YAML, a key is unknown, a value is out of range, or a secret
            stands in the file. The message lists every fault with its path.
    """
    values = _read_yaml(path) if path is not None else {}
    web = values.get("web")
    if isinstance(web, dict) and "secret" in web:
        raise ConfigurationInvalid(
            f"{path}: web.secret: a secret does not belong in this file; set BTN_WEB__SECRET, or name a file in "
            "web.secret_file"
        )
    try:
        return NodeConfig(**values)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc']) or 'top level'}: {fault['msg']}"
            for fault in error.errors(include_url=False, include_input=False)
        )
        raise ConfigurationInvalid(f"{path or 'environment'}: {faults}") from None


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationInvalid(f"{path}: cannot be read ({error.strerror}); name another with --config") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark is not None else ""
        raise ConfigurationInvalid(f"{path}: not YAML{where}; see the config.yaml that came with the node") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigurationInvalid(f"{path}: the top level must be keys and values")
    return values
