"""A scan in delivery ends, or waits, by what its deliveries have come to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dicom_node.closing import close_delivered
from dicom_node.config import NodeConfig
from dicom_node.store import Store, open_store
from storage.lifecycle import ScanEvent, ScanState
from storage.results import ResultRecord
from storage.review_consequences import OUTDATED, OUTDATED_HELD, REJECTED
from storage.vocabulary import DeliveryState, ReviewVerdict, RunState, Source


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    config = NodeConfig.model_validate({"storage": {"root": tmp_path, "min_free_mb": 0}})
    opened = open_store(config)
    yield opened
    opened.database.close()


def published(store: Store, *, waits: bool) -> tuple[str, str]:
    """A scan in delivery whose SEG is owed to, or waits for, one PACS."""
    scan = store.scans.create_upload(Source.UPLOAD_NIFTI, user_id=None)
    store.scans.apply_event(scan.id, ScanEvent.COMPLETE)
    return scan.id, done(store, scan.id, "a", waits=waits)


def done(store: Store, scan_id: str, inputs: str, *, waits: bool = False) -> str:
    """A run of these inputs with one SEG, published."""
    run = store.scans.start_run(scan_id, [inputs])
    store.scans.finish_run(run.id, RunState.DONE)
    kept = store.results.upsert(
        ResultRecord(
            run_id=run.id,
            kind="SEG",
            sop_instance_uid=f"2.25.{run.number}",
            sop_class_uid="1.2",
            series_instance_uid="2.25.2",
            path="x",
            size=1,
            sha256="0" * 64,
        )
    )
    if waits:
        store.reviews.hold_back(kept.id, ["pacs"])
    else:
        store.deliveries.owe(kept.id, ["pacs"])
    store.reviews.supersede(run.id)
    for event in (ScanEvent.ANALYSED, ScanEvent.REPORTED):
        store.scans.apply_event(scan_id, event)
    return run.id


def closed(store: Store, scan_id: str) -> tuple[ScanState, str | None]:
    close_delivered(store.scans, store.deliveries, store.reviews)
    scan = store.scans.get(scan_id)
    return scan.status, scan.error_code


def test_what_waits_for_a_review_is_sent_after_it(store: Store) -> None:
    scan_id, run_id = published(store, waits=True)
    assert closed(store, scan_id) == (ScanState.AWAITING_REVIEW, None)
    store.reviews.add(run_id, ReviewVerdict.ACCEPTED, reviewer="ada")
    assert closed(store, scan_id) == (ScanState.DELIVERING, None)
    (row,) = store.deliveries.due()
    store.deliveries.mark_sent(row.id)
    assert closed(store, scan_id) == (ScanState.DELIVERED, None)
    assert store.audit.list(scan_id=scan_id)[-1].text == "delivered to pacs"


def test_what_is_rejected_on_its_way_ends_as_rejected_unless_something_was_sent(store: Store) -> None:
    scan_id, run_id = published(store, waits=False)
    store.reviews.add(run_id, ReviewVerdict.REJECTED, comment="no tumour", reviewer="ada")
    assert closed(store, scan_id) == (ScanState.FAILED, REJECTED)
    store.reviews.add(run_id, ReviewVerdict.ACCEPTED, reviewer="ada")
    (row,) = store.deliveries.due()
    store.deliveries.mark_sent(row.id)
    store.reviews.add(run_id, ReviewVerdict.REJECTED, comment="no tumour", reviewer="ada")
    assert closed(store, scan_id) == (ScanState.DELIVERED, None)


def test_what_was_refused_or_held_of_an_earlier_run_neither_fails_the_scan_nor_is_sent_after_the_later(
    store: Store,
) -> None:
    scan_id, first = published(store, waits=False)
    (row,) = store.deliveries.due()
    store.deliveries.hold(row.result_object_id, "viewer", "held, not sent: title: odd")
    store.deliveries.mark_failed(row.id, None, "status 0xC000")
    assert closed(store, scan_id) == (ScanState.FAILED, "delivery-refused")
    store.scans.apply_event(scan_id, ScanEvent.RETRY)
    second = done(store, scan_id, "b")
    (later,) = store.deliveries.due()
    assert later.run_id == second
    store.deliveries.mark_sent(later.id)
    assert closed(store, scan_id) == (ScanState.DELIVERED, None)
    assert store.audit.list(scan_id=scan_id)[-1].text == "delivered to pacs"
    assert [(one.run_id, one.state, one.last_error) for one in store.deliveries.of_scan(scan_id)] == [
        (first, DeliveryState.REPLACED, f"{OUTDATED}status 0xC000"),
        (first, DeliveryState.REPLACED, f"{OUTDATED_HELD}held, not sent: title: odd"),
        (second, DeliveryState.SENT, ""),
    ]
    assert store.deliveries.dead_letters() == []
    store.reviews.supersede(first)  # as where it is shown again: a review withholds it
    assert [(one.state, one.last_error) for one in store.deliveries.of_scan(scan_id)[:2]] == [
        (DeliveryState.FAILED, "status 0xC000"),
        (DeliveryState.HELD, "held, not sent: title: odd"),
    ]


def test_a_refusal_that_came_after_the_later_run_concerns_neither_the_scan_nor_run_again(store: Store) -> None:
    scan_id, _ = published(store, waits=False)
    (early,) = store.deliveries.due()
    store.scans.apply_event(scan_id, ScanEvent.FAIL)
    store.scans.apply_event(scan_id, ScanEvent.RETRY)
    done(store, scan_id, "b")
    (later,) = store.deliveries.due()
    store.deliveries.mark_sent(later.id)
    store.deliveries.mark_failed(early.id, None, "status 0xC000")
    assert closed(store, scan_id) == (ScanState.DELIVERED, None)
    assert store.deliveries.dead_letters() == []
    assert store.deliveries.owe_again(scan_id) == 0
