"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dicom_node.config import NodeConfig, load_config

ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", help="Configuration file; config.yaml here where there is one.")
]
ModelsOption = Annotated[Path | None, typer.Option("--models", help="Folder with manifest.json and weights.")]

_DEFAULT = Path("config.yaml")


def configuration(path: Path | None) -> NodeConfig:
    """The configuration named on the command line, else ./config.yaml, else defaults and environment."""
    return load_config(path or (_DEFAULT if _DEFAULT.is_file() else None))


def models_folder(models: Path | None) -> Path:
    """The folder named on the command line, else the configured one."""
    return models or configuration(None).models.folder
