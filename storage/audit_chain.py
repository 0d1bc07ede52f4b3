"""The audit trail: events whose kind begins with `audit.`, each sealed with the SHA-256 of itself and the one before.

Who holds an old seal (`tumor-node audit verify` prints the last) can later show that nothing before it was changed,
taken out or put in between. The seals are no defence against somebody who rewrites all of them: keep some elsewhere.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from storage.account_tables import AuditHead
from storage.columns import to_json
from storage.database import Database
from storage.tables import Event
from storage.transitions import add_event

#: Kinds of the events that belong to the trail begin with this; the scan's own history does not.
AUDIT_PREFIX = "audit."
_HEAD = 1
_BEFORE_THE_FIRST = ""
_BLOCK = 1000


@dataclass(frozen=True, kw_only=True)
class ChainReport:
    """What a check of the trail found. `fault`: the first thing that is wrong, '' where nothing is.

    `unsealed`: entries of a release that did not seal them yet; they can only stand before the first sealed one.
    """

    sealed: int
    unsealed: int
    last_sha256: str
    fault: str

    @property
    def ok(self) -> bool:
        """True where every entry is as it was written and none is missing."""
        return not self.fault


def seal(previous: str, at: datetime, kind: str, text: str, scan_id: str | None, data: dict[str, Any]) -> str:
    """The SHA-256 of one entry and of the seal before it. `at` is aware UTC; `data` as the database gives it back."""
    entry = [previous, at.isoformat(), kind, text, scan_id, data]
    return hashlib.sha256(json.dumps(entry, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def add_sealed(
    session: Session, scan_id: str | None, kind: str, text: str, now: datetime, data: dict[str, Any] | None
) -> Event:
    """Add one entry to the trail. The head's row is locked, so that entries of several processes form one chain."""
    head = session.get(AuditHead, _HEAD, with_for_update=True)
    if head is None:
        head = AuditHead(id=_HEAD, entries=0, event_id=0, sha256=_BEFORE_THE_FIRST)
        session.add(head)
        session.flush()  # a second process that adds the first row too loses here, and tries again
    event = add_event(session, scan_id, kind, text, now, json.loads(to_json(data or {})))
    event.sha256 = seal(head.sha256, now, kind, event.text, scan_id, event.data)
    session.flush()
    head.entries, head.event_id, head.sha256 = head.entries + 1, event.id, event.sha256
    return event


def verify(database: Database, expected_sha256: str | None = None) -> ChainReport:
    """Check every seal from the first to the head. expected_sha256: a seal kept elsewhere that must be in the chain."""
    with database.read() as session:
        sealed = unsealed = 0
        previous, last_id, seen = _BEFORE_THE_FIRST, 0, expected_sha256 is None
        fault = ""
        for event in _entries(session):
            if event.sha256 is None:
                unsealed += 1
                if sealed:
                    fault = fault or f"entry {event.id} has no seal and stands between sealed ones"
                continue
            sealed += 1
            wanted = seal(previous, event.at, event.kind, event.text, event.scan_id, event.data)
            if wanted != event.sha256:
                fault = fault or f"entry {event.id} was changed, or one before it was taken out or put in"
            previous, last_id = event.sha256, event.id
            seen = seen or event.sha256 == expected_sha256
        head = session.get(AuditHead, _HEAD)
        if not fault and head is not None and (head.entries, head.event_id, head.sha256) != (sealed, last_id, previous):
            fault = f"the last entries are missing: {head.entries} were written, {sealed} are here"
        if not fault and head is None and sealed:
            fault = "the record of the last entry is missing"
        if not fault and not seen:
            fault = "the expected seal is not in this trail: it was written anew"
        return ChainReport(sealed=sealed, unsealed=unsealed, last_sha256=previous, fault=fault)


def _entries(session: Session) -> Iterator[Any]:
    after = 0
    columns = (Event.id, Event.at, Event.kind, Event.text, Event.scan_id, Event.data, Event.sha256)
    belongs = or_(Event.sha256.is_not(None), Event.kind.startswith(AUDIT_PREFIX))
    while block := session.execute(
        select(*columns).where(Event.id > after, belongs).order_by(Event.id).limit(_BLOCK)
    ).all():
        yield from block
        after = block[-1].id
