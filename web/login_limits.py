"""How often somebody may try to sign in or register, counted over moving windows: in memory, or where `limits` can."""

from __future__ import annotations

import hashlib
import logging
import math
import time

from limits import RateLimitItem, RateLimitItemPerHour, RateLimitItemPerMinute
from limits.errors import ConfigurationError, StorageError
from limits.storage import MemoryStorage, MovingWindowSupport, storage_from_string
from limits.strategies import MovingWindowRateLimiter

from web.problems import Problem
from web.settings import InvalidWebSettings

log = logging.getLogger(__name__)

PER_ADDRESS = RateLimitItemPerMinute(60)
PER_ACCOUNT_AND_ADDRESS = RateLimitItemPerMinute(10, 5)
# Generous on purpose: a stranger trying many addresses slows one account down and never locks it for good.
PER_ACCOUNT = RateLimitItemPerMinute(100, 15)
REGISTRATIONS_PER_ADDRESS = RateLimitItemPerHour(20)
REFRESHES_PER_ADDRESS = RateLimitItemPerMinute(120)
# Two steps a sign-in: the way to the identity provider and the way back.
OIDC_STEPS_PER_ADDRESS = RateLimitItemPerMinute(120)


class LoginLimits:
    """Counts attempts per address, per account, and per account from one address. A success clears the last.

    storage_url: where the counts are kept, in the words of `limits`: `memory://` for one process alone,
    `redis://host:6379` for several (the package `redis` must be installed). While it cannot be reached, each process
    counts for itself: signing in goes on, and so does its limit.

    Raises:
        InvalidWebSettings: a URL that names no such place.
    """

    def __init__(self, storage_url: str = "memory://") -> None:
        kind = storage_url.partition(":")[0]
        try:
            storage = storage_from_string(storage_url, wrap_exceptions=True)
        except (ConfigurationError, ValueError) as error:
            raise InvalidWebSettings(f"web.limits_url: {kind} cannot be used: {type(error).__name__}") from None
        if not isinstance(storage, MovingWindowSupport):
            raise InvalidWebSettings(f"web.limits_url: {kind} cannot count moving windows")
        self._limiter = MovingWindowRateLimiter(storage)
        self._meanwhile = MovingWindowRateLimiter(MemoryStorage())

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
        for limiter in (self._meanwhile, self._limiter):
            try:
                limiter.clear(PER_ACCOUNT_AND_ADDRESS, "pair", _digest(account), address)
            except StorageError as error:
                _away(error)

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

    def check_oidc(self, address: str) -> None:
        """Count one step of a sign-in by the identity provider.

        Raises:
            Problem: 429 with Retry-After when the window is full.
        """
        self._take(OIDC_STEPS_PER_ADDRESS, "oidc", address)

    def _take(self, item: RateLimitItem, *identifiers: str) -> None:
        try:
            full, reset_time = _hit(self._limiter, item, identifiers)
        except StorageError as error:
            _away(error)
            full, reset_time = _hit(self._meanwhile, item, identifiers)
        if not full:
            return
        wait_s = max(1, math.ceil(reset_time - time.time()))
        raise Problem(
            429,
            "too-many-attempts",
            f"Too many attempts. Try again in {wait_s} seconds.",
            headers={"Retry-After": str(wait_s)},
        )


def _hit(limiter: MovingWindowRateLimiter, item: RateLimitItem, identifiers: tuple[str, ...]) -> tuple[bool, float]:
    """Count one; whether the window was full, and then when it has room again, seconds since 1970."""
    if limiter.hit(item, *identifiers):
        return False, 0.0
    return True, limiter.get_window_stats(item, *identifiers).reset_time


def _away(error: StorageError) -> None:
    log.warning("the counts of web.limits_url cannot be reached (%s)", type(error.storage_error).__name__)


def _digest(account: str) -> str:
    """Short, equal for two spellings of one account, and free of whatever was typed into the field."""
    return hashlib.sha256(account.strip().casefold().encode("utf-8", "replace")).hexdigest()[:32]
