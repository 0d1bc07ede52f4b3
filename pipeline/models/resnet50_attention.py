"""Grad-CAM of a Keras classifier of slices: which places of the last feature map speak for a class.

The feature map is the last one with at least 7 x 7 places through which everything the answer depends on passes, found
in the network's own graph: of a network that ends in global pooling and one dense layer the last one or the one before.
The gradient is kept at each place instead of averaged over all ("HiResCAM"); where global pooling follows, that is
Grad-CAM to the last digit, and where more of a network follows, it stays true to what the network computes.

`python -m` this module does it in a process of its own, so that the worker keeps neither TensorFlow nor its memory.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import ModelUnusable
from pipeline.models.classifier import SliceNetwork, as_classifier
from pipeline.models.manifest import ManifestEntry
from pipeline.volume import FloatArray

_LEAST_PLACES = 7
_TIMEOUT_S = 600
_FIX = "The slice is explained by occlusion instead."
_PICTURE, _HEAT = "picture.npy", "heat.npy"


def keras_attention(entry: ManifestEntry, folder: Path, picture: FloatArray, class_name: str) -> FloatArray:
    """(h, w), 0 or more: what at each place of the feature map speaks for `class_name`. Imports TensorFlow.

    picture: (size, size) in 0..1, size as the entry says.

    Raises:
        ModelUnusable: the file does not load, or no feature map lies on every way from the picture to the answer.
    """
    from pipeline.models.classifier_keras import load_keras_network

    network = load_keras_network(entry, folder)
    import tensorflow as tf

    column = np.array([mapped == class_name for mapped in entry.mapped_classes])
    shape = tuple(network.inputs[0].shape[1:])
    heats: list[FloatArray] = []

    @tf.function(input_signature=[tf.TensorSpec((None, *shape), tf.float32)], autograph=False)  # type: ignore[untyped-decorator]
    def answer_and_heat(images: Any) -> Any:
        answers = network(images, training=False)
        features = _feature_map(entry, images.op, answers.op)
        gradient = tf.gradients(_score(answers, entry, column), features)[0]
        return answers, tf.nn.relu(tf.reduce_sum(gradient * features, axis=-1))

    def forward(images: FloatArray) -> FloatArray:
        answers, heat = answer_and_heat(tf.constant(images))
        heats.append(heat.numpy())
        return np.asarray(answers.numpy(), np.float32)

    described = SliceNetwork(
        forward=forward, input_shape=shape, output_shape=tuple(network.outputs[0].shape[1:]), detail="reference"
    )
    as_classifier(entry, described).answers(np.asarray(picture[None], np.float32))
    heat: FloatArray = np.asarray(heats[-1][0], np.float32)
    return heat


def keras_attention_apart(entry: ManifestEntry, folder: Path, picture: FloatArray, class_name: str) -> FloatArray:
    """`keras_attention` in a process of its own: some ten seconds, nothing of which stays.

    Raises:
        ModelUnusable: as `keras_attention`, or the process failed or took too long.
    """
    with tempfile.TemporaryDirectory() as exchange:
        np.save(Path(exchange) / _PICTURE, np.asarray(picture, np.float32))
        try:
            done = subprocess.run(
                [sys.executable, "-m", __name__, str(folder.absolute()), exchange, class_name],
                input=json.dumps(dataclasses.asdict(entry)),
                env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "-1"},
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ModelUnusable(entry.name, f"its Grad-CAM took longer than {_TIMEOUT_S} s", _FIX) from error
        heat = Path(exchange) / _HEAT
        if done.returncode != 0 or not heat.is_file():
            last = (done.stderr.strip().splitlines() or ["nothing was said"])[-1][:200]
            raise ModelUnusable(entry.name, f"its Grad-CAM ended with code {done.returncode} ({last})", _FIX)
        found: FloatArray = np.load(heat, allow_pickle=False)
        return found


def _score(answers: Any, entry: ManifestEntry, column: FloatArray) -> Any:
    """(n,) log-odds of a class before the last activation, whose gradient does not fade where the answer is sure."""
    import tensorflow as tf

    operation = answers.op
    while operation.type in ("Identity", "Cast", "Reshape"):
        operation = operation.inputs[0].op
    if operation.type in ("Softmax", "Sigmoid"):
        logits = operation.inputs[0]
    elif entry.outputs == "logits":
        logits = answers
    else:
        kept = tf.clip_by_value(answers, 1e-6, 1 - 1e-6)
        logits = tf.math.log(kept) - (tf.math.log(1 - kept) if answers.shape[1] == 1 else 0.0)
    if logits.shape[1] == 1:
        return logits[:, 0] if column[1] else -logits[:, 0]
    own, others = (tf.boolean_mask(logits, mask, axis=1) for mask in (column, ~column.astype(bool)))
    return tf.reduce_logsumexp(own, axis=1) - tf.reduce_logsumexp(others, axis=1)


def _feature_map(entry: ManifestEntry, source: Any, target: Any) -> Any:
    """The last tensor (n, h, w, c) of enough places that every way from the picture to the answer goes through."""
    for operation in reversed(_narrows(source, target)):
        if len(operation.outputs) == 1:
            shape = operation.outputs[0].shape
            if shape.rank == 4 and shape[3] is not None and shape[3] > 1:
                rows, columns = shape[1], shape[2]
                if rows is not None and columns is not None and min(rows, columns) >= _LEAST_PLACES:
                    return operation.outputs[0]
    raise ModelUnusable(entry.name, "no feature map lies on every way from the picture to the answer", _FIX)


def _narrows(source: Any, target: Any) -> list[Any]:
    """The operations of a graph that every way from `source` to `target` goes through, in order."""
    operations = source.graph.get_operations()  # in the order they were made, inputs first
    after: set[Any] = {source}
    for operation in operations:
        if any(tensor.op in after for tensor in operation.inputs):
            after.add(operation)
    before: set[Any] = set()
    waiting = [target]
    while waiting:
        operation = waiting.pop()
        if operation in after and operation not in before:
            before.add(operation)
            waiting += [tensor.op for tensor in operation.inputs]
    path = [operation for operation in operations if operation in before]
    place = {operation: number for number, operation in enumerate(path)}
    return [path[number] for number in bottlenecks([_last_user(operation, place) for operation in path])]


def _last_user(operation: Any, place: dict[Any, int]) -> int:
    """The last place where a result of `operation` is used; its own where none is."""
    users = [place[user] for tensor in operation.outputs for user in tensor.consumers() if user in place]
    return max(users, default=place[operation])


def bottlenecks(last_use: Sequence[int]) -> list[int]:
    """Which steps of a chain no earlier result is carried past. last_use: for each step the last step that uses it."""
    found = []
    carried_to = 0
    for number, used in enumerate(last_use):
        if carried_to <= number:
            found.append(number)
        carried_to = max(carried_to, used)
    return found


def _main() -> int:
    folder, exchange, class_name = sys.argv[1:]
    entry = ManifestEntry.from_json(json.load(sys.stdin))
    picture = np.load(Path(exchange) / _PICTURE, allow_pickle=False)
    np.save(Path(exchange) / _HEAT, keras_attention(entry, Path(folder), picture, class_name))
    return 0


if __name__ == "__main__":
    sys.exit(_main())
