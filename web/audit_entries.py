"""One entry of the audit trail as the API and exports show it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from storage.audit import EventRow
from storage.audit_chain import AUDIT_PREFIX
from web.schema_base import Schema


class AuditEntry(Schema):
    """Who did what, when, from where, and whether it worked. `sha256` seals this entry and all before it."""

    id: int
    at: datetime
    action: str
    outcome: str
    username: str
    user_id: int | None
    address: str
    scan_id: str | None
    details: dict[str, Any]
    sha256: str | None


_OWN = ("outcome", "username", "user_id", "address")


def audit_entry(row: EventRow) -> AuditEntry:
    """Return an entry as the API and the export show it."""
    return AuditEntry(
        id=row.id,
        at=row.at,
        action=row.kind.removeprefix(AUDIT_PREFIX),
        outcome=str(row.data.get("outcome", "success")),
        username=str(row.data.get("username", "")),
        user_id=row.data.get("user_id"),
        address=str(row.data.get("address", "")),
        scan_id=row.scan_id,
        details={name: value for name, value in row.data.items() if name not in _OWN},
        sha256=row.sha256,
    )
