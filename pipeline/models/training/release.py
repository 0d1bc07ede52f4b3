"""Entering a trained model in models/manifest.json."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Any

from pipeline.models.manifest import MANIFEST, ManifestEntry, file_sha256


def register(folder: Path, entry: dict[str, Any]) -> None:
    """Put `entry` into `folder`/manifest.json, in place of the entry of the same name, else at the end.

    `sha256` is taken from the file itself. Other entries stay as they are, also when two trainings end at once.

    Raises:
        FileNotFoundError: the entry's file is not in `folder`.
        ModelUnusable: the entry lacks a key or has a wrong value.
    """
    folder.mkdir(parents=True, exist_ok=True)
    complete = entry | {"sha256": file_sha256(folder / str(entry["file"]))}
    ManifestEntry.from_json(complete)
    path = folder / MANIFEST
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        models: list[dict[str, Any]] = json.loads(path.read_text())["models"] if path.exists() else []
        places = [n for n, model in enumerate(models) if model["name"] == entry["name"]]
        if places:
            models[places[0]] = complete
        else:
            models.append(complete)
        partial = path.with_suffix(".part")
        partial.write_text(json.dumps({"models": models}, indent=1) + "\n")
        partial.replace(path)
    finally:
        os.close(lock)
