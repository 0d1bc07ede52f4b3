"""Options that several commands share."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from dicom_node.config import NodeConfig, load_config
from pipeline.models.runtime_options import RuntimeOptions

ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", help="Configuration file; config.yaml here where there is one.")
]
ModelsOption = Annotated[Path | None, typer.Option("--models", help="Folder with manifest.json and weights.")]

_DEFAULT = Path("config.yaml")


def configuration(path: Path | None) -> NodeConfig:
    """The configuration named on the command line, else ./config.yaml, else defaults and environment."""
    return load_config(path or (_DEFAULT if _DEFAULT.is_file() else None))


def one_off_options() -> RuntimeOptions:
    """What the configuration grants the models, for a command that is run once: it converts none."""
    from dicom_node.node import runtime_options

    return replace(runtime_options(configuration(None)), convert=False)


def models_folder(models: Path | None) -> Path:
    """The folder named on the command line, else the configured one."""
    return models or configuration(None).models.folder
