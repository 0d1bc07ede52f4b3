"""The Keras loader: tiny real files of each kind and of each fault."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import ModelUnusable
from pipeline.models.manifest import ManifestEntry, file_sha256
from pipeline.models.protocols import SliceClassifier
from pipeline.models.resnet50 import load_keras_classifier

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Keras 3.15 reads its variables by an older array protocol than NumPy 2.4 wants.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")
KINDS = ["glioma", "meningioma", "notumor", "pituitary"]


def tiny(size: int = 16, channels: int = 1, outputs: int = 4, activation: str | None = "softmax") -> Any:
    """A real Keras network of a few dozen weights, the same on every call."""
    import keras
    from keras import layers

    image = keras.Input((size, size, channels))
    x = layers.Conv2D(3, 3, strides=2, kernel_initializer=keras.initializers.RandomNormal(seed=1))(image)
    x = layers.BatchNormalization()(x)
    x = layers.GlobalAveragePooling2D()(x)
    kernel = keras.initializers.RandomNormal(1.0, seed=2)
    return keras.Model(image, layers.Dense(outputs, activation=activation, kernel_initializer=kernel)(x))


def entry_for(folder: Path, file: str, **changes: Any) -> ManifestEntry:
    values: dict[str, Any] = {
        "name": "tiny",
        "task": "type",
        "file": file,
        "version": "1",
        "input_size": 16,
        "classes": KINDS,
        "format": "keras-h5" if file.endswith(".h5") else "keras",
        "roles": ["T1CE"],
        "sha256": file_sha256(folder / file) if (folder / file).exists() else "0" * 64,
    }
    return ManifestEntry.from_json(values | changes)


def slices(count: int) -> np.ndarray:
    return np.random.default_rng(0).random((count, 16, 16)).astype(np.float32)


@pytest.mark.parametrize("file", ["a.keras", "a.h5"])
@pytest.mark.parametrize("channels", [1, 3])
def test_both_kinds_of_file_and_of_input_load_and_answer_as_keras(tmp_path: Path, file: str, channels: int) -> None:
    network = tiny(channels=channels)
    network.save(tmp_path / file)
    model = load_keras_classifier(entry_for(tmp_path, file), tmp_path)
    assert isinstance(model, SliceClassifier)
    assert model.classes == tuple(KINDS)
    assert model.identity.weights_sha256 == file_sha256(tmp_path / file)
    images = slices(11)  # more than one batch, the last one short
    answers = model.predict(images)
    assert answers.dtype == np.float32
    expected = np.asarray(network(np.repeat(images[..., None], channels, -1), training=False))
    np.testing.assert_allclose(answers, expected, atol=1e-5)
    assert model.predict(images[:0]).shape == (0, 4)
    with pytest.raises(ValueError, match=r"\(n, 16, 16\)"):
        model.predict(np.zeros((1, 8, 8), np.float32))


@pytest.mark.parametrize("file", ["half.keras", "half.h5"])
def test_weights_stored_as_float16_are_computed_in_float32(tmp_path: Path, file: str) -> None:
    import h5py

    from pipeline.models.training.slice_release import halve_weights

    network = tiny()
    network.save(tmp_path / file)
    halve_weights(tmp_path / file, tuple(KINDS))
    model = load_keras_classifier(entry_for(tmp_path, file), tmp_path)
    exact = np.asarray(network(slices(4)[..., None], training=False))
    assert 0 < np.abs(model.predict(slices(4)) - exact).max() < 1e-2
    source = tmp_path / file
    if file.endswith(".keras"):
        zipfile.ZipFile(source).extract("model.weights.h5", tmp_path)
        source = tmp_path / "model.weights.h5"
    kinds: list[Any] = []
    with h5py.File(source) as stored:
        stored.visititems(lambda _, item: kinds.append(item.dtype) if isinstance(item, h5py.Dataset) else None)
    assert set(kinds) == {np.dtype(np.float16)}
    with pytest.raises(ModelUnusable, match="orders the classes"):
        load_keras_classifier(entry_for(tmp_path, file, classes=KINDS[::-1]), tmp_path)


def test_one_sigmoid_becomes_two_columns_and_temperature_softens(tmp_path: Path) -> None:
    network = tiny(outputs=1, activation="sigmoid")
    network.save(tmp_path / "d.keras")
    task = {"task": "detection", "classes": ["notumor", "tumor"]}
    p = np.asarray(network(slices(3)[..., None], training=False))[:, 0]
    plain = load_keras_classifier(entry_for(tmp_path, "d.keras", **task), tmp_path).predict(slices(3))
    np.testing.assert_allclose(plain, np.stack([1 - p, p], 1), atol=1e-6)
    soft = load_keras_classifier(entry_for(tmp_path, "d.keras", temperature=2.0, **task), tmp_path).predict(slices(3))
    logit = np.log(p / (1 - p))
    np.testing.assert_allclose(soft[:, 1], 1 / (1 + np.exp(-logit / 2)), atol=1e-6)
    np.testing.assert_allclose(soft.sum(1), 1, atol=1e-6)


def test_slices_are_stretched_to_the_range_the_manifest_names(tmp_path: Path) -> None:
    network = tiny(channels=3)
    network.save(tmp_path / "a.keras")
    model = load_keras_classifier(entry_for(tmp_path, "a.keras", input_range=[-1, 1]), tmp_path)
    expected = network(np.repeat(slices(2)[..., None] * 2 - 1, 3, -1), training=False)
    np.testing.assert_allclose(model.predict(slices(2)), np.asarray(expected), atol=1e-5)


def missing(path: Path) -> None:
    path.unlink()


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def one_byte_changed(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("harm", "says"), [(missing, "is missing"), (emptied, "0 bytes"), (one_byte_changed, "SHA-256")]
)
def test_a_file_other_than_the_manifests_is_refused_before_keras_sees_it(
    tmp_path: Path, harm: Callable[[Path], None], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny().save(tmp_path / "a.keras")
    entry = entry_for(tmp_path, "a.keras")
    harm(tmp_path / "a.keras")
    import keras

    monkeypatch.setattr(keras.saving, "load_model", lambda *a, **k: pytest.fail("Keras opened an unverified file"))
    with pytest.raises(ModelUnusable, match=says):
        load_keras_classifier(entry, tmp_path)


@pytest.mark.parametrize("file", ["cut.keras", "cut.h5"])
def test_a_truncated_file_with_a_matching_hash_is_refused(tmp_path: Path, file: str) -> None:
    tiny().save(tmp_path / file)
    content = (tmp_path / file).read_bytes()
    (tmp_path / file).write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelUnusable, match="truncated, corrupt"):
        load_keras_classifier(entry_for(tmp_path, file), tmp_path)


def test_a_keras_archive_with_a_damaged_member_is_refused(tmp_path: Path) -> None:
    tiny().save(tmp_path / "a.keras")
    content = bytearray((tmp_path / "a.keras").read_bytes())
    with zipfile.ZipFile(tmp_path / "a.keras") as archive:
        member = archive.getinfo("model.weights.h5")
    content[member.header_offset + 500] ^= 255
    (tmp_path / "a.keras").write_bytes(content)
    with pytest.raises(ModelUnusable, match="damaged"):
        load_keras_classifier(entry_for(tmp_path, "a.keras"), tmp_path)


@pytest.mark.parametrize(
    ("network", "says"),
    [
        ({"size": 20}, r"takes \(None, 20, 20, 1\)"),
        ({"channels": 2}, "1 or 3"),
        ({"outputs": 3}, "names 4 classes"),
        ({"activation": None}, "no probabilities that sum to 1"),
    ],
)
def test_a_network_of_another_shape_than_the_manifests_is_refused(
    tmp_path: Path, network: dict[str, Any], says: str
) -> None:
    tiny(**network).save(tmp_path / "a.keras")
    with pytest.raises(ModelUnusable, match=says):
        load_keras_classifier(entry_for(tmp_path, "a.keras"), tmp_path)


def test_weights_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    network = tiny()
    network.layers[-1].set_weights([np.full((3, 4), np.nan), np.zeros(4)])
    network.save(tmp_path / "a.keras")
    with pytest.raises(ModelUnusable, match="not finite"):
        load_keras_classifier(entry_for(tmp_path, "a.keras"), tmp_path)


@pytest.mark.parametrize("file", ["l.keras", "l.h5"])
def test_a_lambda_layer_is_refused(tmp_path: Path, file: str) -> None:
    import keras
    from keras import layers

    image = keras.Input((16, 16, 1))
    x = layers.Lambda(lambda pixels: pixels * 2)(image)
    x = layers.Dense(4, activation="softmax")(layers.Flatten()(x))
    keras.Model(image, x).save(tmp_path / file)
    with pytest.raises(ModelUnusable, match="Lambda, which would run code"):
        load_keras_classifier(entry_for(tmp_path, file), tmp_path)


def test_a_layer_of_a_foreign_module_is_refused(tmp_path: Path) -> None:
    tiny().save(tmp_path / "a.keras")
    with zipfile.ZipFile(tmp_path / "a.keras") as old:
        members = {name: old.read(name) for name in old.namelist()}
    config = json.loads(members["config.json"])
    config["config"]["layers"][1]["module"] = "subprocess"
    members["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(tmp_path / "a.keras", "w") as new:
        for name, content in members.items():
            new.writestr(name, content)
    with pytest.raises(ModelUnusable, match="module 'subprocess'"):
        load_keras_classifier(entry_for(tmp_path, "a.keras"), tmp_path)


def test_a_file_of_weights_alone_is_refused(tmp_path: Path) -> None:
    tiny().save_weights(tmp_path / "only.weights.h5")
    with pytest.raises(ModelUnusable, match="weights only"):
        load_keras_classifier(entry_for(tmp_path, "only.weights.h5"), tmp_path)


def test_the_trained_networks_architecture_loads_at_full_size_with_three_channels(tmp_path: Path) -> None:
    import keras
    from keras import layers

    from pipeline.models.training.slice_network import resnet50

    backbone = resnet50(224, 3, 1.0)
    # As published: 23,587,712 weights with a bias in each convolution; here 53 convolutions without one.
    assert backbone.count_params() == 23_561_152
    small = resnet50(32, 3, 0.125)
    pooled = layers.GlobalAveragePooling2D()(small.outputs[-1])
    keras.Model(small.input, layers.Dense(4, activation="softmax")(pooled)).save(tmp_path / "r.h5")
    model = load_keras_classifier(entry_for(tmp_path, "r.h5", input_size=32), tmp_path)
    assert model.predict(np.zeros((1, 32, 32), np.float32)).shape == (1, 4)
