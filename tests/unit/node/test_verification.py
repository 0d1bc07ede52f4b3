"""Accepting a run sends its SRs once more, verified, and only what is whole and attributable."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread

from dicom_node.config import NodeConfig
from dicom_node.results.encoders import encode_all
from dicom_node.routing import Routing
from dicom_node.run_inputs import LINT
from dicom_node.store import Store, open_store
from dicom_node.verification import ReviewFollowUp
from storage.lifecycle import ScanEvent
from storage.results import ResultRecord
from storage.vocabulary import DeliveryState, ReviewVerdict, RunState, Source
from tests.mr_series import mr_series
from tests.report_builders import STAMP, evidence_of, full_report

KINDS = ("SEG", "SR", "SR-VIEWER")
ROUTING = Routing(kinds_by_destination={"pacs": ("SR", "SR-VIEWER")}, profiles={"pacs": ("dicom", "ohif")})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(NodeConfig.model_validate({"storage": {"root": tmp_path, "min_free_mb": 0}}))
    yield opened
    opened.database.close()


def done(store: Store) -> str:
    """A run that is done with its objects on disk; the viewer SR has a defect by OHIF's profile."""
    series = mr_series()
    scan = store.scans.create_upload(Source.UPLOAD_NIFTI, user_id=None)
    store.scans.apply_event(scan.id, ScanEvent.COMPLETE)
    run = store.scans.start_run(scan.id, ["a"])
    defects = {}
    for made in encode_all(full_report(series.grid), evidence_of(series), STAMP, KINDS):
        if made.kind == "SR-VIEWER":
            made.dataset.CompletionFlag = "COMPLETE"
            defects[made.sop_instance_uid] = [{"code": "title", "text": "odd", "profiles": ["ohif"]}]
        data = made.to_bytes()
        store.results.upsert(
            ResultRecord(
                run_id=run.id,
                kind=made.kind,
                sop_instance_uid=made.sop_instance_uid,
                sop_class_uid=made.sop_class_uid,
                series_instance_uid=made.series_instance_uid,
                path=store.files.write_result(run.id, f"{made.kind.lower()}.dcm", data),
                size=len(data),
                sha256=hashlib.sha256(data).hexdigest(),
            )
        )
    store.files.write_result(run.id, LINT, json.dumps(defects).encode())
    store.scans.finish_run(run.id, RunState.DONE)
    return run.id


def follow_up(store: Store, organization: str = "St. Elsewhere") -> ReviewFollowUp:
    return ReviewFollowUp(
        reviews=store.reviews,
        results=store.results,
        deliveries=store.deliveries,
        files=store.files,
        routing=ROUTING,
        organization=organization,
    )


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
