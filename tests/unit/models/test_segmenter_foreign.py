"""TorchScript and ONNX segmenters: what is declared against what the file is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.errors import ModelUnusable
from pipeline.models.manifest import ManifestEntry, file_sha256
from pipeline.models.segmenter_formats import open_segmenter
from pipeline.models.segmenter_loading import load_segmenter
from pipeline.models.segmenter_windowed import WindowedSegmenter
from pipeline.volume import Grid
from tests.segmenter_samples import MIX, ROLES, manifest_entry, save_torchscript, write_onnx, write_torchscript

SHAPE = (20, 18, 17)
LABELS = {"1": "ED", "2": "NCR", "3": "ET"}


def _load(folder: Path, part: dict[str, Any], **changes: Any) -> WindowedSegmenter:
    values = manifest_entry(part, **changes)
    return load_segmenter(ManifestEntry.from_json(values | {"sha256": file_sha256(folder / values["file"])}), folder)


def _image() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(4, *SHAPE)).astype(np.float32)


def _segmented(segmenter: WindowedSegmenter) -> np.ndarray:
    return segmenter.segment(_image(), Grid(shape=SHAPE, affine=np.eye(4)))


def _logits(image: np.ndarray) -> np.ndarray:
    return np.einsum("rc,cijk->rijk", MIX, image)


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))


@pytest.mark.parametrize("write", [write_torchscript, write_onnx])
def test_declared_order_axes_and_temperature_are_applied(tmp_path: Path, write: Any) -> None:
    part = write(tmp_path)
    np.testing.assert_allclose(_segmented(_load(tmp_path, part)), _sigmoid(_logits(_image())), atol=1e-5)
    other = _load(
        tmp_path,
        part,
        channels=["FLAIR", "T2", "T1CE", "T1"],
        regions=["ET", "WT", "TC"],
        orientation="SPL",
        temperature=2.0,
    )
    expected = _sigmoid(_logits(_image()[::-1])[[1, 2, 0]] / 2)
    np.testing.assert_allclose(_segmented(other), expected, atol=1e-4)


def test_mean_and_std_come_before_the_network(tmp_path: Path) -> None:
    part = write_torchscript(tmp_path, activated=False)
    segmenter = _load(tmp_path, part, mean=[1, 2, 3, 4], std=[2, 2, 2, 2], intensities="head")
    assert segmenter.intensities == "head"
    given = (_image() - np.array([1, 2, 3, 4], np.float32).reshape(4, 1, 1, 1)) / 2
    np.testing.assert_allclose(_segmented(segmenter), _sigmoid(_logits(given)), atol=1e-5)


@pytest.mark.parametrize("last", ["Softmax", "ArgMax"])
def test_exclusive_labels_become_regions(tmp_path: Path, last: str) -> None:
    answer = _segmented(_load(tmp_path, write_onnx(tmp_path, last=last)))
    powers = np.exp(np.concatenate([np.zeros((1, *SHAPE)), _logits(_image())]))
    shares = powers / powers.sum(axis=0)
    if last == "ArgMax":
        shares = (np.arange(4).reshape(4, 1, 1, 1) == shares.argmax(axis=0)).astype(float)
    ed, ncr, et = shares[1:]
    np.testing.assert_allclose(answer, [ed + ncr + et, ncr + et, et], atol=1e-5)


def test_the_first_of_several_answers_counts(tmp_path: Path) -> None:
    class Deep(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return image[:, :3] * 2, image[:, :3, ::2, ::2, ::2]

    save_torchscript(Deep(), tmp_path / "deep.pt")
    part = {"file": "deep.pt", "format": "torchscript", "outputs": "logits"}
    np.testing.assert_allclose(_segmented(_load(tmp_path, part)), _sigmoid(2 * _image()[:3]), atol=1e-5)


@pytest.mark.parametrize("write", [write_torchscript, write_onnx])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"outputs": "logits"}, "are its outputs probabilities"),
        ({"outputs": "softmax"}, "'softmax', which does not go with regions"),
        ({"outputs": "labels"}, "give a label_map"),
        ({"label_map": LABELS}, "either a label_map .* or regions"),
        ({"regions": [], "label_map": LABELS, "outputs": "probabilities"}, "gives 3 channels, not 4"),
        ({"regions": ["WT", "TC"]}, "regions"),
        ({"channels": ["T1", "T1CE", "T2", "DWI"]}, "channels"),
        ({"channels": ["T1CE", "FLAIR"]}, "2 channels|declares"),
        ({"input_size": [16]}, "three sides"),
        ({"spacing_mm": None}, "spacing_mm"),
        ({"mean": [1.0, 2.0], "std": [1.0, 1.0]}, "2 values for 4 channels"),
    ],
)
def test_a_declaration_that_does_not_fit(tmp_path: Path, write: Any, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelUnusable, match=message):
        _load(tmp_path, write(tmp_path), **changes)


def test_logits_declared_as_probabilities(tmp_path: Path) -> None:
    with pytest.raises(ModelUnusable, match="are its outputs logits"):
        _load(tmp_path, write_onnx(tmp_path, last=""), outputs="sigmoid")


def test_a_network_of_other_channels_is_refused_by_its_own_shape(tmp_path: Path) -> None:
    with pytest.raises(ModelUnusable, match=r"takes \(1, 3, 'i', 'j', 'k'\), the entry declares \(1, 4, 16, 16, 16\)"):
        _load(tmp_path, write_onnx(tmp_path, channels=3))


@pytest.mark.parametrize(("write", "name"), [(write_torchscript, "tiny.pt"), (write_onnx, "tiny.onnx")])
def test_other_content_under_the_name_is_refused(tmp_path: Path, write: Any, name: str) -> None:
    part = write(tmp_path)
    (tmp_path / name).write_text("version https://example.org/pointer")
    with pytest.raises(ModelUnusable, match=name):
        _load(tmp_path, part)


def test_a_conversion_of_torchscript_is_of_one_window(tmp_path: Path) -> None:
    """Else a conversion in the cache would be given windows of another size than it was made for."""
    part = write_torchscript(tmp_path)
    sha256 = file_sha256(tmp_path / part["file"])
    entries = [
        ManifestEntry.from_json(manifest_entry(part, sha256=sha256, input_size=size))
        for size in ([16, 16, 16], [16, 16, 16], [32, 16, 16])
    ]
    designs = [open_segmenter(entry, tmp_path).design for entry in entries]
    assert designs[0] == designs[1] != designs[2]


def test_torchscript_that_writes_files_is_refused(tmp_path: Path) -> None:
    class Writes(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            torch.save(image, "/tmp/never-written")
            return image[:, :3]

    script: Any = torch.jit.script
    with pytest.warns(DeprecationWarning, match="torch.jit.script"):
        script(Writes()).save(str(tmp_path / "writes.pt"))
    with pytest.raises(ModelUnusable, match=r"more than arithmetic \(aten::save"):
        _load(tmp_path, {"file": "writes.pt", "format": "torchscript", "outputs": "logits"})
    assert not Path("/tmp/never-written").exists()


def test_a_weight_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    network = torch.nn.Conv3d(4, 3, 1)
    with torch.no_grad():
        network.weight[0] = torch.nan
    save_torchscript(network, tmp_path / "nan.pt")
    with pytest.raises(ModelUnusable, match="NaN or infinite"):
        _load(tmp_path, {"file": "nan.pt", "format": "torchscript", "outputs": "logits"})


def test_an_onnx_file_with_weights_elsewhere_is_refused(tmp_path: Path) -> None:
    import onnx

    part = write_onnx(tmp_path)
    model = onnx.load(tmp_path / "tiny.onnx")
    onnx.save_model(model, tmp_path / "tiny.onnx", save_as_external_data=True, location="weights", size_threshold=0)
    with pytest.raises(ModelUnusable, match="weights in other files"):
        _load(tmp_path, part)


def test_a_network_that_reads_two_series_needs_two(tmp_path: Path) -> None:
    segmenter = _load(tmp_path, write_onnx(tmp_path, channels=2), channels=ROLES[2:])
    expected = _sigmoid(np.einsum("rc,cijk->rijk", MIX[:, :2], _image()[2:]))
    np.testing.assert_allclose(_segmented(segmenter), expected, atol=1e-5)
