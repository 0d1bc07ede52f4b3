"""Accepting a run sends its SRs once more, verified, and only what is whole and attributable."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread

from dicom_node.review_follow_up import ReviewFollowUp
from dicom_node.routing import Routing
from dicom_node.store import Store
from storage.vocabulary import DeliveryState, ReviewVerdict
from tests.unit.node.reviewed_runs import done, opened_store, review_follow_up


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with opened_store(tmp_path) as opened:
        yield opened


ROUTING = Routing(kinds_by_destination={"pacs": ("SR", "SR-VIEWER")}, profiles={"pacs": ("dicom", "ohif")})


def follow_up(store: Store, organization: str = "St. Elsewhere") -> ReviewFollowUp:
    return review_follow_up(store, ROUTING, organization)


def test_what_is_complete_goes_out_again_and_is_held_as_its_source_was(store: Store) -> None:
    run_id = done(store)
    store.reviews.add(run_id, ReviewVerdict.ACCEPTED, reviewer="ada", reviewer_name="Ada Lovelace")
    follow_up(store).tick()
    rows = store.results.of_run(run_id)
    whole = dcmread(store.files.abspath(next(r.path for r in rows if r.kind == "SR"))).CompletionFlag == "COMPLETE"
    amended = [row for row in rows if row.path.endswith("-verified.dcm")]
    assert [row.kind for row in amended] == (["SR", "SR-VIEWER"] if whole else ["SR-VIEWER"])
    assert dcmread(store.files.abspath(amended[-1].path)).VerificationFlag == "VERIFIED"
    last = store.deliveries.of_scan(store.scans.run(run_id).scan_id)[-1]
    assert (last.sop_instance_uid, last.state) == (amended[-1].sop_instance_uid, DeliveryState.HELD)
    assert store.reviews.to_carry_out() == []
    # A second review of the same run amends the node's own document again, not the other person's verification.
    store.reviews.add(run_id, ReviewVerdict.ACCEPTED, reviewer="curie", reviewer_name="Marie Curie")
    follow_up(store).tick()
    assert len(store.results.of_run(run_id)) == len(rows) + len(amended)


def test_nothing_is_owed_where_another_verdict_came_while_the_documents_were_made(store: Store) -> None:
    run_id = done(store)
    accepted = store.reviews.add(run_id, ReviewVerdict.ACCEPTED, reviewer="ada", reviewer_name="Ada Lovelace")
    store.reviews.add(run_id, ReviewVerdict.REJECTED, comment="wrong side", reviewer="curie")
    routing = Routing(kinds_by_destination={"pacs": ("SR-VIEWER",)}, profiles={"pacs": ()})
    review_follow_up(store, routing, "St. Elsewhere").verifications.make(accepted)
    assert [row.path for row in store.results.of_run(run_id) if row.path.endswith("-verified.dcm")] != []
    assert store.deliveries.of_scan(accepted.scan_id) == []


@pytest.mark.parametrize(
    ("verdict", "name", "organization"),
    [
        (ReviewVerdict.ACCEPTED, "Ada Lovelace", ""),
        (ReviewVerdict.ACCEPTED, "", "St. Elsewhere"),
        (ReviewVerdict.REJECTED, "Ada Lovelace", "St. Elsewhere"),
    ],
)
def test_nothing_is_verified_otherwise(store: Store, verdict: ReviewVerdict, name: str, organization: str) -> None:
    run_id = done(store)
    before = store.results.of_run(run_id)
    store.reviews.add(run_id, verdict, comment="x", reviewer="ada", reviewer_name=name)
    follow_up(store, organization).tick()
    assert store.results.of_run(run_id) == before
    assert store.reviews.to_carry_out() == []
