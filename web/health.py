"""What the composition root tells the web application about the node's condition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing looked at. name: 'database', 'disk', a model's name. detail: what was found, free of patients."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True, kw_only=True)
class InstalledModel:
    """A model as the worker found it. mode: 'active', 'shadow' or 'ab'. detail: what it is, or what is wrong."""

    name: str
    task: str
    version: str
    ok: bool
    detail: str
    mode: str = ""
    share: float = 0.0
    ensemble: str | None = None
    sha256: str = ""


@dataclass(frozen=True, kw_only=True)
class Owed:
    """What a destination is owed: how many objects, and the age of the oldest."""

    destination: str
    objects: int
    age_s: float


@dataclass(frozen=True, kw_only=True)
class HealthReport:
    """The node's condition now.

    checks: what the node cannot work without (database, disk). models: what it can do without, one by one.
    destinations: those that refuse what they are sent; results wait for them.
    receivers: DICOM listeners, not ok where they take nothing. backlog_bytes: what they received and have to index.
    queue_length: scans waiting for a worker or in its hands. queue_age_s: how long the oldest has waited, None if none.
    delivery_age_s: age of the oldest object still owed to a destination, None if none.
    owed: objects owed, one by one destination. scans_by_state: how many scans are in each state. disk_free_bytes: where
    studies are kept, None where it cannot be asked. damaged_files: found at rest so far; images_missing: those of them
    that were received images and have not come again.
    """

    checks: tuple[Check, ...]
    models: tuple[Check, ...]
    destinations: tuple[Check, ...] = ()
    receivers: tuple[Check, ...] = ()
    backlog_bytes: int = 0
    queue_length: int = 0
    queue_age_s: float | None = None
    delivery_age_s: float | None = None
    owed: tuple[Owed, ...] = ()
    scans_by_state: Mapping[str, int] = field(default_factory=dict)
    disk_free_bytes: int | None = None
    damaged_files: int = 0
    images_missing: int = 0

    @property
    def ready(self) -> bool:
        """True where studies can be taken and kept; a missing model does not stop that."""
        return all(check.ok for check in self.checks)

    @property
    def status(self) -> Literal["ok", "degraded", "unavailable"]:
        """'ok', 'degraded' (a model cannot be used, a destination refuses) or 'unavailable'."""
        if not self.ready:
            return "unavailable"
        return "ok" if all(check.ok for check in (*self.models, *self.destinations, *self.receivers)) else "degraded"
