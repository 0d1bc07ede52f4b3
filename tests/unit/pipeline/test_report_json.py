"""A report leaves as JSON and comes back the same; a wrong one is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from pipeline.anatomy import BidimensionalLesion, BrainFacts, BrainRegion, Extent, Place, Side
from pipeline.measurements import measure
from pipeline.report import (
    Finding,
    Flag,
    ModelChoice,
    ModelIdentity,
    RegistrationResult,
    Report,
    Segmentation,
    SkipCode,
    Skipped,
    Stage,
    StageTiming,
)
from pipeline.report_json import ReportUnreadable, identity_from_dict, report_from_dict, report_to_dict
from pipeline.volume import Grid, SeriesRole

IDENTITY = ModelIdentity(name="m", version="1", task="detection", weights_sha256="0" * 64)
GRID = Grid(shape=(6, 6, 6), affine=np.diag([1.0, 2.0, 3.0, 1.0]))
EXTENT = Extent(
    low_mm=(0.5, 1.0, 4.5),
    high_mm=(3.5, 7.0, 7.5),
    subject="TC",
    maximum_diameter_mm=7.25,
    from_mm=(0.5, 1.0, 6.0),
    to_mm=(3.5, 7.0, 6.0),
    surface_cm2=0.75,
)
PLACE = Place(
    side=Side.RIGHT,
    region=BrainRegion.INSULA,
    region_sureness=0.5,
    distance_to_midline_mm=30.0,
    also=(BrainRegion.FRONTAL,),
)
BIDIMENSIONAL = BidimensionalLesion(
    lesion=1,
    longest_mm=12.0,
    perpendicular_mm=10.0,
    product_mm2=120.0,
    measurable=True,
    target=True,
    least_mm=10.0,
    slice_index=2,
    z_mm=6.0,
)


def _segmentation(fill=4):
    labels = np.zeros(GRID.shape, np.uint8)
    labels[1:4, 1:4, 2] = fill
    return Segmentation(labels=labels, grid=GRID, model=IDENTITY)


def _report(segmentation):
    skipped = isinstance(segmentation, Skipped)
    measurements, lesions = (segmentation, ()) if skipped else measure(segmentation)
    lesions = tuple(replace(lesion, extent=EXTENT, place=PLACE, tracking_uid="2.25.7") for lesion in lesions)
    return Report(
        roles=(SeriesRole.T1, SeriesRole.T1CE),
        reference_role=SeriesRole.T1CE,
        reference_grid=GRID,
        detection=Finding(
            stage=Stage.DETECT,
            value="tumour",
            probability=0.75,
            probabilities={"tumour": 0.75, "no tumour": 0.25},
            basis="a rule",
            role=SeriesRole.T1CE,
            model=IDENTITY,
            slice_probabilities=((1.0, 0.5), (2.0, 0.75)),
        ),
        tumour_type=Skipped(stage=Stage.CLASSIFY, code=SkipCode.MODEL_UNAVAILABLE, reason="none"),
        segmentation=segmentation,
        measurements=measurements,
        lesions=lesions,
        brain=BrainFacts(volume_ml=1400.0, tumour_share=0.02, lesion_count=1, midline_shift_mm=-1.5),
        bidimensional=(BIDIMENSIONAL,),
        registrations=(
            RegistrationResult(
                role=SeriesRole.T1,
                rotation_deg=1.0,
                translation_mm=2.0,
                overlap=0.9,
                similarity_before=0.5,
                similarity_after=1.5,
            ),
        ),
        flags=(Flag(code="a", text="b"),),
        timings=(StageTiming(stage=Stage.PREPARE, seconds=1.5, peak_memory_mb=300.0),),
    )


@pytest.mark.parametrize(
    "segmentation",
    [_segmentation(), Skipped(stage=Stage.SEGMENT, code=SkipCode.ROLE_MISSING, reason="no FLAIR")],
    ids=["segmented", "skipped"],
)
def test_a_report_comes_back_equal(segmentation):
    report = _report(segmentation)
    written = json.loads(json.dumps(report_to_dict(report), allow_nan=False))
    read = report_from_dict(written, segmentation if isinstance(segmentation, Segmentation) else None)
    assert report_to_dict(read) == written
    for name in ("roles", "reference_role", "detection", "tumour_type", "segmentation", "measurements", "lesions"):
        assert getattr(read, name) == getattr(report, name)
    for name in ("registrations", "flags", "timings", "notice", "brain", "bidimensional"):
        assert getattr(read, name) == getattr(report, name)
    assert read.reference_grid.same_as(GRID)


def test_choices_and_an_ensembles_members_come_back():
    members = tuple(replace(IDENTITY, name=name, weights_sha256=name * 64) for name in "ab")
    both = replace(_segmentation(), model=replace(IDENTITY, name="both", members=members))
    choice = ModelChoice(stage=Stage.SEGMENT, model="both", version="1", reason="the only one", mode="ab")
    report = replace(_report(both), choices=(choice,))
    written = json.loads(json.dumps(report_to_dict(report), allow_nan=False))
    read = report_from_dict(written, both)
    assert read.choices == report.choices
    assert identity_from_dict(written["segmentation"]["model"]) == both.model
    assert "members" not in written["detection"]["model"]
    del written["choices"]
    assert report_from_dict(written, both).choices == ()


def test_the_segmentation_is_its_model_and_volumes():
    values = report_to_dict(_report(_segmentation()))["segmentation"]
    assert values["label_volumes_ml"] == pytest.approx({"NCR": 0, "ED": 0, "ET": 9 * 6 / 1000})
    assert values["model"]["name"] == "m"


def test_wrong_voxels_are_refused():
    values = report_to_dict(_report(_segmentation()))
    other_grid = Grid(shape=GRID.shape, affine=np.diag([1.0, 2.0, 4.0, 1.0]))
    for wrong in (
        None,
        _segmentation(fill=2),
        Segmentation(labels=_segmentation().labels, grid=other_grid, model=IDENTITY),
    ):
        with pytest.raises(ReportUnreadable):
            report_from_dict(values, wrong)


def test_another_version_or_a_missing_field_is_refused():
    values = report_to_dict(_report(_segmentation()))
    with pytest.raises(ReportUnreadable, match="version"):
        report_from_dict(values | {"schema_version": 99}, _segmentation())
    values.pop("roles")
    with pytest.raises(ReportUnreadable, match="roles"):
        report_from_dict(values, _segmentation())


def test_intervals_and_calibration_come_back_and_old_reports_have_none():
    segmentation = _segmentation()
    report = _report(segmentation)
    ranged = tuple(
        replace(one, low=one.value / 2, high=one.value * 2) if one.subject == "ET" and one.unit == "mL" else one
        for one in report.measurements
    )
    report = replace(report, measurements=ranged, detection=replace(report.detection, calibration_error=0.03))
    written = json.loads(json.dumps(report_to_dict(report), allow_nan=False))
    read = report_from_dict(written, segmentation)
    assert (read.measurements, read.detection) == (report.measurements, report.detection)
    assert {"low" in value for value in written["measurements"]["values"]} == {True, False}
    del written["detection"]["calibration_error"]
    assert report_from_dict(written, segmentation).detection.calibration_error is None
