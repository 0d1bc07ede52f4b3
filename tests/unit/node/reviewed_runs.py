"""A run that is done, with real objects on disk, and what follows from its reviews."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dicom_node.config import NodeConfig
from dicom_node.rejection import RejectionNotes
from dicom_node.results.encoders import encode_all
from dicom_node.review_follow_up import ReviewFollowUp
from dicom_node.routing import Routing
from dicom_node.run_inputs import LINT
from dicom_node.store import Store, open_store
from dicom_node.verification import Verifications
from storage.clock import Clock, utc_now
from storage.lifecycle import ScanEvent
from storage.results import ResultRecord
from storage.vocabulary import RunState, Source
from tests.mr_series import mr_series
from tests.report_builders import STAMP, evidence_of, full_report

KINDS = ("SEG", "SR", "SR-VIEWER")


@contextmanager
def opened_store(root: Path, clock: Clock = utc_now) -> Iterator[Store]:
    opened = open_store(NodeConfig.model_validate({"storage": {"root": root, "min_free_mb": 0}}), clock)
    try:
        yield opened
    finally:
        opened.database.close()


def done(store: Store, model_digest: str = "", **identity: str) -> str:
    """A run that is done with its objects on disk; the viewer SR has a defect by OHIF's profile.

    identity: values by keyword that the source's headers hold instead of the usual ones.
    """
    series = mr_series()
    for dataset in series.datasets:
        for keyword, value in identity.items():
            setattr(dataset, keyword, value)
    scan = store.scans.create_upload(Source.UPLOAD_NIFTI, user_id=None)
    store.scans.apply_event(scan.id, ScanEvent.COMPLETE)
    run = store.scans.start_run(scan.id, ["a"], model_digest)
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


def review_follow_up(store: Store, routing: Routing, organization: str = "", clock: Clock = utc_now) -> ReviewFollowUp:
    parts = {"results": store.results, "deliveries": store.deliveries, "files": store.files, "routing": routing}
    return ReviewFollowUp(
        reviews=store.reviews,
        verifications=Verifications(organization=organization, **parts),  # type: ignore[arg-type]
        rejections=RejectionNotes(clock=clock, **parts),  # type: ignore[arg-type]
    )
