"""The node's configuration: one frozen, fully typed value, read once from config.yaml, environment over file.

Environment variables start with `BTN_` and use two underscores between levels (`BTN_NODE__PORT=11113`). Secrets come
from the environment or from a file only, never from config.yaml.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from dicom_node.config_sections import (
    AssemblySection,
    CommitmentSection,
    DeliverySection,
    DestinationSection,
    EngineSection,
    FollowUpSection,
    LoggingSection,
    ModelsSection,
    NodeSection,
    QuerySection,
    ResultsSection,
    RetentionSection,
    ReviewSection,
    ScrubSection,
    StorageSection,
)
from dicom_node.config_web import WebSection
from dicom_node.errors import Permanent

ENVIRONMENT_PREFIX = "BTN_"


class ConfigurationInvalid(Permanent):
    """config.yaml or the environment holds something the node cannot run with; the message names every key."""

    code = "configuration-invalid"


class NodeConfig(BaseSettings):
    """Every setting of the node. See config.yaml for what each key means."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX, env_nested_delimiter="__", frozen=True, extra="forbid"
    )

    node: NodeSection = NodeSection()  # type: ignore[call-arg]
    storage: StorageSection = StorageSection()  # type: ignore[call-arg]
    assembly: AssemblySection = AssemblySection()  # type: ignore[call-arg]
    models: ModelsSection = ModelsSection()  # type: ignore[call-arg]
    results: ResultsSection = ResultsSection()  # type: ignore[call-arg]
    review: ReviewSection = ReviewSection()  # type: ignore[call-arg]
    follow_up: FollowUpSection = FollowUpSection()  # type: ignore[call-arg]
    destinations: tuple[DestinationSection, ...] = ()
    delivery: DeliverySection = DeliverySection()  # type: ignore[call-arg]
    commitment: CommitmentSection = CommitmentSection()  # type: ignore[call-arg]
    query: QuerySection = QuerySection()  # type: ignore[call-arg]
    retention: RetentionSection = RetentionSection()  # type: ignore[call-arg]
    scrub: ScrubSection = ScrubSection()  # type: ignore[call-arg]
    web: WebSection = WebSection()  # type: ignore[call-arg]
    engine: EngineSection = EngineSection()  # type: ignore[call-arg]
    logging: LoggingSection = LoggingSection()  # type: ignore[call-arg]

    @field_validator("destinations")
    @classmethod
    def _names_differ(cls, destinations: tuple[DestinationSection, ...]) -> tuple[DestinationSection, ...]:
        names = [destination.name for destination in destinations]
        if len(set(names)) != len(names):
            raise ValueError("two destinations have one name; deliveries are kept by name")
        return destinations

    @model_validator(mode="after")
    def _asked_is_known(self) -> Self:
        asked, known = self.query.destination, [destination.name for destination in self.destinations]
        if asked is not None and asked not in known:
            raise ValueError(f"query.destination: '{asked}' is not a destination; known: {', '.join(known) or 'none'}")
        return self

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
    for key in ("secret", "inbox_token"):
        if isinstance(web, dict) and key in web:
            raise ConfigurationInvalid(
                f"{path}: web.{key}: a secret does not belong in this file; set BTN_WEB__{key.upper()}, or name a "
                f"file in web.{key}_file"
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
