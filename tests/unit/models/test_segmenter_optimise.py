"""Registering a segmenter's runtime: figures of labelled cases decide."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from pipeline.errors import ConversionFailed
from pipeline.models.manifest import ManifestEntry, file_sha256
from pipeline.models.runtime_options import RuntimeOptions
from pipeline.models.segmenter_conversion import convert
from pipeline.models.segmenter_optimise import optimise_segmenter
from pipeline.nifti import save_volume
from pipeline.volume import SeriesRole
from tests.segmenter_samples import manifest_entry, write_onnx
from tests.synthetic_head import grid_around, head, tumour_truth


@pytest.fixture
def entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ManifestEntry:
    # The process of its own is another test's: here the conversion happens in this one, which is quicker.
    monkeypatch.setattr(
        "pipeline.models.segmenter_conversion.run_apart",
        lambda module, entry, folder, path: convert(entry, folder, path),
    )
    values = manifest_entry(write_onnx(tmp_path), spacing_mm=4.0)
    return ManifestEntry.from_json(values | {"sha256": file_sha256(tmp_path / "tiny.onnx")})


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    """One case of one series, so that nothing has to be registered."""
    folder = tmp_path / "cases" / "one"
    folder.mkdir(parents=True)
    grid = grid_around((48, 58, 54), (4.0, 4.0, 4.0))
    volume = head(SeriesRole.T1CE, grid)
    save_volume(folder / "one_t1ce.nii", volume)
    whole, core, enhancing = tumour_truth(grid) > 0.5
    labels = np.where(enhancing, 4, np.where(core, 1, np.where(whole, 2, 0))).astype(np.uint8)
    nib.save(nib.Nifti1Image(labels, grid.affine), folder / "one_seg.nii")
    return tmp_path / "cases"


def test_labelled_cases_are_segmented_by_every_runtime(entry: ManifestEntry, cases: Path) -> None:
    folder = cases.parent
    options = RuntimeOptions(cache=folder / "cache")
    keys = optimise_segmenter(entry, folder, options, cases)
    parity = keys["runtime_parity"]
    assert keys["runtime"] == "openvino"
    assert {"reference", "f32"} <= set(parity["dice"])
    assert set(parity["dice"]["reference"]) == {"WT", "TC", "ET"}
    assert parity["dice"]["reference"]["WT"] > 0
    assert parity["dice_difference"] <= 0.002
    assert parity["weights_sha256"] == entry.sha256
    # What it returns is what the loader asks for before it uses bf16.
    bf16 = parity["dice"].get("bf16", {})
    faithful = bool(bf16) and all(abs(bf16[r] - parity["dice"]["reference"][r]) <= 0.0015 for r in bf16)
    assert keys["runtime_precision"] == "bf16" or not faithful


def test_without_cases_only_full_precision_is_registered(entry: ManifestEntry, tmp_path: Path) -> None:
    keys = optimise_segmenter(entry, tmp_path, RuntimeOptions())
    assert (keys["runtime"], keys["runtime_precision"]) == ("openvino", "f32")
    assert "dice" not in keys["runtime_parity"]


def test_cases_without_labels_prove_nothing(entry: ManifestEntry, cases: Path) -> None:
    (cases / "one" / "one_seg.nii").unlink()
    with pytest.raises(ConversionFailed, match="has labels to compare by"):
        optimise_segmenter(entry, cases.parent, RuntimeOptions(), cases)
