"""Accounts. Passwords arrive here hashed; the hash is never shown in a representation."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from storage.account_tables import UserIdentity
from storage.clock import Clock, utc_now
from storage.database import Database
from storage.errors import Conflict, NotFound
from storage.identities import Identity
from storage.rows import detached
from storage.tables import User
from storage.vocabulary import AccountStatus, Role

#: What an account's owner may change.
PROFILE_FIELDS = frozenset({"full_name", "title", "department", "institution", "email"})


@dataclass(frozen=True, kw_only=True)
class UserRow:
    """One account. A token is valid only while its version equals `token_version`."""

    id: int
    username: str
    email: str
    hashed_password: str = field(repr=False)
    full_name: str
    title: str
    department: str
    institution: str
    role: Role
    status: AccountStatus
    token_version: int
    created_at: datetime


def normal_username(username: str) -> str:
    """The form in which two usernames are one: NFKC, trimmed, case-folded."""
    return unicodedata.normalize("NFKC", username).strip().casefold()


def normal_email(email: str) -> str:
    """The form in which an address is kept: NFKC, trimmed, lower case."""
    return unicodedata.normalize("NFKC", email).strip().lower()


class UserRepository:
    """Accounts and their rights. on_change: told the account's id after each change."""

    def __init__(
        self, database: Database, clock: Clock = utc_now, *, on_change: Callable[[int], None] = lambda _: None
    ) -> None:
        self._database = database
        self._clock = clock
        self._on_change = on_change

    def create(
        self,
        *,
        username: str,
        email: str,
        hashed_password: str,
        full_name: str = "",
        title: str = "",
        department: str = "",
        institution: str = "",
        role: Role = Role.DOCTOR,
        status: AccountStatus = AccountStatus.PENDING,
        identity: Identity | None = None,
    ) -> UserRow:
        """A new account. identity: who signs it in at an identity provider.

        Raises:
            Conflict: the username or the email is taken; `field` says which.
        """
        user = User(
            username=unicodedata.normalize("NFKC", username).strip(),
            username_key=normal_username(username),
            email=normal_email(email),
            hashed_password=hashed_password,
            full_name=full_name,
            title=title,
            department=department,
            institution=institution,
            role=Role(role).value,
            status=AccountStatus(status).value,
            token_version=1,
            created_at=self._clock(),
        )
        try:
            with self._database.write() as session:
                session.add(user)
                session.flush()
                if identity is not None:
                    session.add(
                        UserIdentity(
                            issuer=identity.issuer,
                            subject=identity.subject,
                            user_id=user.id,
                            created_at=user.created_at,
                        )
                    )
                    session.flush()
                return _row(user)
        except IntegrityError:
            field_name = "email" if self.by_username(username) is None else "username"
            raise Conflict(f"this {field_name} has an account already", field_name) from None

    def by_id(self, user_id: int) -> UserRow:
        """The account. Raises NotFound."""
        with self._database.read() as session:
            user = session.get(User, user_id)
            if user is None:
                raise NotFound("user", user_id)
            return _row(user)

    def by_username(self, username: str) -> UserRow | None:
        """The account of this username, however it is capitalised."""
        return self._find(User.username_key == normal_username(username))

    def by_email(self, email: str) -> UserRow | None:
        """The account of this address, however it is capitalised."""
        return self._find(User.email == normal_email(email))

    def _find(self, condition: Any) -> UserRow | None:
        with self._database.read() as session:
            user = session.scalars(select(User).where(condition)).one_or_none()
            return None if user is None else _row(user)

    def list_users(self, status: AccountStatus | None = None) -> list[UserRow]:
        """Accounts by id, all or of one status."""
        query = select(User).order_by(User.id)
        if status is not None:
            query = query.where(User.status == status.value)
        with self._database.read() as session:
            return [_row(user) for user in session.scalars(query)]

    def count(self, *, role: Role | None = None, status: AccountStatus | None = None) -> int:
        """How many accounts have this role and status (None: any)."""
        query = select(func.count()).select_from(User)
        if role is not None:
            query = query.where(User.role == role.value)
        if status is not None:
            query = query.where(User.status == status.value)
        with self._database.read() as session:
            return session.scalar(query) or 0

    def update_profile(self, user_id: int, **changes: str) -> UserRow:
        """Change `full_name`, `title`, `department`, `institution` or `email`.

        Raises:
            ValueError: another field. Conflict: the email is taken. NotFound.
        """
        refused = set(changes) - PROFILE_FIELDS
        if refused:
            raise ValueError(f"not a field of the profile: {', '.join(sorted(refused))}")
        if "email" in changes:
            changes["email"] = normal_email(changes["email"])
        try:
            return self._change(user_id, changes)
        except IntegrityError:
            raise Conflict("this email has an account already", "email") from None

    def approve(self, user_id: int) -> UserRow:
        """Let a pending account sign in. Raises NotFound."""
        return self.set_status(user_id, AccountStatus.ACTIVE)

    def set_status(self, user_id: int, status: AccountStatus) -> UserRow:
        """Change the status; every token given out before is void. Raises NotFound."""
        return self._change(user_id, {"status": AccountStatus(status).value}, revoke=True)

    def set_role(self, user_id: int, role: Role) -> UserRow:
        """Change what the account may do; every token given out before is void. Raises NotFound."""
        return self._change(user_id, {"role": Role(role).value}, revoke=True)

    def set_password(self, user_id: int, hashed_password: str) -> UserRow:
        """Replace the hash; every token given out before is void. Raises NotFound."""
        return self._change(user_id, {"hashed_password": hashed_password}, revoke=True)

    def revoke_tokens(self, user_id: int) -> UserRow:
        """Sign the account out everywhere. Raises NotFound."""
        return self._change(user_id, {}, revoke=True)

    def _change(self, user_id: int, changes: dict[str, str], *, revoke: bool = False) -> UserRow:
        with self._database.write() as session:
            user = _locked(session, user_id)
            for name, value in changes.items():
                setattr(user, name, value)
            if revoke:
                user.token_version += 1
            session.flush()
            row = _row(user)
        self._on_change(user_id)
        return row


def _locked(session: Session, user_id: int) -> User:
    user = session.get(User, user_id, with_for_update=True)
    if user is None:
        raise NotFound("user", user_id)
    return user


def _row(user: User) -> UserRow:
    return detached(UserRow, user, role=Role(user.role), status=AccountStatus(user.status))
