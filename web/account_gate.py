"""Whom a token signs in: the account behind it, asked of the database at most once a second.

In this process a change counts at once; one that another process made (`tumor-node`, a second web process) counts
when the remembered answer is `max_age_s` old.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from storage.errors import NotFound
from storage.users import UserRow
from storage.vocabulary import AccountStatus
from web.tokens import Claims

_MOST = 10_000


class AccountGate:
    """Remembers for `max_age_s` which account a sign-in belongs to and that it holds.

    account: id to account, raises NotFound. sign_in_holds: id to whether it holds.
    """

    def __init__(self, max_age_s: float) -> None:
        self._max_age_s = max_age_s
        self._known: dict[tuple[int, str], tuple[float, UserRow | None]] = {}
        self._lock = threading.Lock()
        self._account: Callable[[int], UserRow] | None = None
        self._holds: Callable[[str], bool] | None = None

    def connect(self, account: Callable[[int], UserRow], sign_in_holds: Callable[[str], bool]) -> None:
        """Say where answers come from: the repositories tell this gate of changes, so they are made after it."""
        self._account, self._holds = account, sign_in_holds

    def forget(self, user_id: int) -> None:
        """Ask anew for this account from now on."""
        with self._lock:
            for key in [key for key in self._known if key[0] == user_id]:
                del self._known[key]

    def remembered(self, claims: Claims) -> tuple[bool, UserRow | None]:
        """Whether the answer is known, and the account that the claims sign in (None: nobody)."""
        with self._lock:
            found = self._known.get((claims.user_id, claims.sign_in_id))
        if found is None or time.monotonic() - found[0] > self._max_age_s:
            return False, None
        return True, _if_current(found[1], claims)

    def find(self, claims: Claims) -> UserRow | None:
        """The account that the claims sign in, asked of the database. None: nobody."""
        assert self._account is not None
        assert self._holds is not None
        asked = time.monotonic()
        try:
            user: UserRow | None = self._account(claims.user_id)
        except NotFound:
            user = None
        if user is not None and (
            user.status is not AccountStatus.ACTIVE or (claims.sign_in_id and not self._holds(claims.sign_in_id))
        ):
            user = None
        with self._lock:
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[claims.user_id, claims.sign_in_id] = asked, user
        return _if_current(user, claims)


def _if_current(user: UserRow | None, claims: Claims) -> UserRow | None:
    return user if user is not None and user.token_version == claims.token_version else None
