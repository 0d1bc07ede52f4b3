from __future__ import annotations

import numpy as np
import pytest
from highdicom.legacy import LegacyConvertedEnhancedMRImage
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from dicom_node.errors import SeriesRefused
from dicom_node.inbound.conversion import load_series
from dicom_node.inbound.headers import read_header
from dicom_node.inbound.series_headers import group_by_series
from dicom_node.inbound.series_roles import assign
from pipeline.volume import SeriesRole
from tests.mr_series import mr_series


def _noise(shape=(6, 5, 7), seed=1):
    return np.random.default_rng(seed).integers(1, 4000, shape).astype(np.uint16)


@pytest.mark.parametrize("plane", ["axial", "sagittal", "coronal", "oblique"])
@pytest.mark.parametrize("step_mm", [3.0, -3.0])
def test_each_voxel_keeps_value_place_and_source(make_series, plane, step_mm):
    voxels = _noise()
    paths = make_series(voxels, plane, step_mm)
    loaded = load_series(paths)
    # Order on disk and order along the normal differ where the series runs against it.
    expected = voxels if step_mm > 0 else voxels[:, :, ::-1]
    assert np.array_equal(loaded.volume.voxels, expected.astype(np.float32))
    for k, source in enumerate(loaded.sources):
        header = read_header(source.path)
        assert header.sop_instance_uid == source.sop_instance_uid
        row, column = np.array(header.orientation[:3]), np.array(header.orientation[3:])
        # Pixel (row 2, column 4) of that file by PS3.3 equation C.7.6.2.1-1, in LPS.
        lps = np.array(header.position) + row * 0.75 * 4 + column * 1.25 * 2
        ras = (loaded.volume.grid.affine @ (4, 2, k, 1))[:3]
        assert np.allclose(ras, lps * (-1, -1, 1), atol=0.01)
    assert loaded.position_residual_mm < 0.01
    assert (loaded.rows, loaded.columns) == (5, 6)


def test_a_painted_voxel_comes_back_in_its_own_file_and_pixel(make_series):
    voxels = np.ones((6, 5, 7), np.uint16)
    voxels[4, 1, 5] = 3000
    loaded = load_series(make_series(voxels, "oblique", -2.5)[::-1])
    i, j, k = np.argwhere(loaded.volume.voxels == 3000)[0]
    assert (i, j) == (4, 1)
    assert loaded.sources[k].path.name == "005.dcm"


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_native_syntaxes_give_the_same_volume(make_series, syntax):
    voxels = _noise()
    assert np.array_equal(load_series(make_series(voxels, syntax=syntax)).volume.voxels, voxels)


@pytest.mark.parametrize(
    "numbers",
    [[7, 6, 5, 4, 3, 2, 1], [1, 3, 5, 7, 2, 4, 6], [3, 3, 3, 3, 3, 3, 3], [4, 1, 7, 2, 6, 3, 5]],
    ids=["reversed", "interleaved", "equal", "shuffled"],
)
def test_instance_numbers_do_not_matter(make_series, numbers):
    voxels = _noise()

    def renumber(k, dataset):
        dataset.InstanceNumber = numbers[k]
        return dataset

    assert np.array_equal(load_series(make_series(voxels, change=renumber)).volume.voxels, voxels)


def test_rescale_is_applied_slice_by_slice(make_series):
    voxels = _noise()

    def rescale(k, dataset):
        dataset.RescaleSlope, dataset.RescaleIntercept = 1.0 + k, -10.0
        return dataset

    loaded = load_series(make_series(voxels, change=rescale))
    assert np.allclose(loaded.volume.voxels, voxels * np.arange(1.0, 8.0) - 10.0)
    assert loaded.notes == ("slices carry different rescale values, each applied to its own slice",)


def test_philips_slices_scaled_apart_come_back_on_one_scale(make_series):
    truth = _noise() // 8 * 8

    def scale(k, dataset):
        # Stored = true * scale slope; display = stored * rescale slope: only the private slope brings the truth back.
        dataset.RescaleSlope, dataset.RescaleIntercept = 0.5 + k / 8, 0
        block = dataset.private_block(0x2005, "Philips MR Imaging DD 001", create=True)
        block.add_new(0x0E, "FL", 0.25 * (1 + k % 2))
        dataset.PixelData = (truth[:, :, k].T * (0.25 * (1 + k % 2))).astype("<u2").tobytes()
        return dataset

    loaded = load_series(make_series(truth, change=scale))
    assert np.allclose(loaded.volume.voxels, truth, rtol=1e-4)


