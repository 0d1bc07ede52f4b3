"""What listeners have answered and not filed yet, out of their rows: how far a study's rows tell what was received.

And who is connected to them, for a study may be whole to the eye and still on its way.

A listener that falls silent may hold objects until another one starts on this store and takes its journal over. It is
waited for until `SILENT_AFTER`; what is found in its journal later amends the study as any late object does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from storage.receivers import SILENT_AFTER, ReceiverRow, Sender

#: Younger rows are as listeners write them.
_SPOKEN_LATELY = timedelta(seconds=15)


@dataclass(frozen=True, kw_only=True)
class Unfiled:
    """filed_through: all that was received before this time has its row. text: what is waited for, '' for nothing.

    senders: by calling AE title, as all listeners together know them.
    """

    filed_through: datetime
    text: str = ""
    senders: Mapping[str, Sender] = field(default_factory=dict)


def unfiled(rows: Sequence[ReceiverRow], now: datetime) -> Unfiled:
    """The condition of all listeners together; those that have been silent for too long are left out."""
    through, objects, silent = now, 0, []
    senders: dict[str, Sender] = {}
    for row in rows:
        if now - row.at >= SILENT_AFTER:
            continue
        for title, sender in row.senders.items():
            senders[title] = _both(sender, senders.get(title, Sender()))
        if row.filed_through is None:
            continue
        through = min(through, row.filed_through)
        objects += row.backlog_objects
        if now - row.at >= _SPOKEN_LATELY:
            silent.append(f"{row.name} has been silent for {_s(now - row.at)}, waited for until {_s(SILENT_AFTER)}")
    lines = [f"{objects} {'object' if objects == 1 else 'objects'} received and not yet filed"] if objects else []
    return Unfiled(filed_through=through, text="; ".join([*lines, *silent]), senders=senders)


def _both(one: Sender, other: Sender) -> Sender:
    """What two listeners know of one sender."""
    return Sender(
        open_since=min(filter(None, (one.open_since, other.open_since)), default=None),
        broken_at=max(filter(None, (one.broken_at, other.broken_at)), default=None),
    )


def _s(duration: timedelta) -> str:
    return f"{duration.total_seconds():.0f} s"
