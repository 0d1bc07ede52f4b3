"""What all classifiers share: the pictures a network is given, and what its answers become. No framework."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.errors import ModelUnusable
from pipeline.models.classifier import SliceNetwork, as_classifier
from pipeline.models.manifest import ManifestEntry

SIZE = 4


class Recorder:
    """A network that answers each picture with the same row and remembers what it was given."""

    def __init__(self, row: list[float], shape: tuple[int | None, ...] = (SIZE, SIZE, 1)) -> None:
        self.row = np.array(row, np.float32)
        self.shape = shape
        self.given: list[np.ndarray] = []

    def forward(self, images: np.ndarray) -> np.ndarray:
        self.given.append(images)
        return np.tile(self.row, (len(images), 1))

    @property
    def network(self) -> SliceNetwork:
        return SliceNetwork(
            forward=self.forward, input_shape=self.shape, output_shape=(len(self.row),), detail="recorder"
        )


def entry(**changes: Any) -> ManifestEntry:
    values = {"name": "m", "task": "type", "file": "m", "sha256": "0" * 64, "version": "1", "format": "any"}
    return ManifestEntry.from_json(values | {"input_size": SIZE, "classes": ["a", "b", "c"]} | changes)


def answer(row: list[float], **changes: Any) -> np.ndarray:
    classifier = as_classifier(entry(**changes), Recorder(row).network)
    assert classifier.runtime_detail == "recorder"
    return classifier.predict(np.zeros((1, SIZE, SIZE), np.float32))[0]


DETECTION = {"task": "detection", "classes": ["notumor", "tumor"]}


@pytest.mark.parametrize(
    ("row", "changes", "expected"),
    [
        ([0.2, 0.3, 0.5], {}, [0.2, 0.3, 0.5]),
        ([0.2, 0.3, 0.5], {"outputs": "softmax"}, [0.2, 0.3, 0.5]),
        ([0.0, np.log(2), np.log(5)], {"outputs": "logits"}, [1 / 8, 2 / 8, 5 / 8]),
        ([0.0, np.log(4), np.log(25)], {"outputs": "logits", "temperature": 2.0}, [1 / 8, 2 / 8, 5 / 8]),
        ([0.2, 0.2, 0.4], {"outputs": "sigmoid"}, [0.25, 0.25, 0.5]),
        ([0.8], DETECTION, [0.2, 0.8]),
        ([0.8], DETECTION | {"outputs": "sigmoid"}, [0.2, 0.8]),
        ([np.log(4)], DETECTION | {"outputs": "logits"}, [0.2, 0.8]),
        ([0.8], DETECTION | {"output_classes": ["tumor", "notumor"]}, [0.8, 0.2]),
        ([0.2, 0.3, 0.5], {"output_classes": ["c", "a", "b"]}, [0.3, 0.5, 0.2]),
        (
            [0.2, 0.3, 0.5],
            {"output_classes": ["gamma", "a", "beta"], "class_map": {"gamma": "c", "beta": "b"}},
            [0.3, 0.5, 0.2],
        ),
        (
            [0.2, 0.3, 0.5],
            DETECTION
            | {"output_classes": ["g", "no", "p"], "class_map": {"g": "tumor", "p": "tumor", "no": "notumor"}},
            [0.3, 0.7],
        ),
    ],
)
def test_answers_become_probabilities_of_our_classes(
    row: list[float], changes: dict[str, Any], expected: list[float]
) -> None:
    np.testing.assert_allclose(answer(row, **changes), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "changes", "expected"),
    [
        ((SIZE, SIZE, 1), {}, [0.5]),
        ((SIZE, SIZE, 3), {"input_range": [0, 255]}, [127.5] * 3),
        ((SIZE, SIZE, 3), {"mean": [0.5, 0.0, 0.25], "std": [1, 0.5, 0.25]}, [0.0, 1.0, 1.0]),
        ((SIZE, SIZE, 3), {"mean": [0.25], "std": [0.5]}, [0.5] * 3),
        ((SIZE, SIZE, 1), {"input_range": [0, 255], "mean": [27.5], "std": [10]}, [10.0]),
        ((3, SIZE, SIZE), {"layout": "NCHW", "mean": [0.5, 0.0, 0.25], "std": [1, 0.5, 0.25]}, [0.0, 1.0, 1.0]),
        ((None, None, None), {"channel_order": "rgb"}, [0.5] * 3),
        ((None, None, None), {}, [0.5]),
    ],
)
def test_a_slice_reaches_the_network_as_declared(
    shape: tuple[int | None, ...], changes: dict[str, Any], expected: list[float]
) -> None:
    network = Recorder([0.2, 0.3, 0.5], shape)
    classifier = as_classifier(entry(**changes), network.network)
    slices = np.full((1, SIZE, SIZE), 0.5, np.float32)
    slices[0, 1, 2] = 0.75
    classifier.predict(slices)
    given = network.given[-1]
    assert given.dtype == np.float32
    pictures = given.transpose(0, 2, 3, 1) if changes.get("layout") == "NCHW" else given
    assert pictures.shape == (1, SIZE, SIZE, len(expected))
    np.testing.assert_allclose(pictures[0, 0, 0], expected, atol=1e-5)
    assert (pictures[0, 1, 2] != pictures[0, 0, 0]).all()


@pytest.mark.parametrize(
    ("row", "shape", "changes", "says"),
    [
        ([0.2, 0.8], (SIZE, SIZE, 1), {}, r"gives \(None, 2\), but the manifest names 3 classes"),
        ([0.8], (SIZE, SIZE, 1), DETECTION | {"outputs": "softmax"}, "names 2 classes"),
        ([0.2, 0.3, 0.5], (SIZE, 5, 1), {}, r"takes \(None, 4, 5, 1\), not \(n, 4, 4, 1 or 3\)"),
        ([0.2, 0.3, 0.5], (3, SIZE, SIZE), {"layout": "NHWC"}, r"takes \(None, 3, 4, 4\)"),
        ([0.2, 0.3, 0.5], (SIZE, SIZE), {}, r"takes \(None, 4, 4\)"),
        ([0.2, 0.3, 0.5], (SIZE, SIZE, 1), {"layout": "NCHW"}, r"not \(n, 1 or 3, 4, 4\)"),
        ([0.2, 0.3, 0.5], (SIZE, SIZE, 1), {"channel_order": "rgb"}, "takes 1 channel, its channel_order is 'rgb'"),
        ([0.2, 0.3, 0.5], (SIZE, SIZE, 1), {"mean": [1, 1, 1], "std": [1, 1, 1]}, "mean has 3 values for 1 channels"),
        ([0.2, 0.3, 0.5], (SIZE, SIZE, 1), {"input_size": [4, 4, 4]}, "no side of a square slice"),
        ([0.2, 0.3, 0.5], (SIZE, SIZE, 1), {"outputs": "labels"}, "only a segmenter"),
        ([0.2, 0.3, 0.5], (SIZE, SIZE, 1), {"outputs": "logits"}, "the manifest says logits"),
        ([1.2, -0.7, 0.5], (SIZE, SIZE, 1), {}, "no probabilities that sum to 1"),
        ([0.9, 0.3, 0.5], (SIZE, SIZE, 1), {}, "no probabilities that sum to 1"),
        ([1.5, 0.3, 0.5], (SIZE, SIZE, 1), {"outputs": "sigmoid"}, "no probabilities"),
        ([3.0], (SIZE, SIZE, 1), DETECTION, "no probabilities"),
        ([np.nan, 0.3, 0.5], (SIZE, SIZE, 1), {}, "not finite"),
        ([np.inf, 0.3, 0.5], (SIZE, SIZE, 1), {"outputs": "logits"}, "not finite"),
    ],
)
def test_a_network_that_is_not_as_declared_is_refused(
    row: list[float], shape: tuple[int | None, ...], changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(ModelUnusable, match=f"model 'm': .*{says}"):
        as_classifier(entry(**changes), Recorder(row, shape).network)


def test_a_network_that_leaves_its_outputs_open_is_judged_by_its_answer() -> None:
    network = Recorder([0.2, 0.8]).network
    open_network = SliceNetwork(
        forward=network.forward, input_shape=network.input_shape, output_shape=(None,), detail="open"
    )
    with pytest.raises(ModelUnusable, match=r"gives \(2, 2\) for two slices of 3 classes"):
        as_classifier(entry(), open_network)
