from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import typer
from typer.testing import CliRunner

from dicom_node.commands.phantom import register as register_phantom
from dicom_node.phantom.nifti_cases import write_brats_case
from dicom_node.phantom.patients import accented_patient, japanese_patient
from dicom_node.phantom.series import Clutter
from dicom_node.phantom.study import make_study
from dicom_node.phantom.write_dicom import WrittenSeries, write_study
from pipeline.volume import SeriesRole

VENDOR_NAMES = ("siemens", "ge", "philips")


@pytest.fixture(scope="module", params=VENDOR_NAMES)
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[WrittenSeries]:
    return write_study(tmp_path_factory.mktemp(request.param), make_study(3, request.param, size="small"))


@pytest.fixture(scope="module", params=("siemens", "philips"))
def enhanced(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[WrittenSeries]:
    folder = tmp_path_factory.mktemp(request.param)
    return write_study(folder, make_study(3, request.param, size="small", enhanced=True))


def errors_of(dciodvfy: str, path: Path) -> list[str]:
    done = subprocess.run([dciodvfy, "-new", str(path)], capture_output=True, text=True, check=False)
    return [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")]


def test_dciodvfy_finds_no_error_in_classic_series(
    written: list[WrittenSeries], debian_tool: Callable[[str], str]
) -> None:
    for series in written:
        for path in {series.paths[0], series.paths[-1]}:
            assert errors_of(debian_tool("dciodvfy"), path) == [], series.description


def test_dciodvfy_finds_no_error_in_enhanced_series(
    enhanced: list[WrittenSeries], debian_tool: Callable[[str], str]
) -> None:
    for series in enhanced:
        assert len(series.paths) == 1
        assert errors_of(debian_tool("dciodvfy"), series.paths[0]) == [], series.description


def test_files_say_where_every_voxel_is(written: list[WrittenSeries]) -> None:
    for series in written:
        if series.role is None or series.volume is None:
            continue
        affine = series.volume.grid.affine
        for k, path in enumerate(series.paths):
            ds = pydicom.dcmread(path)
            row, column = np.array(ds.ImageOrientationPatient[:3]), np.array(ds.ImageOrientationPatient[3:])
            lps = np.array(ds.ImagePositionPatient) + 7 * ds.PixelSpacing[0] * column + 4 * ds.PixelSpacing[1] * row
            assert lps * (-1, -1, 1) == pytest.approx((affine @ (4, 7, k, 1))[:3], abs=1e-6)
            value = ds.pixel_array.astype(np.float32) * np.float32(ds.get("RescaleSlope", 1))
            assert np.array_equal(value.T, series.volume.voxels[:, :, k])
            assert ds.SOPInstanceUID == series.sop_instance_uids[k]


def test_enhanced_frames_say_where_every_voxel_is(enhanced: list[WrittenSeries]) -> None:
    for series in enhanced:
        if series.role is None or series.volume is None:
            continue
        ds = pydicom.dcmread(series.paths[0])
        assert ds.NumberOfFrames == series.volume.grid.shape[2]
        for k, frame in enumerate(ds.PerFrameFunctionalGroupsSequence):
            corner = np.array(frame.PlanePositionSequence[0].ImagePositionPatient) * (-1, -1, 1)
            assert corner == pytest.approx((series.volume.grid.affine @ (0, 0, k, 1))[:3], abs=1e-6)
            slope = np.float32(frame.PixelValueTransformationSequence[0].RescaleSlope)
            value = ds.pixel_array[k].astype(np.float32) * slope
            assert np.array_equal(value.T, series.volume.voxels[:, :, k])


def test_dcm2niix_sees_the_same_geometry(
    written: list[WrittenSeries], tmp_path: Path, debian_tool: Callable[[str], str]
) -> None:
    for series in written:
        if series.role is None or series.volume is None:
            continue
        target = tmp_path / series.role
        target.mkdir()
        command = [debian_tool("dcm2niix"), "-z", "n", "-b", "n", "-f", "out", "-o", str(target)]
        subprocess.run([*command, str(series.paths[0].parent)], check=True, capture_output=True)
        (found,) = target.glob("out*.nii")
        image = nib.as_closest_canonical(nib.load(found))
        ours = nib.as_closest_canonical(nib.Nifti1Image(series.volume.voxels, series.volume.grid.affine))
        assert image.affine == pytest.approx(ours.affine, abs=1e-3)
        assert np.allclose(np.asarray(image.dataobj), np.asarray(ours.dataobj), rtol=1e-4, atol=1e-2)


def test_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    def digest(name: str, seed: int) -> str:
        study = make_study(seed, "ge", size="small", clutter=False, roles=[SeriesRole.T2, SeriesRole.T1CE])
        total = hashlib.sha256()
        for series in write_study(tmp_path / name, study):
            for path in series.paths:
                total.update(path.read_bytes())
        return total.hexdigest()

    first = digest("first", 8)
    assert digest("again", 8) == first
    assert digest("other", 9) != first


def test_uids_are_unique_and_series_share_one_frame_of_reference(written: list[WrittenSeries]) -> None:
    uids = [uid for series in written for uid in series.sop_instance_uids]
    assert len(set(uids)) == len(uids)
    assert len({series.series_instance_uid for series in written}) == len(written)
    assert len({s.frame_of_reference_uid for s in written if s.clutter is not Clutter.SCREENSHOT}) == 1
    assert {s.clutter for s in written if s.volume is None} == {Clutter.SCREENSHOT}


def test_vendors_keep_their_habits(written: list[WrittenSeries]) -> None:
    by_role = {series.role: series for series in written if series.role}
    after = pydicom.dcmread(by_role[SeriesRole.T1CE].paths[0])
    numbers = [int(pydicom.dcmread(p, stop_before_pixels=True).InstanceNumber) for p in by_role[SeriesRole.T2].paths]
    if "GE" in after.Manufacturer:
        assert "ContrastBolusAgent" not in after
        assert any(word in after.SeriesDescription for word in ("+C", "POST"))
        assert numbers == sorted(numbers, reverse=True)
        assert after.PixelRepresentation == 1
    elif "Philips" in after.Manufacturer:
        assert float(after.RescaleSlope) != 1
        assert numbers[:3] == [1, 14, 2]
    else:
        assert after.ContrastBolusAgent == "Gadovist"
        assert numbers == sorted(numbers)


@pytest.mark.parametrize("patient", [accented_patient(1), japanese_patient(1)])
def test_names_in_other_character_sets_survive(
    patient: object, tmp_path: Path, debian_tool: Callable[[str], str]
) -> None:
    study = make_study(1, "philips", size="small", clutter=False, roles=[SeriesRole.T2], patient=patient)  # type: ignore[arg-type]
    (series,) = write_study(tmp_path, study)
    assert str(pydicom.dcmread(series.paths[0]).PatientName) == study.patient.name
    assert errors_of(debian_tool("dciodvfy"), series.paths[0]) == []


def test_brats_case_is_co_registered_and_labelled(tmp_path: Path) -> None:
    folder = write_brats_case(tmp_path, 6, spacing_mm=3.0)
    images = {name: nib.load(folder / f"{folder.name}_{name}.nii.gz") for name in ("t1", "t1ce", "t2", "flair", "seg")}
    labels = np.asarray(images["seg"].dataobj)
    assert set(np.unique(labels)) <= {0, 1, 2, 4}
    assert (labels > 0).sum() > 50
    for image in images.values():
        assert image.shape == labels.shape
        assert np.array_equal(image.affine, images["seg"].affine)
    outside = np.asarray(images["t1"].dataobj) == 0
    assert 0.3 < outside.mean() < 0.8
    assert not labels[outside].any()
    meta = json.loads((folder / "meta.json").read_text())
    assert sum(meta["volumes_ml"].values()) == pytest.approx((labels > 0).sum() * 0.027)
    again = write_brats_case(tmp_path / "again", 6, spacing_mm=3.0)
    for path in folder.iterdir():
        assert (again / path.name).read_bytes() == path.read_bytes()


def test_brats_case_without_a_tumour_has_empty_labels(tmp_path: Path) -> None:
    folder = write_brats_case(tmp_path, 6, spacing_mm=4.0, skull_stripped=False, tumour=False)
    assert not np.asarray(nib.load(folder / f"{folder.name}_seg.nii.gz").dataobj).any()


def test_the_command_writes_heads_with_and_without_skull(tmp_path: Path) -> None:
    words = [str(tmp_path), "--nifti-cases", "2", "--seed", "6", "--no-tumour", "--skull", "both", "--spacing-mm", "4"]
    app = typer.Typer()
    register_phantom(app)
    ended = CliRunner().invoke(app, words)
    assert ended.exit_code == 0, ended.output
    told = [json.loads((tmp_path / f"phantom_0000{seed}" / "meta.json").read_text()) for seed in (6, 7)]
    assert [(meta["skull_stripped"], meta["tumour"], meta["spacing_mm"]) for meta in told] == [
        (False, False, 4.0),
        (True, False, 4.0),
    ]
