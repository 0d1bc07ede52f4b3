"""Which account an identity provider's subject signs in."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.exc import IntegrityError

from storage.account_tables import UserIdentity
from storage.clock import Clock, utc_now
from storage.database import Database
from storage.errors import Conflict


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Somebody as a provider knows them: `subject` never changes and is nobody else's at this `issuer`."""

    issuer: str
    subject: str


class IdentityRepository:
    """Identities of all accounts. `UserRepository.create` makes an account and its identity in one transaction."""

    def __init__(self, database: Database, clock: Clock = utc_now) -> None:
        self._database = database
        self._clock = clock

    def account(self, identity: Identity) -> int | None:
        """The id of the account, None for an identity that was never here."""
        with self._database.read() as session:
            record = session.get(UserIdentity, (identity.issuer, identity.subject))
            return None if record is None else record.user_id

    def link(self, identity: Identity, user_id: int) -> None:
        """Let an identity sign in an account from now on.

        Raises:
            Conflict: the identity has an account, or the account another identity of this issuer.
        """
        record = UserIdentity(
            issuer=identity.issuer, subject=identity.subject, user_id=user_id, created_at=self._clock()
        )
        try:
            with self._database.write() as session:
                session.add(record)
        except IntegrityError:
            raise Conflict("this account has another identity, or this identity another account", "identity") from None
