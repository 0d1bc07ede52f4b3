"""How often somebody may try to sign in or register, counted over moving windows: in memory, or where `limits` can."""

from __future__ import annotations

import hashlib
import math
import time

from limits import RateLimitItem, RateLimitItemPerHour, RateLimitItemPerMinute
from limits.storage import MovingWindowSupport, storage_from_string
from limits.strategies import MovingWindowRateLimiter

from web.problems import Problem
from web.settings import InvalidWebSettings

PER_ADDRESS = RateLimitItemPerMinute(60)
PER_ACCOUNT_AND_ADDRESS = RateLimitItemPerMinute(10, 5)
# Generous on purpose: a stranger trying many addresses slows one account down and never locks it for good.
PER_ACCOUNT = RateLimitItemPerMinute(100, 15)
REGISTRATIONS_PER_ADDRESS = RateLimitItemPerHour(20)
REFRESHES_PER_ADDRESS = RateLimitItemPerMinute(120)


class LoginLimits:
    """Counts attempts per address, per account, and per account from one address. A success clears the last.

    storage_url: where the counts are kept, in the words of `limits`: `memory://` for one process alone,
    `redis://host:6379` for several (the package `redis` must be installed).
    """

    def __init__(self, storage_url: str = "memory://") -> None:
        storage = storage_from_string(storage_url)
        if not isinstance(storage, MovingWindowSupport):
            raise InvalidWebSettings(f"web.limits_url: {storage_url.partition(':')[0]} cannot count moving windows")
        self._limiter = MovingWindowRateLimiter(storage)

    def check_login(self, address: str, account: str) -> None:
        """Count one attempt.

        Raises:
            Problem: 429 with Retry-After when a window is full.
        """
        name = _digest(account)
        self._take(PER_ADDRESS, "address", address)
        self._take(PER_ACCOUNT_AND_ADDRESS, "pair", name, address)
        self._take(PER_ACCOUNT, "account", name)

    def login_succeeded(self, address: str, account: str) -> None:
        """Forget the failed attempts of this account from this address."""
        self._limiter.clear(PER_ACCOUNT_AND_ADDRESS, "pair", _digest(account), address)

    def check_registration(self, address: str) -> None:
        """Count one registration.

        Raises:
            Problem: 429 with Retry-After when the window is full.
        """
        self._take(REGISTRATIONS_PER_ADDRESS, "register", address)

    def check_refresh(self, address: str) -> None:
        """Count one exchange of a refresh token.

        Raises:
            Problem: 429 with Retry-After when the window is full.
        """
        self._take(REFRESHES_PER_ADDRESS, "refresh", address)

    def _take(self, item: RateLimitItem, *identifiers: str) -> None:
        if self._limiter.hit(item, *identifiers):
            return
        reset_time = self._limiter.get_window_stats(item, *identifiers).reset_time
        wait_s = max(1, math.ceil(reset_time - time.time()))
        raise Problem(
            429,
            "too-many-attempts",
            f"Too many attempts. Try again in {wait_s} seconds.",
            headers={"Retry-After": str(wait_s)},
        )


def _digest(account: str) -> str:
    """Short, equal for two spellings of one account, and free of whatever was typed into the field."""
    return hashlib.sha256(account.strip().casefold().encode("utf-8", "replace")).hexdigest()[:32]
