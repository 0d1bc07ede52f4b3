"""Logging set up once per process: JSON lines on standard error, UTC times, no patient data.

Callers log UIDs, codes and counts; names and patient identifiers are never passed to a logger.
"""

from __future__ import annotations

import logging
import sys

import structlog

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class _StandardError(logging.Handler):
    """Lines to standard error as it is at each call."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            print(self.format(record), file=sys.stderr, flush=True)
        except Exception:  # a log line that cannot be written must not stop the work it tells of
            self.handleError(record)


def configure_logging(level: str, process: str) -> None:
    """Send every record to standard error as one JSON object a line. level: a key of the config's logging.level."""
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
        logger_factory=lambda *_: structlog.WriteLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.bind_contextvars(process=process)
    logging.basicConfig(level=logging.WARNING, handlers=[_StandardError()], force=True)
    # pynetdicom logs data sets, patient names included, from its INFO level on.
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
    logging.getLogger("pydicom").setLevel(logging.ERROR)
    logging.getLogger("dicom2nifti").setLevel(logging.ERROR)
    # dbos prints a stack for every retried step; the worker reports the outcome itself.
    logging.getLogger("dbos").setLevel(logging.ERROR)
