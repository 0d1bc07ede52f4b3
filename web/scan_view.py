"""Scans as the API and the pages show them, gathered from rows and from the files of the run they show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from pydantic.alias_generators import to_camel

from pipeline.volume import SeriesRole
from storage.audit import MAX_LIMIT
from storage.audit_chain import AUDIT_PREFIX as PREFIX
from storage.scan_pages import LINE_FIELDS, LinePage
from storage.scan_rows import ScanRow
from storage.study_rows import SeriesRow
from web.context import WebContext
from web.delivery_view import deliveries_of, pacs_answers_of
from web.files import available_downloads
from web.result_view import headline
from web.retention_view import retention_of
from web.reviews import reviews_of
from web.schemas import EventOut, ScanDetail, ScanSummary, SeriesOut
from web.shown_runs import shown_run

_EVENTS_SHOWN = 200
#: What a line of the list is called in JSON, in the order of `LINE_FIELDS`.
LINE_NAMES = tuple(to_camel(name) for name in LINE_FIELDS[:-1])


def summary(scan: ScanRow) -> ScanSummary:
    """Return one line of the list."""
    return ScanSummary(**_summary_fields(scan))


def _summary_fields(scan: ScanRow) -> dict[str, Any]:
    names = (
        "id", "patient_id", "patient_name", "scan_date", "status", "progress", "pipeline_step", "waiting_for",
        "created_at", "updated_at", "user_id", "error_code", "error_text",
    )  # fmt: skip
    fields: dict[str, Any] = {name: getattr(scan, name) for name in names}
    return fields | {
        "modalities": list(scan.modalities),
        "source": scan.source.value,
        "finding": scan.finding or (headline(scan.results) if scan.results else None),
    }


def lines(context: WebContext, page: LinePage) -> list[dict[str, Any]]:
    """Return the lines of a page by the names of `ScanSummary`, quicker than by way of it."""
    shown = [dict(zip(LINE_FIELDS, line, strict=True)) for line in page.lines]
    # Results that were kept without their line (by an older release, or taken up again) are read for it.
    bare = [line["id"] for line in shown if line["bare"]]
    results = context.scans.results_of(bare) if bare else {}
    for line in shown:
        del line["bare"]
        if line["id"] in results:
            line["finding"] = headline(results[line["id"]])
    return shown


def page_json(items: Sequence[Mapping[str, Any]], next_cursor: str | None) -> bytes:
    """A `ScanPage` as JSON. What its model would check was read from columns that hold nothing else."""
    return orjson.dumps({"items": items, "nextCursor": next_cursor}, option=orjson.OPT_UTC_Z)


def detail(context: WebContext, scan: ScanRow) -> ScanDetail:
    """Return one scan with its series, deliveries, events and files."""
    series = series_of(context, scan)
    filled = {one.role for one in series} if scan.study_instance_uid else set(scan.modalities)
    run = shown_run(context, scan)
    return ScanDetail(
        **_summary_fields(scan),
        results=scan.results,
        series=series,
        missing_roles=[role for role in SeriesRole if role.value not in filled],
        deliveries=deliveries_of(context, scan.id),
        pacs=pacs_answers_of(context, scan),
        retention=retention_of(context, scan),
        review=reviews_of(context, scan).current,
        events=events_of(context, scan.id),
        downloads=available_downloads(context.files, run.id) if run else [],
    )


def series_of(context: WebContext, scan: ScanRow) -> list[SeriesOut]:
    """Return the received series, those that fill a role first. Empty for an upload of NIfTI."""
    if scan.study_instance_uid is None:
        return []
    counts = Counter(row.series_instance_uid for row in context.studies.instances_of(scan.study_instance_uid))
    order = [role.value for role in SeriesRole]
    shown = [
        _series_out(row, counts[row.series_instance_uid]) for row in context.studies.series_of(scan.study_instance_uid)
    ]
    return sorted(shown, key=lambda one: order.index(one.role) if one.role in order else len(order))


def _series_out(row: SeriesRow, count: int) -> SeriesOut:
    return SeriesOut(
        series_instance_uid=row.series_instance_uid,
        modality=row.modality,
        description=row.series_description,
        instance_count=count,
        role=row.role_override or row.role,
        assigned_role=row.role,
        role_override=row.role_override,
        score=row.role_score,
        reasons=list(row.role_reasons),
        excluded_reason=row.excluded_reason,
    )


def events_after(context: WebContext, scan_id: str, after_id: int) -> list[tuple[int, EventOut]]:
    """Return entries of the scan's own history after one, with their ids, oldest first."""
    rows = context.audit.list(scan_id=scan_id, after_id=min(after_id, 2**31 - 1), limit=MAX_LIMIT)
    return [
        (row.id, EventOut(at=row.at, kind=row.kind, text=row.text)) for row in rows if not row.kind.startswith(PREFIX)
    ]


def events_of(context: WebContext, scan_id: str) -> list[EventOut]:
    """Return the scan's own history, oldest first, without who looked at it."""
    newest = context.audit.list(scan_id=scan_id, limit=MAX_LIMIT, newest_first=True)
    own = [EventOut(at=row.at, kind=row.kind, text=row.text) for row in newest if not row.kind.startswith(PREFIX)]
    return own[:_EVENTS_SHOWN][::-1]
