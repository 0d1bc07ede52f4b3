"""Real and vendor-like series against dcm2niix as a second opinion on geometry and voxels."""

from __future__ import annotations

import subprocess

import nibabel
import numpy as np
import pytest

from dicom_node.errors import SeriesRefused
from dicom_node.inbound.conversion import load_series
from dicom_node.inbound.headers import read_header
from dicom_node.phantom.study import make_study
from dicom_node.phantom.write_dicom import write_study
from pipeline.volume import SeriesRole


def second_opinion(program, folder, out):
    """(voxels, affine) of the one image dcm2niix makes of a folder."""
    out.mkdir()
    subprocess.run(
        [program, "-b", "n", "-z", "n", "-o", str(out), str(folder)], check=True, capture_output=True, timeout=120
    )
    (path,) = out.glob("*.nii")
    image = nibabel.load(path)
    return np.asanyarray(image.dataobj, dtype=np.float32), image.affine


def on_our_axes(voxels, affine, ours):
    """The other image with its axes flipped and permuted as ours, which must be the whole difference."""
    change = np.rint(np.linalg.inv(ours[:3, :3]) @ affine[:3, :3]).astype(int)
    assert (np.abs(change).sum(axis=0) == 1).all()
    axes = [int(np.flatnonzero(change[axis])[0]) for axis in range(3)]
    turned, offset = np.transpose(voxels, axes), affine.copy()
    for axis, source in enumerate(axes):
        if change[axis, source] < 0:
            turned = np.flip(turned, axis)
            offset[:3, 3] += affine[:3, source] * (voxels.shape[source] - 1)
    return turned, offset[:3, 3]


def assert_agrees(loaded, voxels, affine):
    ours = loaded.volume.grid.affine
    turned, origin = on_our_axes(voxels, affine, ours)
    assert turned.shape == loaded.volume.grid.shape
    # dcm2niix centres NIfTI's origin on the same voxel; single precision in its header.
    assert np.allclose(origin, ours[:3, 3], atol=0.01)
    assert np.allclose(turned, loaded.volume.voxels, rtol=1e-3, atol=1e-3 * float(np.abs(voxels).max()))


@pytest.mark.parametrize("vendor", ["siemens", "ge", "philips"])
def test_vendor_like_series_agree(vendor, tmp_path, debian_tool):
    # Sagittal 3D, axial and oblique 2D, each with its make's instance numbering.
    roles = (SeriesRole.T1, SeriesRole.T2, SeriesRole.FLAIR)
    study = make_study(5, vendor, size="small", clutter=False, roles=roles)
    for written in write_study(tmp_path / "study", study):
        loaded = load_series(written.paths)
        voxels, affine = second_opinion(debian_tool("dcm2niix"), written.paths[0].parent, tmp_path / str(written.role))
        assert_agrees(loaded, voxels, affine)
        assert loaded.volume.grid.same_as(written.volume.grid, 0.01)
        assert tuple(s.sop_instance_uid for s in loaded.sources) == written.sop_instance_uids


def test_the_real_enhanced_t1_agrees(shared_data, tmp_path, debian_tool):
    folder = shared_data / "dicom/siemens_xa30_enhanced/5_anat-T1w_acq-tfl"
    loaded = load_series(sorted(folder.iterdir()))
    assert loaded.volume.grid.shape == (128, 128, 96)
    assert_agrees(loaded, *second_opinion(debian_tool("dcm2niix"), folder, tmp_path / "out"))
    frames = read_header(next(folder.iterdir())).frames
    for k in (0, 47, 95):
        position = frames[loaded.sources[k].frame_number - 1].position
        first_pixel = (loaded.volume.grid.affine @ (0, 0, k, 1))[:3]
        assert np.allclose(first_pixel, np.array(position) * (-1, -1, 1), atol=0.01)


@pytest.mark.parametrize("name", ["11_DWI_ADC", "27_asl_2d_tra"])
def test_other_real_enhanced_series_convert(shared_data, name):
    loaded = load_series(sorted((shared_data / "dicom/siemens_xa30_enhanced" / name).iterdir()))
    assert len(loaded.sources) == loaded.volume.grid.shape[2]


@pytest.mark.parametrize("name", ["compressed_j2k", "compressed_jpegls"])
def test_real_compressed_series_convert(shared_data, name):
    loaded = load_series(sorted((shared_data / "dicom/icometrix_noisepixels" / name).iterdir()))
    assert loaded.volume.grid.shape == (256, 256, 4)
    assert loaded.volume.grid.spacing_mm == pytest.approx((1, 1, 1), abs=1e-6)


@pytest.mark.parametrize(
    ("name", "code"),
    [("failing_slicecount", "TOO_FEW_SLICES"), ("failing_sliceorientation", "ORIENTATION_INCONSISTENT")],
)
def test_real_series_that_must_be_refused_are(shared_data, name, code):
    with pytest.raises(SeriesRefused) as refused:
        load_series(sorted((shared_data / "dicom/icometrix_noisepixels" / name).iterdir()))
    assert refused.value.code == code


def test_one_image_in_eight_syntaxes_has_one_set_of_pixels(shared_data):
    from dicom_node.inbound.parsing import parse_file
    from dicom_node.inbound.pixels import decode

    decoded = {}
    for path in sorted((shared_data / "dicom/pydicom_MR_small").glob("*.dcm")):
        decoded[path.name] = decode(parse_file(path, stop_before_pixels=False), read_header(path))
    assert len(decoded) == 8
    plain = decoded["MR_small.dcm"]
    assert plain.shape == (1, 64, 64)
    assert all(np.array_equal(plain, other) for other in decoded.values())
