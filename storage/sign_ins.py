"""Sign-ins: one row a device, with the one refresh token that still holds. Tokens arrive here hashed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import delete, select, update

from storage.account_tables import SignIn
from storage.clock import Clock, utc_now
from storage.database import Database
from storage.rows import detached
from storage.tables import User


@dataclass(frozen=True, kw_only=True)
class SignInRow:
    """One sign-in. It holds until `expires_at`, unless `ended_at` says when and `ended_by` why it ended before."""

    id: str
    user_id: int
    token_version: int
    address: str
    created_at: datetime
    used_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    ended_by: str


class Rotation(StrEnum):
    """What became of a refresh token that was offered."""

    ROTATED = "rotated"
    REUSED = "reused"
    """It was exchanged before: somebody else has a copy, and the sign-in was ended."""
    ENDED = "ended"
    """The sign-in ended, or the account changed since."""
    UNKNOWN = "unknown"


class SignInRepository:
    """Sign-ins of all accounts. on_change: told the account's id after each sign-in that ends."""

    def __init__(
        self, database: Database, clock: Clock = utc_now, *, on_change: Callable[[int], None] = lambda _: None
    ) -> None:
        self._database = database
        self._clock = clock
        self._on_change = on_change

    def open(
        self,
        sign_in_id: str,
        *,
        user_id: int,
        token_version: int,
        refresh_sha256: str,
        lifetime: timedelta,
        address: str = "",
    ) -> SignInRow:
        """A new sign-in; those of the account that ran out or ended over a day ago are removed."""
        now = self._clock()
        with self._database.write() as session:
            old = now - timedelta(days=1)
            session.execute(delete(SignIn).where(SignIn.user_id == user_id, SignIn.expires_at < old))
            record = SignIn(
                id=sign_in_id,
                user_id=user_id,
                token_version=token_version,
                refresh_sha256=refresh_sha256,
                address=address,
                created_at=now,
                used_at=now,
                expires_at=now + lifetime,
                ended_at=None,
                ended_by="",
            )
            session.add(record)
            session.flush()
            return detached(SignInRow, record)

    def rotate(self, sign_in_id: str, offered_sha256: str, next_sha256: str) -> tuple[Rotation, SignInRow | None]:
        """Exchange the refresh token. A token that was exchanged before ends the sign-in."""
        now = self._clock()
        with self._database.write() as session:
            record = session.get(SignIn, sign_in_id, with_for_update=True)
            if record is None:
                return Rotation.UNKNOWN, None
            if record.ended_at is not None or record.expires_at <= now:
                return Rotation.ENDED, detached(SignInRow, record)
            version = session.scalar(select(User.token_version).where(User.id == record.user_id))
            if record.refresh_sha256 != offered_sha256:
                record.ended_at, record.ended_by = now, "reused refresh token"
                outcome = Rotation.REUSED
            elif version != record.token_version:
                record.ended_at, record.ended_by = now, "account changed"
                outcome = Rotation.ENDED
            else:
                record.refresh_sha256, record.used_at = next_sha256, now
                outcome = Rotation.ROTATED
            session.flush()
            row = detached(SignInRow, record)
        if outcome is not Rotation.ROTATED:
            self._on_change(row.user_id)
        return outcome, row

    def end(self, sign_in_id: str, by: str) -> None:
        """End one sign-in; one that ended before, or is unknown, stays as it is."""
        with self._database.write() as session:
            record = session.get(SignIn, sign_in_id, with_for_update=True)
            if record is None or record.ended_at is not None:
                return
            record.ended_at, record.ended_by = self._clock(), by
            user_id = record.user_id
        self._on_change(user_id)

    def end_all(self, user_id: int, by: str) -> None:
        """End every sign-in of an account."""
        with self._database.write() as session:
            live = (SignIn.user_id == user_id, SignIn.ended_at.is_(None))
            session.execute(update(SignIn).where(*live).values(ended_at=self._clock(), ended_by=by))
        self._on_change(user_id)

    def holds(self, sign_in_id: str) -> bool:
        """True where the sign-in has neither ended nor run out."""
        query = select(SignIn.expires_at).where(SignIn.id == sign_in_id, SignIn.ended_at.is_(None))
        with self._database.read() as session:
            expires_at = session.scalar(query)
        return expires_at is not None and expires_at > self._clock()

    def live(self, user_id: int) -> list[SignInRow]:
        """The sign-ins of an account that hold, the last used first."""
        query = select(SignIn).where(
            SignIn.user_id == user_id, SignIn.ended_at.is_(None), SignIn.expires_at > self._clock()
        )
        with self._database.read() as session:
            return [detached(SignInRow, record) for record in session.scalars(query.order_by(SignIn.used_at.desc()))]
