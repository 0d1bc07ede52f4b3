from __future__ import annotations

import gzip

import nibabel as nib
import numpy as np
import pytest

from pipeline.nifti import greys_bytes
from pipeline.study_space import StudySpace
from pipeline.view_volumes import BRAIN, view_volumes
from pipeline.volume import Grid, SeriesRole, Volume

REFERENCE = Grid(shape=(8, 9, 10), affine=np.diag([1.0, 1.0, 1.0, 1.0]))


def blob(grid: Grid, at: tuple[int, int, int]) -> Volume:
    voxels = np.zeros(grid.shape, np.float32)
    voxels[at] = 100.0
    return Volume(voxels=voxels, grid=grid)


def space() -> StudySpace:
    shifted = np.eye(4)
    shifted[:3, 3] = (2.0, 0.0, -1.0)
    brain = np.zeros((4, 9, 10), np.uint8)
    brain[:, 4:, :] = 1
    half = Grid(shape=(4, 9, 10), affine=np.array([[2.0, 0, 0, 0.5], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))
    return StudySpace(to_series={SeriesRole.T1CE: np.eye(4), SeriesRole.T2: shifted}, brain=brain, grid=half)


def test_a_series_is_laid_on_the_reference_and_the_brain_cut_out() -> None:
    # The same point of the head: (3, 5, 6) mm in the reference is (5, 5, 5) mm in T2.
    given = {SeriesRole.T1CE: blob(REFERENCE, (3, 5, 6)), SeriesRole.T2: blob(REFERENCE, (5, 5, 5))}
    made = dict(view_volumes(given, space(), SeriesRole.T1CE, REFERENCE))
    assert list(made) == ["T1CE", BRAIN, "T2"]
    for name in ("T1CE", "T2", BRAIN):
        assert made[name].dtype == np.uint8
        assert np.unravel_index(made[name].argmax(), REFERENCE.shape) == (3, 5, 6), name
    assert not made[BRAIN][:, :3].any()
    assert (made[BRAIN][:, 5:] >= 1).all()


def test_a_series_that_was_not_registered_is_left_out() -> None:
    given = {SeriesRole.T1CE: blob(REFERENCE, (3, 5, 6)), SeriesRole.FLAIR: blob(REFERENCE, (5, 5, 5))}
    assert [name for name, _ in view_volumes(given, space(), SeriesRole.T1CE, REFERENCE)] == ["T1CE", BRAIN]


def test_the_space_is_read_as_it_was_written() -> None:
    kept = space()
    read = StudySpace.from_bytes(kept.to_bytes())
    assert list(read.to_series) == [SeriesRole.T1CE, SeriesRole.T2]
    assert np.array_equal(read.to_series[SeriesRole.T2], kept.to_series[SeriesRole.T2])
    assert np.array_equal(read.brain, kept.brain)
    assert read.grid.same_as(kept.grid)
    with pytest.raises((ValueError, OSError)):
        StudySpace.from_bytes(b"something else")


def test_greys_are_a_nifti_file_on_the_grid() -> None:
    greys = np.arange(8 * 9 * 10, dtype=np.uint16).reshape(8, 9, 10).astype(np.uint8)
    image = nib.Nifti1Image.from_bytes(gzip.decompress(greys_bytes(greys, REFERENCE)))
    assert image.get_data_dtype() == np.uint8
    assert np.array_equal(np.asarray(image.dataobj), greys)
    assert np.array_equal(image.affine, REFERENCE.affine)
