"""Files that Keras 2 wrote, and Lambda layers: what loads, through which Keras, and what an operator has to allow."""

from __future__ import annotations

import json
import os
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import ModelUnusable
from pipeline.models.classifier_keras import load_keras_network
from pipeline.models.manifest import ManifestEntry, file_sha256
from pipeline.models.resnet50 import load_keras_classifier

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword"),
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file"),
]
tf_keras = pytest.importorskip("tf_keras", reason="tf-keras is not installed: pip install '.[test]'")
KINDS = ["glioma", "meningioma", "notumor", "pituitary"]


def head(image: Any, pixels: Any) -> Any:
    """A small network on `pixels`, which come from the input `image`."""
    layers = tf_keras.layers
    x = layers.Conv2D(3, 3, strides=2, kernel_initializer=tf_keras.initializers.RandomNormal(seed=1))(pixels)
    x = layers.GlobalAveragePooling2D()(layers.BatchNormalization()(x))
    kernel = tf_keras.initializers.RandomNormal(0.1, seed=2)
    return tf_keras.Model(image, layers.Dense(4, activation="softmax", kernel_initializer=kernel)(x))


def functional() -> Any:
    image = tf_keras.Input((16, 16, 1))
    return head(image, image)


def sequential() -> Any:
    layers = tf_keras.layers
    return tf_keras.Sequential(
        [
            layers.Input((16, 16, 1)),
            layers.Conv2D(3, 3),
            layers.BatchNormalization(),
            layers.GlobalAveragePooling2D(),
            layers.Dense(4, activation="softmax"),
        ]
    )


def preprocessed() -> Any:
    image = tf_keras.Input((16, 16, 3))
    return head(image, tf_keras.applications.resnet50.preprocess_input(image))


def scaled() -> Any:
    image = tf_keras.Input((16, 16, 3))
    return head(image, image * 2.0 - 1.0)


def with_lambda() -> Any:
    image = tf_keras.Input((16, 16, 1))
    return head(image, tf_keras.layers.Lambda(lambda pixels: pixels * 2)(image))


def entry_for(folder: Path, file: str, **changes: Any) -> ManifestEntry:
    values: dict[str, Any] = {"name": "old", "task": "type", "file": file, "version": "1", "classes": KINDS}
    values |= {"input_size": 16, "format": "keras", "sha256": file_sha256(folder / file)}
    return ManifestEntry.from_json(values | changes)


def slices(count: int) -> np.ndarray:
    return np.random.default_rng(0).random((count, 16, 16)).astype(np.float32)


@pytest.mark.parametrize(
    ("build", "file"),
    [
        (functional, "a.h5"),
        (functional, "a.keras"),
        (sequential, "a.h5"),
        (sequential, "a.keras"),
        (preprocessed, "a.h5"),
        (scaled, "a.keras"),
    ],
)
def test_a_file_of_keras_2_answers_as_the_keras_that_wrote_it(
    tmp_path: Path, build: Callable[[], Any], file: str
) -> None:
    network = build()
    network.save(tmp_path / file)
    model = load_keras_classifier(entry_for(tmp_path, file), tmp_path)
    expected = network(np.repeat(slices(3)[..., None], network.inputs[0].shape[-1], -1), training=False).numpy()
    np.testing.assert_allclose(model.predict(slices(3)), expected, atol=1e-6)


def test_without_tf_keras_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    preprocessed().save(tmp_path / "a.h5")
    monkeypatch.setitem(sys.modules, "tf_keras", None)
    with pytest.raises(ModelUnusable, match=r"written by Keras 2\.\d+\.\d+, .*brain-tumor-node\[keras2\]"):
        load_keras_classifier(entry_for(tmp_path, "a.h5"), tmp_path)


def test_a_file_that_neither_keras_reads_is_refused(tmp_path: Path) -> None:
    import h5py

    functional().save(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        config = json.loads(file.attrs["model_config"])
        config["config"]["layers"][1]["class_name"] = "Conv17D"
        file.attrs["model_config"] = json.dumps(config)
    with pytest.raises(ModelUnusable, match="neither Keras 3 nor tf_keras can load it"):
        load_keras_classifier(entry_for(tmp_path, "a.h5"), tmp_path)


@pytest.mark.parametrize("file", ["l.h5", "l.keras"])
def test_a_lambda_of_keras_2_runs_only_where_the_operator_allows_this_file(tmp_path: Path, file: str) -> None:
    network = with_lambda()
    network.save(tmp_path / file)
    with pytest.raises(ModelUnusable, match="Lambda, which would run code from the file"):
        load_keras_classifier(entry_for(tmp_path, file), tmp_path)
    with pytest.raises(ModelUnusable, match="Lambda, which would run code from the file"):
        load_keras_classifier(entry_for(tmp_path, file, allow_lambda_sha256="0" * 64), tmp_path)
    allowed = entry_for(tmp_path, file, allow_lambda_sha256=file_sha256(tmp_path / file))
    expected = network(slices(2)[..., None], training=False).numpy()
    np.testing.assert_allclose(load_keras_classifier(allowed, tmp_path).predict(slices(2)), expected, atol=1e-6)


@pytest.mark.parametrize("file", ["l.h5", "l.keras"])
def test_a_lambda_of_keras_3_runs_only_where_the_operator_allows_this_file(tmp_path: Path, file: str) -> None:
    import keras
    from keras import layers

    image = keras.Input((16, 16, 1))
    x = layers.Lambda(lambda pixels: pixels * 2, output_shape=(16, 16, 1))(image)
    network = keras.Model(image, layers.Dense(4, activation="softmax")(layers.Flatten()(x)))
    network.save(tmp_path / file)
    with pytest.raises(ModelUnusable, match="Lambda, which would run code from the file"):
        load_keras_classifier(entry_for(tmp_path, file), tmp_path)
    allowed = entry_for(tmp_path, file, allow_lambda_sha256=file_sha256(tmp_path / file))
    expected = np.asarray(network(slices(2)[..., None], training=False))
    np.testing.assert_allclose(load_keras_classifier(allowed, tmp_path).predict(slices(2)), expected, atol=1e-6)


def test_a_file_that_calls_tensorflow_by_name_may_only_compute(tmp_path: Path) -> None:
    scaled().save(tmp_path / "a.keras")
    with zipfile.ZipFile(tmp_path / "a.keras") as old:
        members = {name: old.read(name) for name in old.namelist()}
    members["config.json"] = members["config.json"].replace(b"math.multiply", b"io.write_file")
    with zipfile.ZipFile(tmp_path / "a.keras", "w") as new:
        for name, content in members.items():
            new.writestr(name, content)
    with pytest.raises(ModelUnusable, match=r"calls TensorFlow's 'io\.write_file'"):
        load_keras_classifier(entry_for(tmp_path, "a.keras"), tmp_path)


@pytest.mark.parametrize("file", ["cut.keras", "cut.h5"])
def test_a_truncated_file_of_keras_2_is_refused(tmp_path: Path, file: str) -> None:
    functional().save(tmp_path / file)
    content = (tmp_path / file).read_bytes()
    (tmp_path / file).write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelUnusable, match="truncated, corrupt"):
        load_keras_network(entry_for(tmp_path, file), tmp_path)
