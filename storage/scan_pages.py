"""Pages of the list of scans: filters, and an opaque cursor that says where the last page ended."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal, TypeVarTuple

from sqlalchemy import BindParameter, Integer, Select, and_, bindparam, false, literal, or_, select, tuple_
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import Session, defer
from sqlalchemy.sql.compiler import SQLCompiler

from storage.columns import UtcDateTime
from storage.errors import InvalidQuery
from storage.lifecycle import ScanState
from storage.scan_rows import ScanRow, scan_query, scan_row
from storage.tables import Scan, Study
from storage.vocabulary import Source

Order = Literal["newest", "oldest"]
Ts = TypeVarTuple("Ts")
MAX_LIMIT = 200
MAX_TEXT = 200


@dataclass(frozen=True, kw_only=True)
class ScanFilter:
    """Which scans. Empty means all. `text` is looked for in name, patient ID, study description and accession number.

    `created_from` (included) and `created_to` (not included) are aware times. `deleted`: those that were deleted.

    Raises:
        InvalidQuery: a text over 200 characters or with a NUL, or a status that is no `ScanState`.
    """

    statuses: tuple[ScanState, ...] = ()
    patient_id: str = ""
    text: str = ""
    user_id: int | None = None
    source: Source | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None
    deleted: bool = False

    def __post_init__(self) -> None:
        known = {state.value for state in ScanState}
        if any(status not in known for status in self.statuses):
            raise InvalidQuery(f"status must be one of {', '.join(sorted(known))}", "status")
        for field, value in (("patient_id", self.patient_id), ("text", self.text)):
            if len(value) > MAX_TEXT or "\0" in value:
                raise InvalidQuery(f"{field} must be at most {MAX_TEXT} characters, without NUL", field)
        if self.user_id is not None and not 0 <= self.user_id < 2**31:
            raise InvalidQuery("user_id must be a number of a user", "user_id")
        for field, at in (("created_from", self.created_from), ("created_to", self.created_to)):
            if at is not None and at.tzinfo is None:
                raise InvalidQuery(f"{field} needs a time zone, as in 2026-01-31T08:00:00Z", field)


@dataclass(frozen=True, kw_only=True)
class ScanPage:
    """One page. `next_cursor` is None on the last one."""

    rows: tuple[ScanRow, ...]
    next_cursor: str | None


@dataclass(frozen=True, kw_only=True)
class LinePage:
    """One page of lines: each the values of `LINE_FIELDS`, in that order. `next_cursor` is None on the last page."""

    lines: tuple[tuple[Any, ...], ...]
    next_cursor: str | None


#: What a line of the list holds, in this order. bare: there are results, and no line of them was kept.
LINE_FIELDS = (
    "id", "patient_id", "patient_name", "scan_date", "modalities", "status", "progress", "pipeline_step", "waiting_for",
    "source", "created_at", "updated_at", "user_id", "error_code", "error_text", "finding", "bare",
)  # fmt: skip
_BARE = and_(Scan.finding.is_(None), Scan.run > 0, Scan.results.is_not(None)).label("bare")
_LINE_COLUMNS = (*(getattr(Scan, name) for name in LINE_FIELDS[:-1]), _BARE)
_CREATED_AT = LINE_FIELDS.index("created_at")


def read_page(
    session: Session, cursor: str | None, limit: int, filters: ScanFilter, order: Order, with_results: bool
) -> ScanPage:
    """See `ScanRepository.list_page`."""
    query = _paged(scan_query(), cursor, limit, filters, order)
    if not with_results:
        query = query.options(defer(Scan.results))
    found = session.execute(query).all()
    rows = tuple(scan_row(scan, uid, with_results=with_results) for scan, uid in found[:limit])
    more = len(found) > limit
    return ScanPage(
        rows=rows, next_cursor=encode_cursor(rows[-1].created_at, rows[-1].id, filters, order) if more else None
    )


def read_lines(session: Session, cursor: str | None, limit: int, filters: ScanFilter, order: Order) -> LinePage:
    """See `ScanRepository.list_lines`."""
    query: Select[Any] = select(*_LINE_COLUMNS)
    if filters.text:
        query = query.outerjoin(Study, Scan.study_id == Study.id)
    found = session.connection().execute(_paged(query, cursor, limit, filters, order)).all()
    lines = tuple(tuple(row) for row in found[:limit])
    more = len(found) > limit
    return LinePage(
        lines=lines, next_cursor=encode_cursor(lines[-1][_CREATED_AT], lines[-1][0], filters, order) if more else None
    )


def _paged(query: Select[*Ts], cursor: str | None, limit: int, filters: ScanFilter, order: Order) -> Select[*Ts]:
    if not 1 <= limit <= MAX_LIMIT:
        raise InvalidQuery(f"limit must be between 1 and {MAX_LIMIT}", "limit")
    if order not in ("newest", "oldest"):
        raise InvalidQuery("order must be 'newest' or 'oldest'", "order")
    if cursor is None:
        return _ordered(_filtered(query, filters), order, None, limit + 1)
    at, key = decode_cursor(cursor, filters, order)
    return _ordered(_filtered(query, filters), order, (literal(at, UtcDateTime()), literal(key)), limit + 1)


def _ordered(
    query: Select[*Ts],
    order: Order,
    place: tuple[BindParameter[Any], BindParameter[Any]] | None,
    count: int | BindParameter[int],
) -> Select[*Ts]:
    newest = order == "newest"
    if place is not None:
        # Compared as a pair, both databases go straight to the place in the index, however deep it lies.
        here = tuple_(Scan.created_at, Scan.id)
        query = query.where(here < tuple_(*place) if newest else here > tuple_(*place))
    keys = (Scan.created_at.desc(), Scan.id.desc()) if newest else (Scan.created_at.asc(), Scan.id.asc())
    return query.order_by(*keys).limit(count)


def plain_lines(dialect: Dialect, order: Order, *, placed: bool) -> SQLCompiler:
    """The statement of `read_lines` without filters. Parameters: `count`, and where it is placed `at` and `key`."""
    place = (bindparam("at", type_=UtcDateTime()), bindparam("key", type_=Scan.id.type)) if placed else None
    query: Select[Any] = _filtered(select(*_LINE_COLUMNS), ScanFilter())
    compiled = _ordered(query, order, place, bindparam("count", type_=Integer())).compile(dialect=dialect)
    assert isinstance(compiled, SQLCompiler)
    return compiled


def _filtered(query: Select[*Ts], filters: ScanFilter) -> Select[*Ts]:
    query = query.where(Scan.deleted_at.is_not(None) if filters.deleted else Scan.deleted_at.is_(None))
    if filters.deleted:
        query = query.where(Scan.erased_at.is_(None))
    if filters.statuses:
        query = query.where(Scan.status.in_([str(status) for status in filters.statuses]))
    if filters.patient_id:
        query = query.where(Scan.patient_id == filters.patient_id)
    if filters.user_id is not None:
        query = query.where(Scan.user_id == filters.user_id)
    if filters.source is not None:
        query = query.where(Scan.source == filters.source.value)
    if filters.created_from is not None:
        query = query.where(Scan.created_at >= filters.created_from)
    if filters.created_to is not None:
        query = query.where(Scan.created_at < filters.created_to)
    if filters.text:
        columns = (Scan.patient_name, Scan.patient_id, Study.study_description, Study.accession_number)
        query = query.where(or_(false(), *(column.icontains(filters.text, autoescape=True) for column in columns)))
    return query


@lru_cache(maxsize=64)
def _filter_text(filters: ScanFilter) -> str:
    return json.dumps(asdict(filters), default=str)


def _digest(body: str, filters: ScanFilter, order: Order) -> str:
    # Not a secret: it tells a cut or edited cursor, or one of another list, from one of this list.
    return hashlib.sha256(f"{body}|{order}|{_filter_text(filters)}".encode()).hexdigest()[:16]


def encode_cursor(created_at: datetime, scan_id: str, filters: ScanFilter, order: Order) -> str:
    """The cursor of the page that follows this scan."""
    body = f"{created_at.isoformat()}|{scan_id}"
    return base64.urlsafe_b64encode(f"{_digest(body, filters, order)}|{body}".encode()).decode().rstrip("=")


def decode_cursor(cursor: str, filters: ScanFilter, order: Order) -> tuple[datetime, str]:
    """Where the page begins: time and id of the scan before it. Raises InvalidQuery."""
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
