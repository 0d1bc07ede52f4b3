"""What every model of slices promises (`protocols.SliceClassifier`), asked of a sample of each kind of file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.models.catalogue import load_models
from pipeline.models.protocols import SliceClassifier
from pipeline.models.training.release import register
from pipeline.volume import SeriesRole
from tests.tiny_onnx import tiny_onnx

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword"),
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file"),
]
SIZE = 16


def keras_sample(name: str, format_name: str) -> Callable[[Path], dict[str, Any]]:
    """Writes a tiny Keras detector and returns the format-specific part of its manifest entry."""

    def write(folder: Path) -> dict[str, Any]:
        import keras
        from keras import layers

        image = keras.Input((SIZE, SIZE, 3))
        x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(image))
        keras.Model(image, layers.Dense(2, activation="softmax")(x)).save(folder / name)
        return {"file": name, "format": format_name}

    return write


def keras2_sample(folder: Path) -> dict[str, Any]:
    """A detector as Keras 2 wrote them, with the layers of `preprocess_input` that Keras 3 cannot read."""
    tf_keras = pytest.importorskip("tf_keras", reason="tf-keras is not installed: pip install '.[test]'")
    layers = tf_keras.layers
    image = tf_keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(4, 3)(tf_keras.applications.resnet50.preprocess_input(image))
    answer = layers.Dense(2, activation="softmax")(layers.GlobalAveragePooling2D()(x))
    tf_keras.Model(image, answer).save(folder / "old.h5")
    return {"file": "old.h5", "format": "keras-h5", "input_range": [0, 255]}


def onnx_sample(folder: Path) -> dict[str, Any]:
    """An ONNX detector as PyTorch exports them: channels first, normalised input, its own class names, logits."""
    tiny_onnx(folder / "foreign.onnx", size=SIZE, channels=3, outputs=2, activation="", layout="NCHW")
    declared = {"layout": "NCHW", "outputs": "logits", "output_classes": ["yes", "no"]}
    declared |= {"class_map": {"yes": "tumor", "no": "notumor"}}
    declared |= {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    return {"file": "foreign.onnx", "format": "onnx-classifier"} | declared


#: One line for each kind of file: its name here, and what writes a tiny detector of that kind.
SAMPLES = {
    "keras": keras_sample("sample.keras", "keras"),
    "keras-h5": keras_sample("sample.h5", "keras-h5"),
    "keras2-h5": keras2_sample,
    "onnx": onnx_sample,
}


@pytest.fixture(scope="module", params=SAMPLES)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SliceClassifier:
    folder = tmp_path_factory.mktemp("models")
    common = {
        "name": "sample",
        "task": "detection",
        "version": "7",
        "input_size": SIZE,
        "classes": ["notumor", "tumor"],
        "roles": ["FLAIR", "T1CE"],
        "threshold": 0.3,
    }
    register(folder, common | SAMPLES[request.param](folder))
    models, _ = load_models(folder)
    assert models.detector is not None, models.unavailable
    return models.detector


def test_it_says_who_it_is(model: SliceClassifier) -> None:
    assert isinstance(model, SliceClassifier)
    assert (model.identity.name, model.identity.version, model.identity.task) == ("sample", "7", "detection")
    assert len(model.identity.weights_sha256) == 64
    assert model.classes == ("notumor", "tumor")
    assert model.roles == (SeriesRole.FLAIR, SeriesRole.T1CE)
    assert (model.input_size, model.threshold) == (SIZE, 0.3)


@pytest.mark.parametrize("count", [0, 1, 8, 9])
def test_any_number_of_slices_gives_rows_that_sum_to_one(model: SliceClassifier, count: int) -> None:
    answers = model.predict(np.random.default_rng(1).random((count, SIZE, SIZE)).astype(np.float32))
    assert answers.shape == (count, 2)
    assert answers.dtype == np.float32
    np.testing.assert_allclose(answers.sum(1), np.ones(count), atol=1e-5)


def test_a_slice_is_answered_alike_alone_and_in_company(model: SliceClassifier) -> None:
    slices = np.random.default_rng(2).random((11, SIZE, SIZE)).astype(np.float32)
    before = slices.copy()
    together = model.predict(slices)
    alone = np.concatenate([model.predict(one[None]) for one in slices])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_array_equal(slices, before)


def test_slices_of_another_size_are_refused(model: SliceClassifier) -> None:
    with pytest.raises(ValueError, match=str(SIZE)):
        model.predict(np.zeros((1, SIZE, SIZE + 1), np.float32))
