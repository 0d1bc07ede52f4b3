"""What the worker found when it loaded the models, left in the storage root for the pages of other processes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from pipeline.models.catalogue import ModelStatus
from storage.files import FileStore
from web.health import InstalledModel

_NAME = "models-status.json"


def write_models_status(files: FileStore, statuses: Sequence[ModelStatus]) -> None:
    """Replace the note. Raises StorageFull, StorageFault."""
    told = json.dumps([asdict(status) for status in statuses], indent=1)
    files.write_note(_NAME, told.encode())


def read_models_status(files: FileStore) -> tuple[ModelStatus, ...] | None:
    """What the last worker found; None before the first one started."""
    path = files.root / _NAME
    if not path.is_file():
        return None
    return tuple(ModelStatus(**status) for status in json.loads(path.read_text(encoding="utf-8")))


def installed_models(files: FileStore) -> tuple[InstalledModel, ...]:
    """The same for the web application; nothing before the first worker started."""
    return tuple(InstalledModel(**asdict(status)) for status in read_models_status(files) or ())