@pytest.mark.parametrize("slope", ["0", "", None])
def test_an_unusable_slope_leaves_stored_values(make_series, slope):
    voxels = _noise()

    def spoil(k, dataset):
        dataset.RescaleSlope, dataset.RescaleIntercept = slope, 5
        return dataset

    assert np.array_equal(load_series(make_series(voxels, change=spoil)).volume.voxels, voxels)


def test_signed_pixels_of_twelve_bits(make_series):
    voxels = _noise()
    signed = (voxels.astype(np.int32) % 4096) - 2048

    def sign(k, dataset):
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 12, 11, 1
        dataset.PixelData = (signed[:, :, k].T & 0x0FFF).astype("<u2").tobytes()
        return dataset

    assert np.array_equal(load_series(make_series(voxels, change=sign)).volume.voxels, signed)


def test_a_slice_sent_twice_under_another_uid_counts_once(make_series):
    voxels = _noise()
    paths = make_series(voxels)

    def rename(k, dataset):
        dataset.SOPInstanceUID = f"1.9.{k}"
        return dataset if k == 3 else None

    twin = make_series(voxels, change=rename, name="twin")
    loaded = load_series([*paths, *twin])
    assert loaded.volume.voxels.shape == (6, 5, 7)
    assert loaded.notes == ("1 slices were there twice with the same pixels; one of each was used",)


def _shift(axis, amount, at):
    def change(k, dataset):
        position = [float(v) for v in dataset.ImagePositionPatient]
        position[axis] += amount(k) if callable(amount) else amount * (k == at)
        dataset.ImagePositionPatient = position
        return dataset

    return change


