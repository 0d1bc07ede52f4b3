"""The ONNX loader: tiny real files of each kind and of each fault."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import ModelUnusable
from pipeline.models.classifier_onnx import load_onnx_classifier
from pipeline.models.manifest import ManifestEntry, file_sha256
from pipeline.models.runtime_options import RuntimeOptions
from tests.tiny_onnx import quadrant_means, tiny_onnx

KINDS = ["glioma", "meningioma", "notumor", "pituitary"]


def entry_for(path: Path, **changes: Any) -> ManifestEntry:
    values: dict[str, Any] = {"name": "tiny", "task": "type", "file": path.name, "version": "1", "classes": KINDS}
    values |= {"input_size": 16, "format": "onnx-classifier", "sha256": file_sha256(path)}
    return ManifestEntry.from_json(values | changes)


def slices(count: int) -> np.ndarray:
    return np.random.default_rng(0).random((count, 16, 16)).astype(np.float32)


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("batch", "activation"), [("n", "Softmax"), (1, "")])
def test_a_file_answers_as_its_weights_say(
    tmp_path: Path, layout: str, channels: int, batch: int | str, activation: str
) -> None:
    path = tmp_path / "a.onnx"
    weights = tiny_onnx(path, channels=channels, layout=layout, batch=batch, activation=activation)
    outputs = "probabilities" if activation else "logits"
    entry = entry_for(path, layout=layout, outputs=outputs, mean=[0.5], std=[0.25])
    model = load_onnx_classifier(entry, tmp_path, RuntimeOptions(threads=1))
    pictures = np.repeat(((slices(11) - 0.5) / 0.25)[:, None], channels, axis=1)
    expected = softmax(quadrant_means(pictures) @ weights["w"] + weights["b"])
    np.testing.assert_allclose(model.predict(slices(11)), expected, atol=1e-5)
    assert model.runtime_detail == "onnxruntime f32"


def test_a_sigmoid_detector(tmp_path: Path) -> None:
    path = tmp_path / "d.onnx"
    weights = tiny_onnx(path, outputs=1, activation="Sigmoid")
    entry = entry_for(path, task="detection", classes=["notumor", "tumor"])
    tumour = 1 / (1 + np.exp(-(quadrant_means(slices(2)[:, None]) @ weights["w"] + weights["b"])[:, 0]))
    np.testing.assert_allclose(load_onnx_classifier(entry, tmp_path).predict(slices(2))[:, 1], tumour, atol=1e-6)


@pytest.mark.parametrize(
    ("network", "changes", "says"),
    [
        ({"size": 20}, {}, r"takes \(None, 20, 20, 1\)"),
        ({"layout": "NCHW"}, {}, r"takes \(None, 1, 16, 16\)"),
        ({"outputs": 3}, {}, "names 4 classes"),
        ({"activation": ""}, {}, "no probabilities"),
        ({}, {"outputs": "logits"}, "says logits"),
        ({"batch": 5}, {}, "5 pictures at a time"),
    ],
)
def test_a_network_of_another_shape_than_the_manifests_is_refused(
    tmp_path: Path, network: dict[str, Any], changes: dict[str, Any], says: str
) -> None:
    path = tmp_path / "a.onnx"
    tiny_onnx(path, **network)
    with pytest.raises(ModelUnusable, match=f"model 'tiny': .*{says}"):
        load_onnx_classifier(entry_for(path, **changes), tmp_path)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.99])
def test_a_truncated_file_with_a_matching_hash_is_refused(tmp_path: Path, share: float) -> None:
    path = tmp_path / "a.onnx"
    tiny_onnx(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ModelUnusable, match=r"'tiny': .*a\.onnx"):
        load_onnx_classifier(entry_for(path), tmp_path)


@pytest.mark.parametrize("content", [b"no network", b"\x00" * 100, b"PK\x03\x04", b"\x89HDF\r\n\x1a\n" + b"0" * 64])
def test_a_file_that_is_no_network_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelUnusable, match=r"a\.onnx"):
        load_onnx_classifier(entry_for(path), tmp_path)


def test_a_swapped_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    tiny_onnx(path)
    entry = entry_for(path)
    tiny_onnx(path, seed=2)
    with pytest.raises(ModelUnusable, match="SHA-256"):
        load_onnx_classifier(entry, tmp_path)


def test_weights_outside_the_file_are_refused(tmp_path: Path) -> None:
    import onnx

    path = tmp_path / "a.onnx"
    tiny_onnx(path)
    onnx.save_model(onnx.load(path), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert (tmp_path / "weights.bin").exists()
    with pytest.raises(ModelUnusable, match="weights in other files"):
        load_onnx_classifier(entry_for(path), tmp_path)


def test_an_unknown_operator_is_refused(tmp_path: Path) -> None:
    import onnx

    path = tmp_path / "a.onnx"
    tiny_onnx(path)
    model = onnx.load(path)
    model.graph.node[-1].op_type = "RunAnything"
    onnx.save(model, path)
    with pytest.raises(ModelUnusable, match="cannot load"):
        load_onnx_classifier(entry_for(path), tmp_path)
