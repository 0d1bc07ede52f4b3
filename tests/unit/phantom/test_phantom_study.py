from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from dicom_node.phantom.fields import moved
from dicom_node.phantom.lesions import ED, ET, NCR
from dicom_node.phantom.series import Clutter
from dicom_node.phantom.study import PhantomStudy, make_study
from dicom_node.phantom.timepoints import changed, follow_up
from pipeline.volume import SeriesRole


@pytest.fixture(scope="module")
def study() -> PhantomStudy:
    return make_study(21, "siemens", size="small", motion_mm=8.0, motion_deg=6.0)


def test_every_series_is_on_its_own_grid(study: PhantomStudy) -> None:
    normals = {role: study.of_role(role).volume.grid.affine[:3, 2] for role in SeriesRole}
    unit = {role: n / np.linalg.norm(n) for role, n in normals.items()}
    assert unit[SeriesRole.T1] == pytest.approx([1, 0, 0])
    assert unit[SeriesRole.T1CE] == pytest.approx([0, 0, 1])
    assert unit[SeriesRole.T2] == pytest.approx([0, 0, 1])
    assert 10 <= np.degrees(np.arccos(unit[SeriesRole.FLAIR] @ (0, 0, 1))) <= 15
    for role in (SeriesRole.T2, SeriesRole.FLAIR):
        stack = study.of_role(role).stacks[0]
        assert stack.grid.spacing_mm[2] > stack.thickness_mm  # gaps


def test_contrast_of_the_images_themselves(study: PhantomStudy) -> None:
    mean = {}
    for role in SeriesRole:
        series = study.of_role(role)
        labels = study.truth_of(series)
        voxels = series.volume.voxels
        brain = study.head.brain_mask_on(moved(series.volume.grid, np.linalg.inv(series.motion))) > 0
        mean[role] = {label: float(np.median(voxels[labels == label])) for label in (NCR, ED, ET)}
        mean[role][0] = float(np.median(voxels[brain & (labels == 0)]))
    assert mean[SeriesRole.T1CE][ET] > 1.3 * mean[SeriesRole.T1CE][0]
    assert mean[SeriesRole.T1][ET] < mean[SeriesRole.T1][0] * 1.05
    assert mean[SeriesRole.FLAIR][ED] > 1.2 * mean[SeriesRole.FLAIR][0]
    assert mean[SeriesRole.T2][ED] > 1.2 * mean[SeriesRole.T2][0]
    assert mean[SeriesRole.T1CE][NCR] < mean[SeriesRole.T1CE][ET]


def test_true_motion_takes_each_series_back_to_the_head(study: PhantomStudy) -> None:
    still = make_study(21, "siemens", size="small", clutter=False, motion_mm=0.0, motion_deg=0.0)
    assert study.of_role(SeriesRole.T1CE).motion == pytest.approx(np.eye(4))
    for role in (SeriesRole.T1, SeriesRole.FLAIR):
        series, rest = study.of_role(role), still.of_role(role)
        grid = rest.volume.grid
        assert grid.same_as(series.volume.grid)
        back = np.linalg.inv(grid.affine) @ series.motion @ grid.affine
        corrected = ndimage.affine_transform(series.volume.voxels, back[:3, :3], back[:3, 3], order=1)
        inside = study.head.brain_mask_on(grid) > 0
        inside &= ndimage.affine_transform(np.ones(grid.shape), back[:3, :3], back[:3, 3], order=1) > 0.99
        uncorrected = np.corrcoef(series.volume.voxels[inside], rest.volume.voxels[inside])[0, 1]
        assert np.corrcoef(corrected[inside], rest.volume.voxels[inside])[0, 1] > max(0.75, uncorrected + 0.1)


def test_truth_moves_with_the_head(study: PhantomStudy) -> None:
    middle = []
    for role in SeriesRole:
        series = study.of_role(role)
        voxels = np.argwhere(study.truth_of(series) > 0)
        scanner = series.volume.grid.affine @ np.append(voxels.mean(0), 1)
        middle.append((np.linalg.inv(series.motion) @ scanner)[:3])
    assert np.ptp(np.array(middle), axis=0).max() < 1.5


def test_clutter_is_complete_and_none_has_a_role(study: PhantomStudy) -> None:
    assert {s.clutter for s in study.series if s.clutter is not None} == set(Clutter)
    assert all((s.role is None) != (s.clutter is None) for s in study.series)
    assert len({s.number for s in study.series}) == len(study.series)
    dwi = next(s for s in study.series if s.clutter is Clutter.DWI)
    assert [stack.b_value for stack in dwi.stacks] == [0.0, 1000.0]


def test_same_arguments_same_study_and_salt_changes_only_identity(study: PhantomStudy) -> None:
    again = make_study(21, "siemens", size="small", motion_mm=8.0, motion_deg=6.0, salt="other")
    assert again.study_instance_uid != study.study_instance_uid
    assert again.patient == study.patient
    for one, two in zip(study.series, again.series, strict=True):
        assert one.series_instance_uid != two.series_instance_uid
        assert one.description == two.description
        for a, b in zip(one.stacks, two.stacks, strict=True):
            assert np.array_equal(a.stored, b.stored)
    other = make_study(22, "siemens", size="small", clutter=False, roles=[SeriesRole.T1CE])
    assert not np.array_equal(
        other.of_role(SeriesRole.T1CE).stacks[0].stored, study.of_role(SeriesRole.T1CE).stacks[0].stored
    )


def test_roles_can_be_left_out_and_the_tumour_too() -> None:
    study = make_study(4, "ge", size="small", tumour=False, roles=[SeriesRole.FLAIR])
    assert [s.role for s in study.series if s.role] == [SeriesRole.FLAIR]
    assert Clutter.MPR not in {s.clutter for s in study.series}
    assert not study.truth_of(study.of_role(SeriesRole.FLAIR)).any()
    with pytest.raises(KeyError, match="T2"):
        study.of_role(SeriesRole.T2)


@pytest.mark.parametrize(
    ("change", "compare"),
    [
        ("grown", lambda before, after: after > 1.6 * before),
        ("shrunk", lambda before, after: 0 < after < 0.6 * before),
        ("new", lambda before, after: before < after < 1.6 * before),
        ("vanished", lambda before, after: after == 0),
    ],
)
def test_follow_up_changes_the_lesion_and_keeps_the_patient(change: str, compare: object) -> None:
    first = make_study(9, "philips", size="small", clutter=False, roles=[SeriesRole.T1CE])
    later = follow_up(first, change, days=60, clutter=False, roles=[SeriesRole.T1CE])  # type: ignore[arg-type]
    grid = first.of_role(SeriesRole.T1CE).volume.grid
    before, after = ((s.truth_on(grid) > 0).sum() for s in (first, later))
    assert compare(before, after)  # type: ignore[operator]
    assert later.patient == first.patient
    assert (later.study_date - first.study_date).days == 60
    assert later.study_instance_uid != first.study_instance_uid


def test_nothing_can_grow_in_a_healthy_head() -> None:
    study = make_study(9, "ge", size="small", tumour=False, clutter=False, roles=[SeriesRole.T2])
    with pytest.raises(ValueError, match="without a tumour"):
        changed((), "grown", study.head, 1)
    (fresh,) = changed((), "new", study.head, 1)
    assert replace(fresh, seed=0).core_radius_mm == 8.0