def _set(keyword, value, at):
    def change(k, dataset):
        if at is None or k == at:
            setattr(dataset, keyword, value)
        return dataset

    return change


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda k, d: None if k == 3 else d, "GEOMETRY_GAP"),
        (lambda k, d: None if k in (2, 3) else d, "GEOMETRY_GAP"),
        (_shift(2, 1.0, 3), "GEOMETRY_GAP"),
        (_shift(2, 3.0, 3), "DUPLICATE_POSITION"),
        (_shift(1, lambda k: 0.4 * k, None), "GANTRY_TILT"),
        (lambda k, d: d if k < 3 else None, "TOO_FEW_SLICES"),
        (_set("ImageOrientationPatient", [1, 0, 0, 0, 0, -1], 2), "ORIENTATION_INCONSISTENT"),
        (_set("ImageOrientationPatient", [1, 0, 0, 0.5, 1, 0], None), "GEOMETRY_INVALID"),
        (_set("ImagePositionPatient", ["nan", "0", "0"], 2), "GEOMETRY_INVALID"),
        (_set("ImagePositionPatient", None, 2), "GEOMETRY_INVALID"),
        (_set("PixelSpacing", [0, 1], None), "GEOMETRY_INVALID"),
        (_set("PixelSpacing", [-1, 1], 4), "GEOMETRY_INVALID"),
        (_set("PixelSpacing", [2, 2], 4), "GEOMETRY_INVALID"),
        (_set("FrameOfReferenceUID", "1.9", 4), "GEOMETRY_INVALID"),
        (_set("SeriesInstanceUID", "1.9", 4), "NOT_A_VOLUME"),
        (_set("SOPClassUID", "1.2.840.10008.5.1.4.1.1.7", 4), "NOT_AN_IMAGE"),
        (_set("PixelData", b"\0\0", 4), "PIXELS_INVALID"),
        (_set("Rows", 65535, None), "PIXELS_INVALID"),
        (_set("BitsAllocated", 12, 2), "PIXELS_INVALID"),
        (_set("SamplesPerPixel", 3, 2), "PIXELS_INVALID"),
        (_set("NumberOfFrames", 100, 2), "GEOMETRY_INVALID"),
        (_set("PixelData", b"\1\0" * 30, None), "PIXELS_INVALID"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_what_is_no_volume_is_refused_with_its_code(make_series, change, code):
    with pytest.raises(SeriesRefused) as refused:
        load_series(make_series(_noise(), change=change))
    assert refused.value.code == code
    assert refused.value.series_instance_uid == "1.2.3.4"
    assert "P1" not in str(refused.value)
    assert "Person" not in str(refused.value)


def test_a_gap_is_named_with_its_place(make_series):
    with pytest.raises(SeriesRefused, match=r"gap at 16\.0 mm: 1 slice missing"):
        load_series(make_series(_noise(), change=lambda k, d: None if k == 3 else d))


def test_two_echoes_in_one_series_are_refused(make_series):
    voxels = _noise()

    def second_echo(k, dataset):
        dataset.SOPInstanceUID = f"1.9.{k}"
        dataset.PixelData = bytes(reversed(dataset.PixelData))
        return dataset

    paths = make_series(voxels) + make_series(voxels, change=second_echo, name="echo")
    with pytest.raises(SeriesRefused, match="2 images at each of 7 positions") as refused:
        load_series(paths)
    assert refused.value.code == "NOT_A_VOLUME"


def test_a_huge_claim_is_refused_before_anything_is_allocated(make_series):
    def claim(k, dataset):
        dataset.Rows = dataset.Columns = 65535
        return dataset

    with pytest.raises(SeriesRefused) as refused:
        load_series(make_series(_noise(), change=claim))
    assert refused.value.code == "TOO_LARGE"


def test_a_truncated_file_is_refused(make_series):
    paths = make_series(_noise())
    headers = [read_header(p) for p in paths]
    paths[2].write_bytes(paths[2].read_bytes()[:-20])
    with pytest.raises(SeriesRefused) as refused:
        load_series(paths, headers)
    assert refused.value.code in ("PIXELS_INVALID", "UNDECODABLE")


def test_an_unknown_syntax_is_refused_by_name(make_series):
    paths = make_series(_noise(), change=None)
    headers = [read_header(p) for p in paths]
    private = "1.2.999999.11.22.1"
    assert len(private) == 18
    for path in paths:
        data = path.read_bytes().replace(b"1.2.840.10008.1.2.1\0", private.encode() + b"\0\0", 1)
        path.write_bytes(data)
    headers = [h.from_json(h.to_json() | {"transfer_syntax_uid": private}) for h in headers]
    with pytest.raises(SeriesRefused) as refused:
        load_series(paths, headers)
    assert refused.value.code == "SYNTAX_UNSUPPORTED"


@pytest.mark.parametrize("count", [4, 250])
def test_short_and_long_series(make_series, count):
    loaded = load_series(make_series(_noise((4, 4, count)), step_mm=0.7))
    assert loaded.volume.grid.shape == (4, 4, count)
    assert loaded.volume.grid.spacing_mm == pytest.approx((0.75, 1.25, 0.7), abs=1e-4)


def test_explicit_little_endian_is_what_the_fixture_writes(make_series):
    assert read_header(make_series(_noise())[0]).transfer_syntax_uid == ExplicitVRLittleEndian


def test_a_legacy_converted_object_is_the_series_it_was_made_of(tmp_path):
    """highdicom converts a classic series to one multi-frame object: same voxels, same place, same role."""
    classic = mr_series(columns=24, rows=20, slices=6, series="T1 +KM")
    paths = classic.write(tmp_path / "classic")
    converted = LegacyConvertedEnhancedMRImage(
        list(classic.datasets),
        series_instance_uid="1.2.3.8",
        series_number=9,
        sop_instance_uid="1.2.3.8.1",
        instance_number=1,
    )
    path = tmp_path / "legacy.dcm"
    converted.save_as(path, enforce_file_format=True)
    one, other = load_series(paths), load_series([path])
    np.testing.assert_array_equal(one.volume.voxels, other.volume.voxels)
    np.testing.assert_allclose(one.volume.grid.affine, other.volume.grid.affine, atol=1e-6)
    header, first = read_header(path), read_header(paths[0])
    for name in ("repetition_time_ms", "echo_time_ms", "inversion_time_ms", "scanning_sequence", "acquisition_type"):
        assert getattr(header, name) == getattr(first, name), name
    roles = [assign(group_by_series(map(read_header, files))).choices for files in (paths, [path])]
    assert set(roles[0]) == set(roles[1]) == {SeriesRole.T1CE}
