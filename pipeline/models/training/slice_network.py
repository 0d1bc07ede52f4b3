"""The 2D network: a ResNet50 of any width, built from scratch in Keras 3 (functional)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

#: Bottleneck blocks in each of the four stages of ResNet50.
BLOCKS: tuple[int, ...] = (3, 4, 6, 3)
BATCH_NORM_MOMENTUM = 0.9


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


def resnet50(size: int | None = 224, channels: int = 1, width: float = 0.5, reduce: int = 1) -> keras.Model:
    """ResNet50 (bottleneck 3-4-6-3, stride in the 3 x 3) without its head.

    size: side of the square input in pixels, None for any. channels: 1 or 3, values 0..1. width: factor on every
    number of filters; 1.0 is the published network. reduce: the picture is first averaged over squares of this side.
    Outputs: features of stage 3 (1/8), stage 4 (1/16) and stage 5 (1/32) of the reduced picture.
    """
    import keras
    from keras import layers

    image = keras.Input((size, size, channels), name="image")
    # 0..1 to about zero mean and unit spread; a Rescaling layer, so that it travels inside the file.
    x = layers.Rescaling(4.0, offset=-1.0, name="rescale")(image)
    if reduce > 1:
        x = layers.AveragePooling2D(reduce, name="reduce")(x)
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


def training_network(type_classes: Sequence[str], channels: int = 1, width: float = 0.5) -> keras.Model:
    """One backbone with three heads, for training: 'detection' and 'type' logits and an auxiliary tumour map.

    Input (n, any, any, channels). Outputs: dict of detection (n, 1), type (n, classes), outline (n, h/8, w/8, 1).
    """
    import keras
    from keras import layers

    backbone = resnet50(None, channels, width)
    eighth, sixteenth, last = backbone.outputs
    pooled = layers.GlobalAveragePooling2D(name="pooled")(last)
    dropped = layers.Dropout(0.3, name="dropout")(pooled)
    coarse = layers.UpSampling2D(2, name="outline_up")(layers.Conv2D(32, 1, name="outline_coarse")(sixteenth))
    fine = layers.Conv2D(32, 1, name="outline_fine")(eighth)
    joined = layers.ReLU(name="outline_relu")(layers.Add(name="outline_add")([coarse, fine]))
    return keras.Model(
        backbone.input,
        {
            "detection": layers.Dense(1, dtype="float32", name="detection")(dropped),
            "type": layers.Dense(len(type_classes), dtype="float32", name="type")(dropped),
            "outline": layers.Conv2D(1, 1, dtype="float32", name="outline")(joined),
        },
        name="resnet50_training",
    )


def classifier(trained: keras.Model, head: str, classes: int, size: int = 224, trained_size: int = 224) -> keras.Model:
    """The network that ships: backbone and one head of `trained`, softmax over `classes`, input (n, size, size, c).

    Where training ended at a whole fraction of `size` (`trained_size`), the network reduces its input to that.
    A one-logit head becomes two columns, softmax((0, z)): the same probability as sigmoid(z).
    """
    import keras
    import numpy as np
    from keras import layers

    channels = int(trained.input.shape[-1])
    width = trained.get_layer("conv1_conv").filters / 64
    backbone = resnet50(size, channels, width, reduce=size // trained_size)
    for layer in backbone.layers:
        if layer.weights:
            layer.set_weights(trained.get_layer(layer.name).get_weights())
    pooled = layers.GlobalAveragePooling2D(name="pooled")(backbone.outputs[-1])
    dense = layers.Dense(classes, activation="softmax", name="probabilities")
    model = keras.Model(backbone.input, dense(pooled), name=f"resnet50_{head}")
    kernel, bias = trained.get_layer(head).get_weights()
    if kernel.shape[1] == 1 and classes == 2:
        kernel, bias = np.hstack([np.zeros_like(kernel), kernel]), np.concatenate([np.zeros_like(bias), bias])
    dense.set_weights([kernel, bias])
    return model
