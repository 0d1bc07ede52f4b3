"""Visits as a table and as responses: chains that broke, lesions that merged, tumour that began to enhance."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest

from pipeline.followup import LesionChange, Visit, VisitLesion
from pipeline.longitudinal.compare import Imaged, followed, unmeasured
from pipeline.longitudinal.visits import change_table, joined_to_last, responses
from pipeline.report import ModelIdentity, Report, Segmentation, SkipCode, Skipped, Stage
from pipeline.volume import Grid, SeriesRole, Volume

DAY = date(2026, 1, 5)
FIRST, SAME, NEW, MERGED = LesionChange.FIRST, LesionChange.SAME, LesionChange.NEW, LesionChange.MERGED


def lesion(uid: str, change: LesionChange, volume_ml: float = 10.0, *, product: float = 0.0, **others) -> VisitLesion:
    return VisitLesion(
        tracking_uid=uid,
        number=1,
        change=change,
        volume_ml=volume_ml,
        enhancing_ml=product / 100,
        product_mm2=product,
        measurable=product >= 100,
        **others,
    )


def visit(number: int, *lesions: VisitLesion, after: str | None = "", vanished: tuple[str, ...] = ()) -> Visit:
    return Visit(
        key=f"run{number}",
        study_uid=f"1.{number}",
        day=DAY + timedelta(days=30 * number),
        volumes_ml=dict.fromkeys(("TC", "NCR", "ED"), 0.0)
        | {"WT": sum(one.volume_ml for one in lesions), "ET": sum(one.enhancing_ml for one in lesions)},
        lesions=lesions,
        vanished=vanished,
        after=after,
    )


@pytest.mark.parametrize("after", ["", None])
def test_a_visit_that_could_not_be_aligned_begins_anew(after: str | None) -> None:
    """`after` None: as older releases kept visits."""
    first = visit(1, lesion("a", FIRST, product=900, target=True))
    second = visit(2, lesion("b", FIRST, product=1800, target=True), after=after)
    assert joined_to_last([first, second]) == ((second,), (first,))
    third = visit(3, lesion("b", SAME, product=3600), after="1.2" if after == "" else None)
    joined, apart = joined_to_last([first, second, third])
    assert (joined, apart) == ((second, third), (first,))
    assert [one.category.value for one in responses(joined)] == ["PD", "PD"]


def test_visits_are_joined_by_whom_they_were_laid_on() -> None:
    first = visit(1, lesion("a", FIRST))
    late = visit(2, lesion("c", FIRST))  # analysed after the third, and not to be laid on the first
    third = visit(3, lesion("a", SAME), after="1.1")
    assert joined_to_last([first, late, third]) == ((first, third), (late,))
    assert joined_to_last([]) == ((), ())


def test_a_chain_holds_where_a_visit_between_counts_no_more() -> None:
    first = visit(1, lesion("a", FIRST, product=1000, target=True))
    third = visit(3, lesion("a", SAME, product=450), after="1.2")  # laid on a visit that was rejected since
    fourth = visit(4, lesion("a", SAME, product=440), after="1.3")
    joined, apart = joined_to_last([first, third, fourth])
    assert (joined, apart) == ((first, third, fourth), ())
    assert responses(joined)[0].category.value == "PR"
    other = visit(3, lesion("z", FIRST), after="1.2")
    assert joined_to_last([first, other]) == ((other,), (first,))


def test_of_an_older_release_an_empty_visit_is_joined_where_lesions_vanished() -> None:
    first = visit(1, lesion("a", FIRST), after=None)
    gone, unlinked = visit(2, after=None, vanished=("a",)), visit(2, after=None)
    assert joined_to_last([first, gone]) == ((first, gone), ())
    assert joined_to_last([first, unlinked]) == ((unlinked,), (first,))


def test_what_went_into_a_merged_lesion_is_not_gone() -> None:
    first = visit(1, lesion("a", FIRST, 10.0), lesion("b", FIRST, 8.0), lesion("c", FIRST, 1.0))
    second = visit(2, lesion("a", MERGED, 18.0, from_uids=("a", "b")), after="1.1", vanished=("c",))
    rows = {row.tracking_uid: row for row in change_table([first, second]) if row.tracking_uid}
    assert set(rows) == {"a", "c"}
    assert (rows["a"].previous, rows["a"].current, rows["a"].percent_since_previous) == (18.0, 18.0, 0.0)
    assert (rows["c"].current, rows["c"].percent_since_previous) == (None, -100.0)


def test_enhancement_within_a_lesion_that_had_none_is_progression() -> None:
    visits = [visit(1, lesion("a", FIRST)), visit(2, lesion("a", SAME, product=900), after="1.1")]
    products, volumes = responses(visits)
    assert (products.category.value, volumes.category.value) == ("PD", "PD")
    assert products.arithmetic[1] == "A new measurable enhancing lesion: PD."


def test_what_was_too_small_to_measure_and_grew_is_not_called_stable() -> None:
    visits = [visit(1, lesion("a", FIRST, product=60)), visit(2, lesion("a", SAME, product=900), after="1.1")]
    products, volumes = responses(visits)
    assert products.category.value == "NE"
    assert volumes.category.value == "PD"


def test_a_study_that_was_not_measured_is_no_visit_of_0_ml() -> None:
    grid = Grid(shape=(4, 4, 4), affine=np.eye(4))
    labels = np.zeros(grid.shape, np.uint8)
    labels[1, 1, 1] = 2
    failed = Skipped(stage=Stage.MEASURE, code=SkipCode.STAGE_FAILED, reason="MemoryError: no room")
    model = ModelIdentity(name="made", version="1", task="segmentation", weights_sha256="0" * 64)
    skipped = Skipped(stage=Stage.DETECT, code=SkipCode.MODEL_UNAVAILABLE, reason="no model")
    report = Report(
        roles=(SeriesRole.T1CE,),
        reference_role=SeriesRole.T1CE,
        reference_grid=grid,
        detection=skipped,
        tumour_type=skipped,
        segmentation=Segmentation(labels=labels, grid=grid, model=model),
        measurements=failed,
        lesions=(),
    )
    reference = Volume(voxels=np.zeros(grid.shape, np.float32), grid=grid)
    told = {"new_uid": str, "key": "run2", "study_uid": "1.2", "day": DAY + timedelta(days=60)}
    before = visit(1, lesion("a", FIRST, product=900, target=True))
    found = followed(report, reference, [before], Imaged(reference=reference, labels=labels), **told).follow_up
    assert found is not None
    assert found.note == "not compared: this study has no measurements (MemoryError: no room)"
    assert (found.current.volumes_ml, found.volume, unmeasured(report)) == ({}, None, found.note[29:])
    clear = replace(report, measurements=replace(failed, code=SkipCode.NOTHING_SEGMENTED))
    assert unmeasured(clear) is None
    assert followed(clear, reference, [], None, **told).follow_up.current.volumes_ml["WT"] == 0.0
    none = replace(report, segmentation=skipped, measurements=replace(failed, code=SkipCode.MODEL_UNAVAILABLE))
    assert followed(none, reference, [before], None, **told).follow_up.current.volumes_ml == {}
