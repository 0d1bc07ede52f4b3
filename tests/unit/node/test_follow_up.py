"""Two dates of one phantom patient through rows and files: compared, tracked, and shown as a series of dates."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from dicom_node.config import load_config
from dicom_node.follow_up import REFERENCE, FollowUps
from dicom_node.run_inputs import REPORT, SEGMENTATION, report_of
from dicom_node.store import Store, open_store
from pipeline.geometry import RigidTransform
from pipeline.nifti import save_labels, save_volume
from pipeline.report_json import report_to_dict
from storage.lifecycle import ScanEvent
from storage.runs import RunRow
from storage.studies import InstanceRecord
from storage.vocabulary import RunState
from tests.acceptance.followup_campaign import _study, imaged, make_pair
from tests.acceptance.followup_campaign import report_of as measured_report


@pytest.fixture
def store(tmp_path: Path) -> Store:
    config = load_config(None)
    return open_store(config.model_copy(update={"storage": config.storage.model_copy(update={"root": tmp_path})}))


def _started(store: Store, follow_ups: FollowUps, uid: str, day: str, patient: str) -> RunRow:
    record = InstanceRecord(
        sop_instance_uid=f"{uid}.1.1",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.4",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        study_instance_uid=uid,
        series_instance_uid=f"{uid}.1",
        patient_id=patient,
        study_date=day,
        path=f"studies/{uid}.dcm",
        size=1,
        sha256=f"{len(uid):064x}",
        header={},
    )
    scan_id = store.studies.record_instance(record).scan_id
    assert scan_id is not None
    store.scans.apply_event(scan_id, ScanEvent.COMPLETE)
    return store.scans.start_run(scan_id, [record.sop_instance_uid], "models", follow_ups.priors(uid))


def test_a_patients_second_study_is_compared_with_the_first(store: Store) -> None:
    follow_ups = FollowUps(visits=store.visits, studies=store.studies, files=store.files)
    pair = make_pair("swapped", 105)
    turned = RigidTransform.from_parameters((3, -4, 5), (6, -2, 3))
    dates = (("1.2.1", "20250101", pair.first), ("1.2.2", "20250401", pair.second))
    made = []
    for n, (uid, day, lesions) in enumerate(dates):
        run = _started(store, follow_ups, uid, day, "P1")
        assert run.priors == tuple(earlier.id for earlier, _ in made)
        one = imaged(_study(105, lesions, n), turned if n else RigidTransform.identity())
        report = follow_ups.compare(run, uid, measured_report(one), one.reference)
        assert report.follow_up is not None
        follow_ups.keep(run.id, report.follow_up)
        folder = store.files.run_folder(run.id)
        (folder / REPORT).write_text(json.dumps(report_to_dict(report), allow_nan=False))
        save_labels(folder / SEGMENTATION, report.segmentation)
        save_volume(folder / REFERENCE, one.reference)
        store.scans.finish_run(run.id, RunState.DONE)
        made.append((run, report))
    (first_run, first), (second_run, second) = made
    assert first.follow_up.note == "no earlier study of this patient has been analysed here"
    assert first.follow_up.diameters is None
    # Numbers follow volume and change places; identities do not.
    assert [lesion.tracking_uid for lesion in second.lesions] == [
        lesion.tracking_uid for lesion in reversed(first.lesions)
    ]
    assert len({lesion.tracking_uid for lesion in first.lesions}) == 2
    assert second.follow_up.alignment.translation_mm > 3
    assert second.follow_up.volume.category.value in {"SD", "PD", "PR"}
    # The report comes back from its file whole, and a second attempt of the step says the same.
    told = json.loads((store.files.run_folder(second_run.id) / REPORT).read_text())
    read = report_of(store.files.run_folder(second_run.id), told)
    assert read.follow_up == second.follow_up
    again = follow_ups.compare(store.scans.run(second_run.id), "1.2.2", replace(second, follow_up=None), one.reference)
    assert again.follow_up == second.follow_up
    shown = store.visits.timeline("P1")
    assert [(row.run_id, row.study_date) for row in shown] == [
        (first_run.id, "20250101"),
        (second_run.id, "20250401"),
    ]
    assert shown[1].volume["category"] == second.follow_up.volume.category.value
    assert [lesion["change"] for lesion in shown[1].visit["lesions"]] == ["same", "same"]


def test_another_patient_and_a_study_without_patient_id_have_no_priors(store: Store) -> None:
    follow_ups = FollowUps(visits=store.visits, studies=store.studies, files=store.files)
    first = _started(store, follow_ups, "1.3.1", "20250101", "P1")
    store.visits.keep(first.id, {})
    store.scans.finish_run(first.id, RunState.DONE)
    assert _started(store, follow_ups, "1.3.2", "20250401", "P2").priors == ()
    assert _started(store, follow_ups, "1.3.3", "20250401", "").priors == ()
    assert _started(store, follow_ups, "1.3.4", "20250101", "P1").priors == ()
    assert _started(store, follow_ups, "1.3.5", "20250102", "P1").priors == (first.id,)


def test_a_study_waits_for_earlier_ones_on_their_way_and_not_for_ever(store: Store) -> None:
    follow_ups = FollowUps(visits=store.visits, studies=store.studies, files=store.files)
    earlier = _started(store, follow_ups, "1.4.1", "20250101", "P1")
    _started(store, follow_ups, "1.4.2", "20250401", "P1")
    came = store.studies.study("1.4.2").last_received_at
    assert follow_ups.awaited("1.4.2", 900, came) == 1
    assert follow_ups.awaited("1.4.1", 900, came) == 0
    assert follow_ups.awaited("1.4.2", 900, came + timedelta(seconds=900)) == 0
    for event in (ScanEvent.ANALYSED, ScanEvent.REPORTED):
        store.scans.apply_event(earlier.scan_id, event)
    assert follow_ups.awaited("1.4.2", 900, came) == 0
