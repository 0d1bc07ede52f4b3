"""When an attempt that failed is made again: a pure rule, no clock and no randomness of its own."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, kw_only=True)
class BackoffPolicy:
    """Doubling waits with jitter, up to a longest wait, until a delivery is too old.

    first_retry_s: wait after the first attempt. longest_wait_s: cap. give_up_after_days: age at which it is failed.
    jitter: each wait is shortened by up to this share, so that a PACS that comes back is not met by all at once.

    Raises:
        ValueError: a wait or age that is not positive, or a jitter outside 0..1.
    """

    first_retry_s: float = 5.0
    longest_wait_s: float = 3600.0
    give_up_after_days: float = 7.0
    jitter: float = 0.2

    def __post_init__(self) -> None:
        if min(self.first_retry_s, self.longest_wait_s, self.give_up_after_days) <= 0 or not 0 <= self.jitter <= 1:
            raise ValueError("back-off waits and age must be positive and the jitter between 0 and 1")

    def wait_s(self, attempts: int, key: str) -> float:
        """Seconds to wait after attempt number `attempts` (from 1).

        key: names the delivery; its jitter is derived from it, the same on every call.
        """
        # The exponent is bounded before the power is: days of attempts must not make a number of that size.
        doubled = self.first_retry_s * 2.0 ** min(max(attempts, 1) - 1, 40)
        share = int.from_bytes(hashlib.sha256(f"{key}:{attempts}".encode()).digest()[:4]) / 2**32
        return min(doubled, self.longest_wait_s) * (1.0 - self.jitter * share)

    def next_attempt_at(self, *, attempts: int, key: str, owed_since: datetime, now: datetime) -> datetime | None:
        """The time of the next attempt, or None where the delivery is given up."""
        if now - owed_since >= timedelta(days=self.give_up_after_days):
            return None
        return now + timedelta(seconds=self.wait_s(attempts, key))
