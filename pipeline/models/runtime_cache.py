"""Networks converted to a faster runtime, made once and kept in a folder that may be emptied at any time.

`cache`/SHA256.TAG/ holds the file TAG, whatever its builder put beside it, and `sha256.json` with the hash of each. The
folder appears whole or not at all. A lock for each key makes a second process wait for the first instead of converting
as well.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.models.manifest import file_sha256

_HASHES = "sha256.json"


def cached_runtime_file(cache_dir: Path, weights_sha256: str, runtime_tag: str, build: Callable[[Path], None]) -> Path:
    """The converted file of these weights, built where it is missing or not as its hashes say.

    runtime_tag: the file's name; it should change with whatever changes the conversion ('onnx-2.onnx').
    build: writes the file it is given, and may write others into the same (empty, temporary) folder. What it raises
    leaves the cache as it was.

    Raises:
        OSError: the folder cannot be written.
        FileNotFoundError: `build` wrote no file.
    """
    if Path(runtime_tag).name != runtime_tag:
        raise ValueError(f"'{runtime_tag}' is no plain file name")
    folder = cache_dir / f"{weights_sha256}.{runtime_tag}"
    cache_dir.mkdir(parents=True, exist_ok=True)
    with _locked(cache_dir / f"{folder.name}.lock"):
        if not _is_whole(folder, runtime_tag):
            shutil.rmtree(folder, ignore_errors=True)
            _build(folder, runtime_tag, build)
    return folder / runtime_tag


def _build(folder: Path, runtime_tag: str, build: Callable[[Path], None]) -> None:
    for left in folder.parent.glob(f"{folder.name}.part-*"):  # by a process that was killed; the lock is ours
        shutil.rmtree(left, ignore_errors=True)
    partial = folder.with_name(f"{folder.name}.part-{os.getpid()}")
    partial.mkdir()
    try:
        build(partial / runtime_tag)
        if not (partial / runtime_tag).is_file():
            raise FileNotFoundError(f"the conversion wrote no {runtime_tag}")
        hashes = {str(path.relative_to(partial)): file_sha256(path) for path in _files(partial)}
        (partial / _HASHES).write_text(json.dumps(hashes, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _is_whole(folder: Path, runtime_tag: str) -> bool:
    try:
        hashes = json.loads((folder / _HASHES).read_text(encoding="utf-8"))
        found = {str(path.relative_to(folder)): file_sha256(path) for path in _files(folder) if path.name != _HASHES}
    except (OSError, ValueError):
        return False
    return runtime_tag in found and bool(hashes == found)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
