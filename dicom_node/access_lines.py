"""A line of the log for each request the web application answered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

import structlog

from web.access_log import Entry


def access_lines() -> Callable[[Entry], None]:
    """What `create_app` tells of each request."""
    log = structlog.get_logger("web.access")

    def write(entry: Entry) -> None:
        log.info("request", **asdict(entry))

    return write
