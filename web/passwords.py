"""Passwords: what is accepted, how it is kept, and a check that costs the same for accounts that do not exist."""

from __future__ import annotations

import unicodedata

import bcrypt

MINIMUM_CHARACTERS = 10
MAXIMUM_BYTES = 72
DEFAULT_ROUNDS = 12


class PasswordRefused(ValueError):
    """A password that cannot be used. The message says why and never repeats the password."""


def _as_bytes(password: str) -> bytes:
    """NFC bytes, so that 'é' typed on two keyboards is one password.

    Raises:
        PasswordRefused: a NUL (bcrypt would stop there), more than 72 bytes (bcrypt would ignore the rest), or text
            that is no Unicode.
    """
    try:
        encoded = unicodedata.normalize("NFC", password).encode("utf-8")
    except UnicodeEncodeError as error:
        raise PasswordRefused("the password holds characters that are not valid Unicode") from error
    if b"\0" in encoded:
        raise PasswordRefused("the password holds a NUL character; leave it out")
    if len(encoded) > MAXIMUM_BYTES:
        raise PasswordRefused(
            f"the password is {len(encoded)} bytes long, at most {MAXIMUM_BYTES} can be used; choose a shorter one"
        )
    return encoded


def check_new_password(password: str) -> None:
    """Accept a password for a new account or a change.

    Raises:
        PasswordRefused: under 10 characters, over 72 bytes of UTF-8, or holding a NUL.
    """
    encoded = _as_bytes(password)
    if len(encoded.decode("utf-8")) < MINIMUM_CHARACTERS:
        raise PasswordRefused(f"the password needs at least {MINIMUM_CHARACTERS} characters")


class PasswordHasher:
    """bcrypt with a fixed cost.

    rounds: log2 of the work; 12 takes about a quarter of a second. Tests use 4.
    """

    def __init__(self, rounds: int = DEFAULT_ROUNDS) -> None:
        self._rounds = rounds
        self._nobody = bcrypt.hashpw(b"no account has this password", bcrypt.gensalt(rounds))

    def hash(self, password: str) -> str:
        """Return the bcrypt hash of a new password.

        Raises:
            PasswordRefused: as `check_new_password`.
        """
        check_new_password(password)
        return bcrypt.hashpw(_as_bytes(password), bcrypt.gensalt(self._rounds)).decode("ascii")

    def verify(self, password: str, hashed: str | None) -> bool:
        """Check a password against a hash; None (no such account) takes the same time and is False.

        Raises:
            PasswordRefused: a password that no account can have (over 72 bytes, or holding a NUL).
        """
        encoded = _as_bytes(password)
        matches = bcrypt.checkpw(encoded, self._nobody if hashed is None else hashed.encode("ascii"))
        return matches and hashed is not None
