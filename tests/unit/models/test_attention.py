"""What speaks for a class: exact for a network of one feature map, found by hiding for any other."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pipeline.models.attention import GRAD_CAM, OCCLUSION, attention, occlusion
from pipeline.models.manifest import ManifestEntry, file_sha256
from pipeline.models.resnet50_attention import bottlenecks, keras_attention
from pipeline.report import ModelIdentity
from pipeline.volume import SeriesRole

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")
SIZE = 28


class Corner:
    """Says 'tumor' by how bright the lower right quarter of a slice is."""

    identity = ModelIdentity(name="corner", version="1", task="detection", weights_sha256="0" * 64)
    classes = ("notumor", "tumor")
    roles = (SeriesRole.T1,)
    input_size = SIZE
    threshold = 0.5

    def predict(self, slices):
        tumour = 0.02 + 0.96 * slices[:, SIZE // 2 :, SIZE // 2 :].mean(axis=(1, 2))
        return np.stack([1 - tumour, tumour], axis=1).astype(np.float32)


@pytest.fixture(scope="module")
def picture():
    return np.random.default_rng(3).uniform(0.3, 1, (SIZE, SIZE)).astype(np.float32)


def test_hiding_what_counts_makes_it_hot(picture):
    heat = occlusion(Corner(), picture, "tumor")
    assert heat.shape == (SIZE, SIZE)
    assert heat[SIZE // 2 + 2 :, SIZE // 2 + 2 :].min() > 0
    assert not heat[: SIZE // 2 - 4].any()
    assert not occlusion(Corner(), picture, "notumor").any()


def test_a_model_that_is_no_keras_file_is_explained_by_occlusion(tmp_path, picture):
    (tmp_path / "manifest.json").write_text(json.dumps({"models": []}))
    found = attention(Corner(), picture, "tumor", tmp_path)
    assert found.method == OCCLUSION
    assert found.heat.max() == 1
    with pytest.raises(ValueError, match="no class 'glioma'"):
        attention(Corner(), picture, "glioma", tmp_path)


def test_bottlenecks_are_what_nothing_is_carried_past():
    # 0 feeds 1 and 3 (a shortcut around 1 and 2), 3 feeds 4 and 5, 4 feeds 5.
    assert bottlenecks([3, 2, 3, 5, 5, 5]) == [0, 3, 5]
    assert bottlenecks([1, 2, 2]) == [0, 1, 2]


def _saved(tmp_path, network, classes, **more):
    network.save(tmp_path / "net.keras")
    values = {
        "name": "net",
        "task": "detection" if len(classes) == 2 else "type",
        "file": "net.keras",
        "sha256": file_sha256(tmp_path / "net.keras"),
        "version": "1",
        "format": "keras",
        "input_size": SIZE,
        "classes": list(classes),
        "roles": ["T1"],
        **more,
    }
    (tmp_path / "manifest.json").write_text(json.dumps({"models": [values]}))
    return ManifestEntry.from_json(values)


def test_of_pooling_and_one_layer_it_is_grad_cam_to_the_last_digit(tmp_path, picture):
    import keras
    from keras import layers

    keras.utils.set_random_seed(1)
    image = keras.Input((SIZE, SIZE, 1))
    features = layers.Conv2D(5, 3, strides=2, padding="same", activation="relu")(image)
    answer = layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling2D()(features))
    network = keras.Model(image, answer)
    entry = _saved(tmp_path, network, ("a", "b", "c"))
    heat = keras_attention(entry, tmp_path, picture, "b")

    maps = np.asarray(keras.Model(image, features)(picture[None, ..., None]))[0]
    weights = network.layers[-1].get_weights()[0]
    others = np.exp(maps.mean((0, 1)) @ weights + network.layers[-1].get_weights()[1])[[0, 2]]
    slope = weights[:, 1] - weights[:, [0, 2]] @ (others / others.sum())
    assert heat == pytest.approx(np.maximum(maps @ slope / maps[..., 0].size, 0), abs=1e-6)


def test_where_two_ways_lead_to_the_answer_the_map_before_the_fork_is_read(tmp_path, picture):
    import keras
    from keras import layers

    keras.utils.set_random_seed(2)
    image = keras.Input((SIZE, SIZE, 1))
    fork = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu")(image)
    deep = layers.Conv2D(6, 3, padding="same", activation="relu")(fork)
    both = layers.Concatenate()([layers.GlobalMaxPooling2D()(fork), layers.GlobalAveragePooling2D()(deep)])
    entry = _saved(tmp_path, keras.Model(image, layers.Dense(1, activation="sigmoid")(both)), ("notumor", "tumor"))
    for_it = keras_attention(entry, tmp_path, picture, "tumor")
    against = keras_attention(entry, tmp_path, picture, "notumor")
    assert for_it.shape == against.shape == (14, 14)
    assert not (for_it * against).any()
    assert for_it.any() or against.any()


class Loaded(Corner):
    """Stands for the Keras file of the manifest."""

    def __init__(self, sha256):
        self.identity = ModelIdentity(name="net", version="1", task="detection", weights_sha256=sha256)


def test_a_keras_file_is_explained_in_a_process_of_its_own(tmp_path, picture):
    import keras
    from keras import layers

    keras.utils.set_random_seed(3)
    image = keras.Input((SIZE, SIZE, 3))
    features = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu")(image)
    answer = layers.Dense(2, activation="softmax")(layers.GlobalAveragePooling2D()(features))
    entry = _saved(tmp_path, keras.Model(image, answer), ("notumor", "tumor"))
    found = attention(Loaded(entry.sha256), picture, "tumor", tmp_path)
    assert found.method == GRAD_CAM
    assert found.heat.shape == picture.shape
    assert found.heat.max() in (0, 1)


def test_a_damaged_keras_file_is_explained_by_occlusion(tmp_path, picture):
    (tmp_path / "net.keras").write_bytes(b"no archive")
    values = {
        "name": "net",
        "task": "detection",
        "file": "net.keras",
        "sha256": file_sha256(tmp_path / "net.keras"),
        "version": "1",
        "format": "keras",
        "input_size": SIZE,
        "classes": ["notumor", "tumor"],
    }
    (tmp_path / "manifest.json").write_text(json.dumps({"models": [values]}))
    assert attention(Loaded(values["sha256"]), picture, "tumor", tmp_path).method == OCCLUSION
