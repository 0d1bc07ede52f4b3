"""Tiny real ONNX classifiers of slices, written node by node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


def tiny_onnx(
    path: Path,
    *,
    size: int = 16,
    channels: int = 1,
    outputs: int = 4,
    activation: str = "Softmax",
    layout: str = "NHWC",
    batch: int | str = "n",
    seed: int = 1,
) -> dict[str, np.ndarray]:
    """A linear classifier of the picture's mean by quadrant. Writes `path`, returns the weights 'w' and 'b'.

    Its logits are `quadrant_means(images) @ w + b`; activation: an ONNX operator, or '' for logits.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(seed)
    weights = {
        "w": random.normal(0, 2, (4 * channels, outputs)).astype(np.float32),
        "b": random.normal(0, 1, outputs).astype(np.float32),
    }
    shape = [batch, size, size, channels] if layout == "NHWC" else [batch, channels, size, size]
    nodes = [helper.make_node("Transpose", ["images"], ["nchw"], perm=[0, 3, 1, 2])] if layout == "NHWC" else []
    half = [size // 2, size // 2]
    nodes += [
        helper.make_node(
            "AveragePool", [nodes[0].output[0] if nodes else "images"], ["p"], kernel_shape=half, strides=half
        ),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "w", "b"], ["answers" if not activation else "g"]),
    ]
    if activation:
        nodes.append(helper.make_node(activation, ["g"], ["answers"]))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("answers", TensorProto.FLOAT, [batch, outputs])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return weights


def quadrant_means(images: np.ndarray) -> np.ndarray:
    """(n, channels, size, size) to (n, 4 * channels)."""
    n, channels, size, _ = images.shape
    half = size // 2
    means: Any = images.reshape(n, channels, 2, half, 2, half).mean(axis=(3, 5))
    return np.asarray(means.reshape(n, -1))
