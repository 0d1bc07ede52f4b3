"""What an access log line holds: routes, never paths or query strings, which may name patients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One answered request. route: the template, e.g. `/api/scans/{scan_id}`; 'none' where no route took it."""

    method: str
    route: str
    status: int
    seconds: float
    bytes_sent: int
    address: str


#: Told of each request as it ends; must not block.
AccessLog = Callable[[Entry], None]
