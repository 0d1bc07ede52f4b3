"""One training step of the 2D network: augment, mix, four losses, one update, and the running average."""

from __future__ import annotations

from typing import Any

from pipeline.models.training import slice_augment

#: Label smoothing of detection and type.
SMOOTHING = 0.05
OUTLINE_WEIGHT = 1.0
KIND_MAP_WEIGHT = 0.5
#: Tumour covers little of a picture: its patches weigh this much.
TUMOUR_WEIGHT = 4.0


def build_step(network: Any, average: Any, optimiser: Any, size: int) -> Any:
    """The step for pictures of `size` pixels, as a graph.

    Its arguments, for a batch of n: pictures uint8 (n, size, size), outlines uint8 (n, 28, 28), tumour (n,), kind
    (n, classes) one-hot or all 0 where unknown, outlined (n,) 0 or 1, maps (n, 8), curves (n, 17), lam (n,) the share
    of its own picture in a mix, seed (2,) int32, strength of the changes, decay of the running average. Gives the
    losses detection, type, outline and kind map.
    """
    import tensorflow as tf

    pairs = list(zip(average.variables, network.variables, strict=True))

    def step(
        pictures: Any,
        outlines: Any,
        tumour: Any,
        kind: Any,
        outlined: Any,
        maps: Any,
        curves: Any,
        lam: Any,
        seed: Any,
        strength: Any,
        decay: Any,
    ) -> Any:
        outline = tf.image.resize(tf.cast(outlines, tf.float32)[..., None] / 255.0, [size, size])
        image = tf.cast(pictures, tf.float32)[..., None] / 255.0
        both = slice_augment.warp(tf.concat([image, outline], -1), maps, size)
        image, outline = both[..., :1], both[..., 1:]
        image = slice_augment.change_look(image, curves, seed, strength)
        image = slice_augment.cut_out(image, outline, seed, strength)
        outline = tf.nn.avg_pool2d(outline, 8, 8, "VALID")

        # Mixed pictures: each with its neighbour in the batch, which was drawn at random.
        known = tf.reduce_sum(kind, 1)
        # The kind at each place of a tumour; of pictures that are not mixed.
        places = outline * (known * tumour * outlined * tf.cast(lam == 1, tf.float32))[:, None, None, None]
        weight, column = lam[:, None], lam[:, None, None, None]
        image = column * image + (1 - column) * tf.roll(image, 1, 0)
        outline = column * outline + (1 - column) * tf.roll(outline, 1, 0)
        tumour = lam * tumour + (1 - lam) * tf.roll(tumour, 1, 0)
        mixed_kind = weight * kind + (1 - weight) * tf.roll(kind, 1, 0)
        known = tf.where(lam < 1, known * tf.roll(known, 1, 0), known)
        outlined = tf.where(lam < 1, outlined * tf.roll(outlined, 1, 0), outlined)

        tumour = tumour * (1 - 2 * SMOOTHING) + SMOOTHING
        mixed_kind = mixed_kind * (1 - SMOOTHING) + SMOOTHING / kind.shape[1]
        with tf.GradientTape() as tape:
            out = network(image, training=True)
            detection = tf.reduce_mean(
                tf.nn.sigmoid_cross_entropy_with_logits(labels=tumour, logits=out["detection"][:, 0])
            )
            each = tf.nn.softmax_cross_entropy_with_logits(labels=mixed_kind, logits=out["type"])
            kinds = tf.reduce_sum(each * known) / tf.maximum(tf.reduce_sum(known), 1.0)
            pixels = tf.nn.weighted_cross_entropy_with_logits(outline, out["outline"], TUMOUR_WEIGHT)
            maps_loss = tf.reduce_sum(tf.reduce_mean(pixels, [1, 2, 3]) * outlined) / tf.maximum(
                tf.reduce_sum(outlined), 1.0
            )
            each_place = tf.nn.softmax_cross_entropy_with_logits(
                labels=tf.broadcast_to(kind[:, None, None], tf.shape(out["kind_map"])), logits=out["kind_map"]
            )
            kind_map = tf.reduce_sum(each_place * places[..., 0]) / (tf.reduce_sum(places) + 1.0)
            loss = detection + kinds + OUTLINE_WEIGHT * maps_loss + KIND_MAP_WEIGHT * kind_map
        gradients = tape.gradient(loss, network.trainable_variables)
        optimiser.apply_gradients(zip(gradients, network.trainable_variables, strict=True))
        for mean, now in pairs:
            if mean.dtype == "float32":
                mean.assign(mean * decay + now * (1 - decay))
        return tf.stack([detection, kinds, maps_loss, kind_map])

    return tf.function(step)
