"""Who is sending: the open associations that may store, by calling AE title, and those that broke off.

A study whose sender is still connected, or was cut off in it, is not taken for complete as soon as it looks whole: a
lost or late last slice leaves no gap (`assembly`).
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from storage.clock import Clock
from storage.receivers import Sender

#: A break is told for so long: by then every study it could concern is judged.
_TOLD_FOR = timedelta(hours=2)
#: Titles are the senders' own words; of more than these only the latest are told.
_MOST_TITLES = 64


class Senders:
    """Knows the associations it was told of; looks at them when it is asked.

    Args:
        storage_classes: an association none of whose accepted contexts is of these is not looked at.
    """

    def __init__(self, storage_classes: Collection[str], clock: Clock) -> None:
        self._storage_classes = frozenset(storage_classes)
        self._clock = clock
        self._lock = threading.Lock()
        self._open: dict[Any, tuple[str, datetime]] = {}
        self._broken: dict[str, datetime] = {}

    def opened(self, association: Any) -> None:
        """An association was established."""
        if any(str(context.abstract_syntax) in self._storage_classes for context in association.accepted_contexts):
            title = str(association.requestor.ae_title or "").strip(" \0")
            now = self._clock()
            with self._lock:
                self._let_go(now)
                self._open[association] = title, now

    def now(self) -> Mapping[str, Sender]:
        """Every sender with an open association, or one that broke off and none begun after it that was released."""
        now = self._clock()
        with self._lock:
            self._let_go(now)
            since: dict[str, datetime] = {}
            for title, opened in self._open.values():
                since[title] = min(opened, since.get(title, opened))
            titles = sorted({*since, *self._broken}, key=lambda title: since.get(title) or self._broken[title])
            return {
                title: Sender(open_since=since.get(title), broken_at=self._broken.get(title))
                for title in titles[-_MOST_TITLES:]
            }

    def _let_go(self, now: datetime) -> None:
        for association in [one for one in self._open if not one.is_established]:
            title, opened = self._open.pop(association)
            if association.is_released:
                # One that began before the break, of several at once, does not bring what was lost in it.
                if opened >= self._broken.get(title, opened):
                    self._broken.pop(title, None)
            elif not association._sent_abort:  # by us: the sender had fallen silent, as some do when they are done
                self._broken[title] = now
        told = {title: at for title, at in self._broken.items() if now - at < _TOLD_FOR}
        self._broken = dict(sorted(told.items(), key=lambda broken: broken[1])[-_MOST_TITLES:])
