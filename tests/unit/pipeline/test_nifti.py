from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from pipeline.errors import InvalidVolume
from pipeline.nifti import load_nifti_labels, load_nifti_volume, save_labels, save_volume
from pipeline.report import ModelIdentity, Segmentation
from pipeline.volume import Grid, Volume

AFFINE = np.array([[-1.2, 0.0, 0.1, 30.0], [0.0, -1.1, 0.4, 20.0], [0.05, 0.3, 2.5, -7.0], [0.0, 0.0, 0.0, 1.0]])


def _ramp() -> np.ndarray:
    return np.arange(4 * 3 * 2, dtype=np.int16).reshape(4, 3, 2)


def test_voxels_and_affine_are_read_as_stored(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    nib.save(nib.Nifti1Image(_ramp(), AFFINE), path)
    volume = load_nifti_volume(path)
    assert volume.voxels[1, 2, 1] == _ramp()[1, 2, 1]
    assert np.allclose(volume.grid.affine, AFFINE, atol=1e-5)


def test_scaling_of_the_header_is_applied(tmp_path: Path) -> None:
    image = nib.Nifti1Image(_ramp(), AFFINE)
    image.header.set_slope_inter(0.5, 3.0)
    nib.save(image, tmp_path / "a.nii")
    stored = nib.load(tmp_path / "a.nii").get_fdata()
    assert np.allclose(load_nifti_volume(tmp_path / "a.nii").voxels, stored)


def test_saved_volume_comes_back(tmp_path: Path) -> None:
    volume = Volume(voxels=_ramp().astype(np.float32), grid=Grid(shape=(4, 3, 2), affine=AFFINE))
    save_volume(tmp_path / "a.nii.gz", volume)
    back = load_nifti_volume(tmp_path / "a.nii.gz")
    assert np.array_equal(back.voxels, volume.voxels)
    assert back.grid.same_as(volume.grid)


def test_saved_labels_come_back_as_brats_labels(tmp_path: Path) -> None:
    labels = np.zeros((4, 3, 2), np.uint8)
    labels[0, 1, 1], labels[3, 2, 0] = 1, 4
    model = ModelIdentity(name="m", version="1", task="segmentation", weights_sha256="0" * 64)
    grid = Grid(shape=(4, 3, 2), affine=np.diag([1.0, 2.0, 3.0, 1.0]))
    save_labels(tmp_path / "s.nii.gz", Segmentation(labels=labels, grid=grid, model=model))
    values, back = load_nifti_labels(tmp_path / "s.nii.gz")
    assert np.array_equal(values, labels)
    assert back.same_as(grid)
    assert nib.load(tmp_path / "s.nii.gz").get_data_dtype() == np.uint8


def test_trailing_axes_of_one_are_dropped(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(_ramp()[..., None], AFFINE), tmp_path / "a.nii")
    assert load_nifti_volume(tmp_path / "a.nii").voxels.shape == (4, 3, 2)


def test_metres_become_millimetres(tmp_path: Path) -> None:
    image = nib.Nifti1Image(_ramp(), np.diag([0.001, 0.001, 0.002, 1.0]))
    image.header.set_xyzt_units("meter")
    nib.save(image, tmp_path / "a.nii")
    assert load_nifti_volume(tmp_path / "a.nii").grid.spacing_mm == pytest.approx((1.0, 1.0, 2.0))


def test_more_time_points_are_refused(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.zeros((4, 3, 2, 5), np.int16), AFFINE), tmp_path / "a.nii")
    with pytest.raises(InvalidVolume, match="one volume a file"):
        load_nifti_volume(tmp_path / "a.nii")


def test_orientation_that_nobody_states_is_refused(tmp_path: Path) -> None:
    image = nib.Nifti1Image(_ramp(), None)
    nib.save(image, tmp_path / "a.nii")
    with pytest.raises(InvalidVolume, match="left and right"):
        load_nifti_volume(tmp_path / "a.nii")


def test_orientations_that_differ_are_refused(tmp_path: Path) -> None:
    image = nib.Nifti1Image(_ramp(), np.eye(4))
    image.set_sform(np.eye(4), code=1)
    image.set_qform(np.diag([-1.0, -1.0, 1.0, 1.0]), code=1)
    nib.save(image, tmp_path / "a.nii")
    with pytest.raises(InvalidVolume, match="sform and qform disagree"):
        load_nifti_volume(tmp_path / "a.nii")


def test_not_a_number_in_the_affine_is_refused(tmp_path: Path) -> None:
    image = nib.Nifti1Image(_ramp(), np.eye(4))
    image.header["srow_x"] = [np.nan, 0, 0, 0]
    path = tmp_path / "a.nii"
    path.write_bytes(image.header.binaryblock + b"\0" * 4 + _ramp().tobytes("F"))
    with pytest.raises(InvalidVolume, match=r"a\.nii"):
        load_nifti_volume(path)


def test_voxel_sizes_that_contradict_the_affine_are_refused(tmp_path: Path) -> None:
    image = nib.Nifti1Image(_ramp(), np.eye(4))
    image.set_sform(np.eye(4), code=1)
    image.set_qform(None, code=0)
    image.header["pixdim"][1:4] = (1, 1, 5)
    nib.save(image, tmp_path / "a.nii")
    with pytest.raises(InvalidVolume, match="differ from the affine"):
        load_nifti_volume(tmp_path / "a.nii")


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_truncated_file_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    noise = np.random.default_rng(0).integers(0, 30000, (20, 20, 20)).astype(np.int16)
    nib.save(nib.Nifti1Image(noise, AFFINE), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InvalidVolume, match=name):
        load_nifti_volume(path)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x1f\x8b garbage"])
def test_file_that_is_no_nifti_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.nii.gz"
    path.write_bytes(content)
    with pytest.raises(InvalidVolume, match="no readable NIfTI"):
        load_nifti_volume(path)


def test_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidVolume, match=r"nowhere\.nii"):
        load_nifti_volume(tmp_path / "nowhere.nii")


def test_absurd_size_is_refused_before_it_is_read(tmp_path: Path) -> None:
    image = nib.Nifti1Image(_ramp(), np.eye(4))
    image.header.set_data_shape((30000, 30000, 30000))
    path = tmp_path / "a.nii"
    path.write_bytes(image.header.binaryblock + b"\0" * 4)
    with pytest.raises(InvalidVolume, match="more than any head"):
        load_nifti_volume(path)


def test_nan_voxels_are_refused(tmp_path: Path) -> None:
    voxels = np.zeros((4, 3, 2), np.float32)
    voxels[0, 0, 0] = np.nan
    nib.save(nib.Nifti1Image(voxels, AFFINE), tmp_path / "a.nii")
    with pytest.raises(InvalidVolume, match="NaN"):
        load_nifti_volume(tmp_path / "a.nii")


def test_interpolated_labels_are_refused(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.full((4, 3, 2), 1.5, np.float32), AFFINE), tmp_path / "s.nii")
    with pytest.raises(InvalidVolume, match="whole numbers"):
        load_nifti_labels(tmp_path / "s.nii")
