"""A log file that is put aside when it is full, so many of them and no more."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path

_MODE = 0o640


@dataclass(frozen=True, kw_only=True)
class LogFiles:
    """Where a process's log goes. max_bytes: of one file. keep: full ones beside it; the oldest goes."""

    folder: Path
    max_bytes: int
    keep: int

    def stream(self, process: str) -> RotatingStream:
        """The open log of a process; the folder is made. Two processes must not share a name. Raises OSError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return RotatingStream(self.folder / f"{process}.log", self.max_bytes, self.keep)


class RotatingStream:
    """Takes whole lines, from any number of threads."""

    def __init__(self, path: Path, max_bytes: int, keep: int) -> None:
        self._handler = _Handler(path, maxBytes=max_bytes, backupCount=keep, encoding="utf-8")

    def write(self, text: str) -> int:
        """Write one line, its end included or not."""
        self._handler.handle(logging.makeLogRecord({"msg": text.rstrip("\n")}))
        return len(text)

    def flush(self) -> None:
        """Each line is out when `write` returns."""

    def close(self) -> None:
        """Close the file."""
        self._handler.close()


class _Handler(RotatingFileHandler):
    def _open(self) -> TextIOWrapper:
        stream = super()._open()
        os.fchmod(stream.fileno(), _MODE)
        return stream

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        """A log line that cannot be written must not stop the work it tells of."""
