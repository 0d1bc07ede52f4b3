"""Uploads that were sent under a key of their sender's: sent again after a broken answer, one is taken once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import delete
from sqlalchemy.orm import Session

from storage.account_tables import KnownUpload
from storage.clock import Clock, utc_now
from storage.database import Database

#: How long a key is remembered, and how long a first attempt that died may block it.
REMEMBERED = timedelta(hours=24)
_DIED = timedelta(minutes=30)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What is known of a key. `mine`: the caller takes the upload now. Else `answer` is the first one's, None where it
    is still under way; `same` tells whether the first one was this very request."""

    mine: bool
    same: bool = True
    answer: dict[str, Any] | None = None


class KnownUploadRepository:
    """Keys of uploads, an account's own."""

    def __init__(self, database: Database, clock: Clock = utc_now) -> None:
        self._database = database
        self._clock = clock

    def claim(self, user_id: int, key: str, fingerprint: str) -> Claim:
        """Take a key, or learn what became of the request that took it. fingerprint: tells two requests apart."""
        now = self._clock()

        def work(session: Session) -> Claim:
            session.execute(delete(KnownUpload).where(KnownUpload.at < now - REMEMBERED))
            record = session.get(KnownUpload, (user_id, key), with_for_update=True)
            if record is not None and record.answer is None and record.at < now - _DIED:
                session.delete(record)
                session.flush()
                record = None
            if record is not None:
                return Claim(mine=False, same=record.fingerprint == fingerprint, answer=record.answer)
            session.add(KnownUpload(user_id=user_id, key=key, fingerprint=fingerprint, at=now, answer=None))
            session.flush()
            return Claim(mine=True)

        return self._database.run(work)

    def settle(self, user_id: int, key: str, answer: dict[str, Any] | None) -> None:
        """Keep the answer for whoever sends the same again; None (it was refused) gives the key back."""
        with self._database.write() as session:
            record = session.get(KnownUpload, (user_id, key), with_for_update=True)
            if record is None:
                return
            if answer is None:
                session.delete(record)
            else:
                record.answer = answer
