"""Pages of the list of scans: filters, and an opaque cursor that says where the last page ended."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Select, and_, false, or_
from sqlalchemy.orm import Session, defer

from storage.errors import InvalidQuery
from storage.lifecycle import ScanState
from storage.scan_rows import ScanRow, scan_query, scan_row
from storage.tables import Scan, Study

Order = Literal["newest", "oldest"]
MAX_LIMIT = 200
MAX_TEXT = 200


@dataclass(frozen=True, kw_only=True)
class ScanFilter:
    """Which scans. Empty means all. `text` is looked for in name, patient ID, study description and accession number.

    Raises:
        InvalidQuery: a text over 200 characters or with a NUL, or a status that is no `ScanState`.
    """

    statuses: tuple[ScanState, ...] = ()
    patient_id: str = ""
    text: str = ""
    user_id: int | None = None

    def __post_init__(self) -> None:
        known = {state.value for state in ScanState}
        if any(status not in known for status in self.statuses):
            raise InvalidQuery(f"status must be one of {', '.join(sorted(known))}", "status")
        for field, value in (("patient_id", self.patient_id), ("text", self.text)):
            if len(value) > MAX_TEXT or "\0" in value:
                raise InvalidQuery(f"{field} must be at most {MAX_TEXT} characters, without NUL", field)
        if self.user_id is not None and not 0 <= self.user_id < 2**31:
            raise InvalidQuery("user_id must be a number of a user", "user_id")


@dataclass(frozen=True, kw_only=True)
class ScanPage:
    """One page. `next_cursor` is None on the last one."""

    rows: tuple[ScanRow, ...]
    next_cursor: str | None


def read_page(
    session: Session, cursor: str | None, limit: int, filters: ScanFilter, order: Order, with_results: bool
) -> ScanPage:
    """See `ScanRepository.list_page`."""
    if not 1 <= limit <= MAX_LIMIT:
        raise InvalidQuery(f"limit must be between 1 and {MAX_LIMIT}", "limit")
    if order not in ("newest", "oldest"):
        raise InvalidQuery("order must be 'newest' or 'oldest'", "order")
    query = _filtered(filters)
    if not with_results:
        query = query.options(defer(Scan.results))
    newest = order == "newest"
    if cursor is not None:
        at, key = _decode(cursor, filters, order)
        beyond = (Scan.created_at < at, Scan.id < key) if newest else (Scan.created_at > at, Scan.id > key)
        query = query.where(or_(beyond[0], and_(Scan.created_at == at, beyond[1])))
    keys = (Scan.created_at.desc(), Scan.id.desc()) if newest else (Scan.created_at.asc(), Scan.id.asc())
    found = session.execute(query.order_by(*keys).limit(limit + 1)).all()
    rows = tuple(scan_row(scan, uid, with_results=with_results) for scan, uid in found[:limit])
    return ScanPage(rows=rows, next_cursor=_encode(rows[-1], filters, order) if len(found) > limit else None)


def _filtered(filters: ScanFilter) -> Select[Scan, str | None]:
    query = scan_query()
    if filters.statuses:
        query = query.where(Scan.status.in_([str(status) for status in filters.statuses]))
    if filters.patient_id:
        query = query.where(Scan.patient_id == filters.patient_id)
    if filters.user_id is not None:
        query = query.where(Scan.user_id == filters.user_id)
    if filters.text:
        columns = (Scan.patient_name, Scan.patient_id, Study.study_description, Study.accession_number)
        query = query.where(or_(false(), *(column.icontains(filters.text, autoescape=True) for column in columns)))
    return query


def _digest(body: str, filters: ScanFilter, order: Order) -> str:
    # Not a secret: it tells a cut or edited cursor, or one of another list, from one of this list.
    return hashlib.sha256(f"{body}|{order}|{json.dumps(asdict(filters))}".encode()).hexdigest()[:16]


def _encode(last: ScanRow, filters: ScanFilter, order: Order) -> str:
    body = f"{last.created_at.isoformat()}|{last.id}"
    return base64.urlsafe_b64encode(f"{_digest(body, filters, order)}|{body}".encode()).decode().rstrip("=")


def _decode(cursor: str, filters: ScanFilter, order: Order) -> tuple[datetime, str]:
    refused = InvalidQuery("the cursor is not one of this list: begin at the first page", "cursor")
    if len(cursor) > 400:
        raise refused
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("utf-8")
        digest, body = text.split("|", 1)
        at, key = body.split("|", 1)
        if digest != _digest(body, filters, order):
            raise refused
        return datetime.fromisoformat(at), key
    except (binascii.Error, ValueError, UnicodeError):
        raise refused from None
