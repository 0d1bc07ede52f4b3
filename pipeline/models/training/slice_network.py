"""The 2D network: a ResNet50 of any width, built from scratch in Keras 3 (functional)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import keras

#: Bottleneck blocks in each of the four stages of ResNet50.
BLOCKS: tuple[int, ...] = (3, 4, 6, 3)
BATCH_NORM_MOMENTUM = 0.9
OUTLINE_FILTERS = 96
DROPOUT = 0.15


def _convolution(
    x: Any, filters: int, kernel: int, stride: int, name: str, *, activate: bool, gain: str = "ones"
) -> Any:
    from keras import layers

    x = layers.Conv2D(
        filters, kernel, stride, padding="same", use_bias=False, kernel_initializer="he_normal", name=f"{name}_conv"
    )(x)
    x = layers.BatchNormalization(
        momentum=BATCH_NORM_MOMENTUM, epsilon=1e-5, gamma_initializer=gain, name=f"{name}_bn"
    )(x)
    return layers.ReLU(name=f"{name}_relu")(x) if activate else x


def _bottleneck(x: Any, filters: int, stride: int, name: str, *, project: bool) -> Any:
    from keras import layers

    shortcut = _convolution(x, 4 * filters, 1, stride, f"{name}_0", activate=False) if project else x
    y = _convolution(x, filters, 1, 1, f"{name}_1", activate=True)
    y = _convolution(y, filters, 3, stride, f"{name}_2", activate=True)
    # A zero gain makes each block start as the identity: training from scratch settles sooner.
    y = _convolution(y, 4 * filters, 1, 1, f"{name}_3", activate=False, gain="zeros")
    return layers.ReLU(name=f"{name}_out")(layers.Add(name=f"{name}_add")([shortcut, y]))


def resnet50(size: int | None = 224, channels: int = 1, width: float = 0.5, works_at: int | None = None) -> keras.Model:
    """ResNet50 (bottleneck 3-4-6-3, stride in the 3 x 3) without its head.

    size: side of the square input in pixels, None for any. channels: 1 or 3, values 0..1. width: factor on every
    number of filters; 1.0 is the published network. works_at: side to which the picture is brought down first.
    Outputs: features of stage 3 (1/8), stage 4 (1/16) and stage 5 (1/32) of that picture.
    """
    import keras
    from keras import layers

    image = keras.Input((size, size, channels), name="image")
    x = image if size is None or works_at in (None, size) else _brought_down(image, size, channels, works_at or size)
    # 0..1 to about zero mean and unit spread; a Rescaling layer, so that it travels inside the file.
    x = layers.Rescaling(4.0, offset=-1.0, name="rescale")(x)
    x = _convolution(x, round(64 * width), 7, 2, "conv1", activate=True)
    x = layers.MaxPooling2D(3, 2, padding="same", name="pool1")(x)
    stages: list[Any] = []
    for stage, blocks in enumerate(BLOCKS):
        filters = round(64 * width) * 2**stage
        for block in range(blocks):
            stride = 2 if block == 0 and stage > 0 else 1
            x = _bottleneck(x, filters, stride, f"conv{stage + 2}_block{block + 1}", project=block == 0)
        stages.append(x)
    return keras.Model(image, stages[1:], name="resnet50")


def shrinking(size: int, smaller: int) -> NDArray[np.float32]:
    """(size, smaller) weights by which a row of pixels is brought down: triangles over the covered pixels."""
    centres = (np.arange(smaller) + 0.5) * size / smaller
    distance = np.abs(np.arange(size)[:, None] + 0.5 - centres[None]) * smaller / size
    weights = np.clip(1 - distance, 0, None)
    return np.asarray(weights / weights.sum(0), np.float32)


def _brought_down(image: Any, size: int, channels: int, smaller: int) -> Any:
    # Two matrix products, which every runtime computes alike; resizing layers with anti-aliasing are not exported.
    from keras import layers

    fixed = {"use_bias": False, "trainable": False}
    x = layers.Permute((3, 1, 2), name="shrink_channels")(image)
    x = layers.Dense(smaller, name="shrink_columns", **fixed)(x)
    x = layers.Permute((1, 3, 2), name="shrink_turn")(x)
    x = layers.Dense(smaller, name="shrink_rows", **fixed)(x)
    return layers.Permute((3, 2, 1), name="shrink_back")(x)


def _heads(stages: Sequence[Any], type_classes: int) -> dict[str, Any]:
    """Outline, kind map and the two answers, from the features of stages 3, 4 and 5.

    The answers read the whole picture (mean of stage 5) and, by attention, where the outline says the tumour is.
    """
    from keras import layers

    eighth, sixteenth, last = stages
    coarse = layers.Conv2D(OUTLINE_FILTERS, 1, name="outline_coarse")(sixteenth)
    fine = layers.Conv2D(OUTLINE_FILTERS, 1, name="outline_fine")(eighth)
    joined = layers.Add(name="outline_add")([layers.UpSampling2D(2, name="outline_up")(coarse), fine])
    refined = _convolution(
        layers.ReLU(name="outline_relu")(joined), OUTLINE_FILTERS, 3, 1, "outline_refine", activate=True
    )
    outline = layers.Conv2D(1, 1, dtype="float32", name="outline")(refined)
    kinds = layers.Conv2D(type_classes, 1, dtype="float32", name="kind_map")(refined)
    seen = layers.Concatenate(name="seen")(
        [
            layers.GlobalAveragePooling2D(name="pooled")(last),
            _attended(refined, outline, "eighth"),
            _attended(sixteenth, layers.MaxPooling2D(2, name="outline_down")(outline), "sixteenth"),
            layers.GlobalMaxPooling2D(name="outline_peak")(outline),
        ]
    )
    dropped = layers.Dropout(DROPOUT, name="dropout")(seen)
    return {
        "detection": layers.Dense(1, dtype="float32", name="detection")(dropped),
        "type": layers.Dense(type_classes, dtype="float32", name="type")(dropped),
        "outline": outline,
        "kind_map": kinds,
        "features": seen,
    }


def _attended(features: Any, outline: Any, name: str) -> Any:
    """Mean of features (n, h, w, c), weighted by the probability of tumour at each place."""
    from keras import layers

    # A softmax of the log of a sigmoid is that sigmoid over its sum.
    flat = layers.Reshape((-1, 1), name=f"attend_{name}_flat")(outline)
    log = layers.Activation("log_sigmoid", dtype="float32", name=f"attend_{name}_log")(flat)
    weights = layers.Softmax(axis=1, dtype="float32", name=f"attend_{name}_weights")(log)
    places = layers.Reshape((-1, features.shape[-1]), name=f"attend_{name}_places")(features)
    mean = layers.Dot(axes=(1, 1), dtype="float32", name=f"attend_{name}_mean")([weights, places])
    return layers.Flatten(name=f"attend_{name}")(mean)


def training_network(type_classes: Sequence[str], channels: int = 1, width: float = 0.5) -> keras.Model:
    """One backbone with its heads, for training: 'detection' and 'type' logits and auxiliary maps.

    Input (n, side, side, channels), any side divisible by 16. Outputs: dict of detection (n, 1), type (n, classes),
    outline (n, side/8, side/8, 1), kind_map (n, side/8, side/8, classes) and features (n, f), which both answers read.
    """
    import keras

    backbone = resnet50(None, channels, width)
    return keras.Model(backbone.input, _heads(backbone.outputs, len(type_classes)), name="resnet50_training")


def classifier(trained: keras.Model, head: str, classes: int, size: int = 224, trained_size: int = 224) -> keras.Model:
    """The network that ships: backbone and one head of `trained`, softmax over `classes`, input (n, size, size, c).

    Where training ended at a smaller size (`trained_size`), the network brings its input down to that.
    A one-logit head becomes two columns, softmax((0, z)): the same probability as sigmoid(z).
    """
    import keras
    from keras import layers

    channels = int(trained.input.shape[-1])
    width = trained.get_layer("conv1_conv").filters / 64
    backbone = resnet50(size, channels, width, works_at=trained_size)
    seen = _heads(backbone.outputs, trained.get_layer("type").units)["features"]
    dense = layers.Dense(classes, activation="softmax", name="probabilities")
    model = keras.Model(backbone.input, dense(seen), name=f"resnet50_{head}")
    for layer in model.layers:
        if layer.name.startswith("shrink") and layer.weights:
            layer.set_weights([shrinking(size, trained_size)])
        elif layer.weights and layer is not dense:
            layer.set_weights(trained.get_layer(layer.name).get_weights())
    kernel, bias = trained.get_layer(head).get_weights()
    if kernel.shape[1] == 1 and classes == 2:
        kernel, bias = np.hstack([np.zeros_like(kernel), kernel]), np.concatenate([np.zeros_like(bias), bias])
    dense.set_weights([kernel, bias])
    return model


def take_over(network: keras.Model, file: Path) -> int:
    """Weights of the layers of a Keras file that `network` has under the same name and shape; how many layers.

    A file that `classifier` made gives its head too: to 'detection' that of two classes, else to 'type'.
    """
    import keras

    taken = 0
    for layer in keras.saving.load_model(file, compile=False, safe_mode=True).layers:
        name, weights = layer.name, layer.get_weights()
        if name == "probabilities":
            name = "type"
            if weights[1].shape == (2,):
                # One logit holds what the softmax of two does: their difference.
                name, weights = "detection", [w[..., 1:] - w[..., :1] for w in weights]
        own = next((one for one in network.layers if one.name == name and one.weights), None)
        if own is not None and [w.shape for w in own.weights] == [w.shape for w in weights]:
            own.set_weights(weights)
            taken += 1
    return taken
