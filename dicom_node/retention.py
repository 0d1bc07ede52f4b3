"""Which received images go, and when: by age, or the oldest first while the disk is short."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from storage.clock import Clock
from storage.errors import StorageError
from storage.removals import RemovalRepository

log = structlog.get_logger("retention")


@dataclass(frozen=True, kw_only=True)
class RetentionPolicy:
    """received_days: after the last delivery; None is for ever. free_below_bytes: below it space is made; None never.

    least_hours: however short the disk is, not sooner after the delivery.
    """

    received_days: float | None = None
    free_below_bytes: int | None = None
    least_hours: float = 24.0

    @property
    def removes(self) -> bool:
        """Whether anything is ever removed."""
        return self.received_days is not None or self.free_below_bytes is not None


class Retention:
    """Applies a policy. free_bytes: of the disk, now."""

    def __init__(
        self, removals: RemovalRepository, policy: RetentionPolicy, free_bytes: Callable[[], int], clock: Clock
    ) -> None:
        self._removals = removals
        self._policy = policy
        self._free_bytes = free_bytes
        self._clock = clock

    def tick(self) -> int:
        """One pass: what was cut off first, then what is due; how many studies it removed.

        A removal that fails stays unfinished and is tried again by the next pass; the others go on.

        Raises:
            StorageError: what is due cannot be looked up or marked.
        """
        for removal in self._removals.unfinished():
            self._carry_out(removal.id)
        return self._by_age() + self._for_space()

    def _by_age(self) -> int:
        if self._policy.received_days is None:
            return 0
        before = self._clock() - timedelta(days=self._policy.received_days)
        why = f"{self._policy.received_days:g} days after delivery"
        return sum(self._remove(one.scan_id, before, why) for one in self._removals.candidates(before))

    def _for_space(self) -> int:
        least = self._policy.free_below_bytes
        if least is None or self._free_bytes() >= least:
            return 0
        before = self._clock() - timedelta(hours=self._policy.least_hours)
        removed = 0
        for one in sorted(self._removals.candidates(before), key=lambda one: one.done_at):
            removed += self._remove(one.scan_id, before, "the disk was short")
            if self._free_bytes() >= least:
                return removed
        log.warning("the disk is short and nothing more may be removed", free_mb=self._free_bytes() >> 20)
        return removed

    def _remove(self, scan_id: str, before: datetime, why: str) -> bool:
        removal = self._removals.begin(scan_id, before, why)
        if removal is None:
            return False
        files = self._carry_out(removal.id)
        if files is None:
            return False
        log.info("received images removed", scan=scan_id, files=files, bytes=removal.bytes, why=why)
        return True

    def _carry_out(self, removal_id: int) -> int | None:
        """How many files went; None where it failed, which must not keep other studies on a disk that fills."""
        try:
            return self._removals.carry_out(removal_id)
        except StorageError as error:
            log.error("removal failed, goes on later", removal=removal_id, error=error.code, exc_info=error)
            return None
