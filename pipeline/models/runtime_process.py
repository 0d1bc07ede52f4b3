"""Converting a network in a process of its own, so that the node never holds the framework it was made with.

A module that converts calls `run_apart(__name__, ...)` and, as a program, `sys.exit(main_of(convert))`.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.errors import ConversionFailed, ModelUnusable
from pipeline.models.manifest import ManifestEntry

#: (entry, models folder, file to write). Raises ModelUnusable or ConversionFailed.
Convert = Callable[[ManifestEntry, Path, Path], None]
_TIMEOUT_S = 1800
#: Values by which an entry says that a key was not given.
_ABSENT: tuple[Any, ...] = (None, "", (), {})
_ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "-1"}


def run_apart(module: str, entry: ManifestEntry, folder: Path, path: Path) -> None:
    """Run `python -m module` on an entry. What its `convert` raised is raised here.

    Raises:
        ConversionFailed, ModelUnusable: see `Convert`; also when the process dies or takes too long.
    """
    said = {key: value for key, value in dataclasses.asdict(entry).items() if value not in _ABSENT}
    try:
        done = subprocess.run(
            [sys.executable, "-m", module, str(folder.absolute()), str(path.absolute())],
            input=json.dumps(said),
            env=os.environ | _ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ConversionFailed(entry.name, f"its conversion took longer than {_TIMEOUT_S} s") from error
    if done.returncode == 0:
        return
    lines = done.stdout.strip().splitlines()
    try:
        told = json.loads(lines[-1])
    except (IndexError, ValueError):
        last = (done.stderr.strip().splitlines() or ["nothing was said"])[-1][:200]
        raise ConversionFailed(entry.name, f"its conversion ended with code {done.returncode} ({last})") from None
    if "remedy" in told:
        raise ModelUnusable(entry.name, told["reason"], told["remedy"])
    raise ConversionFailed(entry.name, told["reason"])


def main_of(convert: Convert) -> int:
    """The other side of `run_apart`: entry on standard input, fault as JSON on the last line; the exit status."""
    entry = ManifestEntry.from_json(json.load(sys.stdin))
    try:
        convert(entry, Path(sys.argv[1]), Path(sys.argv[2]))
    except ModelUnusable as error:
        print(json.dumps({"reason": error.reason, "remedy": error.remedy}))
        return 1
    except ConversionFailed as error:
        print(json.dumps({"reason": error.reason}))
        return 1
    return 0
