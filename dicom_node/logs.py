"""Logging set up once per process: JSON lines on standard error, UTC times, no patient data.

Callers log UIDs, codes and counts; names and patient identifiers are never passed to a logger.
"""

from __future__ import annotations

import logging
import sys

import structlog

from dicom_node.log_files import LogFiles, RotatingStream

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class _Lines(logging.Handler):
    """Lines to the log file, or to standard error as it is at each call."""

    def __init__(self, file: RotatingStream | None) -> None:
        super().__init__()
        self._file = file

    def emit(self, record: logging.LogRecord) -> None:
        try:
            (self._file or sys.stderr).write(self.format(record) + "\n")
            (self._file or sys.stderr).flush()
        except Exception:  # a log line that cannot be written must not stop the work it tells of
            self.handleError(record)

    def close(self) -> None:
        """Close the file: another configuration follows."""
        if self._file is not None:
            self._file.close()
        super().close()


def configure_logging(level: str, process: str, files: LogFiles | None = None) -> None:
    """Send every record to standard error as one JSON object a line. level: a key of the config's logging.level.

    files: instead of standard error. Raises OSError: the file cannot be opened.
    """
    file = None if files is None else files.stream(process)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        # Standard error as it is at each call: whoever redirects it later gets the lines.
        logger_factory=lambda *_: structlog.WriteLogger(file or sys.stderr),  # type: ignore[arg-type]
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.bind_contextvars(process=process)
    logging.basicConfig(level=logging.WARNING, handlers=[_Lines(file)], force=True)
    # pynetdicom logs data sets, patient names included, from its INFO level on.
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
    logging.getLogger("pydicom").setLevel(logging.ERROR)
    logging.getLogger("dicom2nifti").setLevel(logging.ERROR)
    # dbos prints a stack for every retried step; the worker reports the outcome itself.
    logging.getLogger("dbos").setLevel(logging.ERROR)
