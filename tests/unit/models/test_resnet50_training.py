"""Training of the slice models: the plan, the draw, the augmentation, and a tiny run that is stopped and resumed."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.models.training import slice_training
from pipeline.models.training.slice_augment import brightness_curves, random_affine
from pipeline.models.training.slice_data import UNSPECIFIED, SliceSet, balanced_weights, cached_slices
from pipeline.models.training.slice_network import classifier, training_network
from pipeline.models.training.slice_study import choose_threshold
from pipeline.models.training.slice_training import Plan, SliceTrainer

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")


def made_up(count: int) -> SliceSet:
    rng = np.random.default_rng(0)
    kind = np.resize(np.array([0, 1, 2, 3, UNSPECIFIED], np.int8), count)
    return SliceSet(
        images=rng.integers(0, 256, (count, 224, 224), np.uint8),
        outlines=np.zeros((count, 28, 28), np.uint8),
        tumour=(kind != 2).astype(np.int8),
        kind=kind,
        outlined=np.ones(count, bool),
        dataset=np.resize(np.array(["lgg", "other", "lgg"]), count),
        patient=np.arange(count).astype(np.str_),
    )


def test_plan_grows_the_pictures_and_lowers_the_rate() -> None:
    plan = Plan.parse("96x2,224x1")
    assert plan.sizes == (96, 96, 224)
    steps = slice_training.SLICES_AN_EPOCH // slice_training.BATCH
    rates = [plan.rate(n) for n in range(3 * steps)]
    assert np.argmax(rates) == pytest.approx(2 * steps, abs=1)
    assert max(rates) == pytest.approx(slice_training.PEAK_RATE)
    assert rates[-1] < 0.02 * max(rates)


def test_no_source_and_no_class_is_drawn_much_more_than_its_share() -> None:
    slices = made_up(50)
    weights = balanced_weights(slices)
    assert weights.sum() == pytest.approx(1)
    shares = {kind: weights[slices.kind == kind].sum() for kind in (0, 1, 2, 3, UNSPECIFIED)}
    assert shares[1] == pytest.approx(shares[3])
    assert shares[2] > shares[0] > shares[1] > shares[UNSPECIFIED]


def test_a_map_keeps_the_centre_within_the_shift_and_flips_half_of_the_pictures() -> None:
    maps = random_affine(np.random.default_rng(0), 400, 101)
    centre = np.array([50.0, 50.0, 1.0])
    x, y = maps[:, :3] @ centre, maps[:, 3:6] @ centre
    assert np.abs(np.stack([x, y]) - 50).max() <= 0.08 * 101 + 1e-3
    assert 0.4 < (maps[:, 0] < 0).mean() < 0.6
    assert not maps[:, 6:].any()


def test_brightness_curves_never_fall() -> None:
    curves = brightness_curves(np.random.default_rng(0), 200)
    assert curves.shape == (200, 17)
    assert (np.diff(curves, axis=1) >= 0).all()
    assert not curves[:, 0].any()
    assert curves.max() <= 1


def small_network(type_classes: tuple[str, ...]) -> Any:
    """Inputs and outputs of the training network with one convolution between them: quick to build and trace."""
    import keras
    from keras import layers

    image = keras.Input((None, None, 1))
    x = layers.BatchNormalization()(layers.Conv2D(4, 8, 8)(image))
    pooled = layers.Dropout(0.3)(layers.GlobalAveragePooling2D()(x))
    heads = {"detection": layers.Dense(1)(pooled), "type": layers.Dense(len(type_classes))(pooled)}
    return keras.Model(image, heads | {"outline": layers.Conv2D(1, 1)(x)})


def test_a_run_that_was_stopped_ends_where_one_in_a_piece_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slice_training, "training_network", small_network)
    monkeypatch.setattr(slice_training, "BATCH", 4)
    data, plan = made_up(12), Plan.parse("32x2", slices=4)

    def run(folder: str, sizes: Plan, *, resume: bool = False) -> SliceTrainer:
        (tmp_path / folder).mkdir(exist_ok=True)
        trainer = SliceTrainer(data, data, tmp_path / folder, 5, plan)
        if resume:
            trainer.resume()
        trainer.plan = sizes
        trainer.run()
        return trainer

    whole = run("whole", plan)
    run("parts", Plan(sizes=plan.sizes[:1], slices=4))
    second = run("parts", plan, resume=True)
    assert [row["epoch"] for row in second.history] == [1, 2]
    for one, other in zip(whole.average.get_weights(), second.average.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    with (tmp_path / "parts" / "curves.csv").open() as text:
        assert [row["epoch"] for row in csv.DictReader(text)] == ["1", "2"]
    assert (tmp_path / "parts" / "curves.png").stat().st_size > 1000
    assert (tmp_path / "parts" / "best.npz").exists()


def test_what_ships_answers_as_the_trained_network_on_the_reduced_picture() -> None:
    import keras

    trained = training_network(("a", "b", "c"), width=1 / 16)
    for layer in trained.layers:  # zero gains would hide the blocks
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([np.full_like(one, 0.5) for one in layer.get_weights()])
    picture = np.kron(np.random.default_rng(0).random((1, 32, 32)), np.ones((2, 2))).astype(np.float32)[..., None]
    logits = trained(picture[:, ::2, ::2], training=False)
    detector = classifier(trained, "detection", 2, size=64, trained_size=32)
    np.testing.assert_allclose(
        np.asarray(detector(picture))[0, 1], 1 / (1 + np.exp(-np.asarray(logits["detection"])[0, 0])), atol=1e-5
    )
    kinds = np.exp(np.asarray(logits["type"]))
    kinds /= kinds.sum()
    shipped = classifier(trained, "type", 3, size=64, trained_size=32)
    np.testing.assert_allclose(np.asarray(shipped(picture)), kinds, atol=1e-5)


def test_study_threshold_by_hand() -> None:
    chosen = choose_threshold(np.array([0.6, 0.8, 0.9, 0.95]), np.array([0.2, 0.5, 0.7]))
    # 0.75 keeps 3 of 4 and clears all three; 0.55 keeps all and clears two of three.
    assert (chosen.threshold, chosen.sensitivity, chosen.specificity, chosen.stacks) == (0.75, 0.75, 1.0, 4)


def test_real_slices_are_read_with_their_labels_and_kept(shared_data: Path, tmp_path: Path) -> None:
    val = cached_slices(shared_data, "val", tmp_path)
    assert len(val) == 319
    assert val.images.shape == (319, 224, 224)
    # Where there is an outline it lies inside the picture's bright part more often than not.
    assert val.outlines[val.tumour == 1].max((1, 2)).min() > 0
    assert not val.outlines[val.tumour == 0].any()
    again = cached_slices(shared_data, "val", tmp_path)
    np.testing.assert_array_equal(again.images, val.images)
