"""Whether this machine's clock can be right: against what was written before, and against other clocks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from dicom_node.config import NodeConfig
from dicom_node.doctor.findings import Fault, Finding, ok, wrong
from dicom_node.outbound.dicomweb import server_time
from dicom_node.outward import destinations_of
from dicom_node.store import Store
from storage.clock import Clock

#: This release was made after it.
_MADE = datetime(2026, 1, 1, tzinfo=UTC)
_AHEAD = timedelta(minutes=2)
_APART = timedelta(minutes=2)
_WHAT = "clock"


def examine_clock(config: NodeConfig, store: Store | None, clock: Clock) -> Iterator[Finding]:
    """Findings on the clock. store: None where there are no rows to look at."""
    now = clock()
    faults = []
    if now < _MADE:
        faults.append(f"it says {now:%Y-%m-%d}, before this release was made")
    faults += [f"it says {now:%Y-%m-%d %H:%M}, and {text}" for at, text in _traces(config, store) if at - now > _AHEAD]
    for fault in faults:
        yield wrong(_WHAT, Fault.CLOCK_WRONG, f"{fault}: set it, best by NTP")
    if not faults:
        yield ok(_WHAT, f"{now:%Y-%m-%d %H:%M} UTC, later than all that was written")
    for destination in destinations_of(config):
        if destination.kind != "dicomweb":
            continue
        before = clock()
        told = server_time(destination)
        if told is None:
            continue
        apart = told - before
        what = f"clock of {destination.name}"
        if abs(apart) > _APART:
            side = "ahead of" if apart > timedelta() else "behind"
            text = f"{abs(apart.total_seconds()):.0f} s {side} ours: set both, best by NTP"
            yield wrong(what, Fault.CLOCK_DIFFERS, text)
        else:
            yield ok(what, "agrees with ours")


def _traces(config: NodeConfig, store: Store | None) -> Iterator[tuple[datetime, str]]:
    """Times that have been, as far as anybody wrote them down."""
    if config.storage.root.is_dir():
        written = [(path.stat().st_mtime, path.name) for path in config.storage.root.iterdir()]
        if written:
            at, name = max(written)
            newest = datetime.fromtimestamp(at, UTC)
            yield newest, f"'{name}' in {config.storage.root} was written at {newest:%Y-%m-%d %H:%M}"
    if store is not None:
        for event in store.audit.list(limit=1, newest_first=True):
            yield event.at, f"the newest event is of {event.at:%Y-%m-%d %H:%M}"
