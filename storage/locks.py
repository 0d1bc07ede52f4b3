"""A lock between processes on one machine (or one shared file system): held by an open file, gone with its process."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from storage.errors import AlreadyRunning, StorageFault


@contextmanager
def file_lock(path: Path, *, wait_s: float = 0.0) -> Iterator[None]:
    """Hold `path` locked. A kill frees it: the kernel owns the lock, the file left behind means nothing.

    Args:
        path: the lock file; made where it is missing.
        wait_s: how long to wait for another holder; 0 is not at all.

    Raises:
        AlreadyRunning: another process (or thread) holds it.
    """
    try:
        handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise StorageFault(f"cannot open the lock file {path.name}: {error.strerror}", path) from None
    try:
        deadline = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise AlreadyRunning(f"another process holds {path}: stop it, or use another folder") from None
                time.sleep(0.02)
        yield
    finally:
        os.close(handle)
