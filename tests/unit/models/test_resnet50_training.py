"""Training of the slice models: the plan, the draw, the augmentation, and a tiny run that is stopped and resumed."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.models.training import slice_plan, slice_training
from pipeline.models.training.slice_augment import brightness_curves, random_affine
from pipeline.models.training.slice_data import (
    SHARES,
    TYPE_CLASSES,
    UNSPECIFIED,
    SliceSet,
    balanced_weights,
    cached_slices,
)
from pipeline.models.training.slice_network import classifier, shrinking, take_over, training_network
from pipeline.models.training.slice_plan import Plan
from pipeline.models.training.slice_probe import probe_accuracy
from pipeline.models.training.slice_soup import beginning, best_average, mixed
from pipeline.models.training.slice_study import Study, StudyScore, choose_threshold, study_scores
from pipeline.models.training.slice_synthetic import (
    EXCHANGED,
    cleared,
    cover,
    exchanged,
    with_tumour,
    without_tumour,
)
from pipeline.models.training.slice_training import SliceTrainer

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
    steps = slice_plan.SLICES_AN_EPOCH // slice_plan.BATCH
    rates = [plan.rate(n) for n in range(3 * steps)]
    assert np.argmax(rates) == pytest.approx(steps, abs=1)
    assert max(rates) == pytest.approx(slice_plan.PEAK_RATE)
    assert rates[-1] < 0.02 * max(rates)


def test_a_plan_in_minutes_follows_the_time_whatever_the_steps() -> None:
    plan = Plan.parse("96x3,160x1", minutes=10.0, slices=160, flat=0.25)
    assert [plan.size(epoch, seconds) for epoch, seconds in ((0, 0), (90, 449), (1, 451), (2, 600))] == [
        96,
        96,
        160,
        None,
    ]
    assert plan.rate(1000, 100) == pytest.approx(plan.peak)
    assert plan.rate(20, 375) == pytest.approx(plan.rate(1000, 375))
    assert plan.rate(20, 375) == pytest.approx(plan.peak * 0.505)
    assert plan.rate(20, 600) == pytest.approx(plan.peak * 0.01)


def test_augmentation_weakens_as_the_rate_falls() -> None:
    plan = Plan.parse("96x10")
    steps = slice_plan.SLICES_AN_EPOCH // slice_plan.BATCH
    assert plan.strength(2 * steps) == 1
    assert plan.strength(10 * steps) == pytest.approx(slice_plan.LEAST_STRENGTH)
    gentle = random_affine(np.random.default_rng(0), 50, 101, strength=0.0)
    np.testing.assert_allclose(np.abs(gentle[:, [0, 4]]), 1, atol=1e-6)
    np.testing.assert_allclose(gentle[:, [1, 3]], 0, atol=1e-6)


def test_a_slice_is_drawn_by_the_share_of_its_source_and_class() -> None:
    slices = made_up(60)
    slices = replace(slices, dataset=np.where(slices.kind == 1, "figshare", np.resize(["lgg", "sartaj"], 60)))
    weights = balanced_weights(slices)
    assert weights.sum() == pytest.approx(1)

    def drawn(dataset: str, kind: int) -> float:
        return float(weights[(slices.dataset == dataset) & (slices.kind == kind)].sum())

    assert drawn("figshare", 1) / drawn("lgg", 2) == pytest.approx(SHARES["figshare", 1] / SHARES["lgg", 2])
    assert drawn("sartaj", 2) / drawn("lgg", 0) == pytest.approx(SHARES["sartaj", 2] / SHARES["lgg", 0])


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
    maps = {"outline": layers.Conv2D(1, 1)(x), "kind_map": layers.Conv2D(len(type_classes), 1)(x)}
    return keras.Model(image, heads | maps)


def test_a_run_that_was_stopped_ends_where_one_in_a_piece_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slice_training, "training_network", small_network)
    monkeypatch.setattr(slice_training, "BATCH", 4)
    monkeypatch.setattr(slice_plan, "BATCH", 4)
    data, plan = made_up(12), Plan.parse("32x2", slices=4, serves_at=48)

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


def lively(network: Any) -> Any:
    """The network with no gain at zero, which would hide its blocks."""
    import keras

    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([np.full_like(one, 0.5) for one in layer.get_weights()])
    return network


def test_what_ships_answers_as_the_trained_network_on_the_shrunk_picture() -> None:
    trained = lively(training_network(("a", "b", "c"), width=1 / 16))
    picture = np.random.default_rng(0).random((1, 80, 80)).astype(np.float32)
    weights = shrinking(80, 48)
    np.testing.assert_allclose(weights.sum(0), 1, atol=1e-6)
    shrunk = np.einsum("nij,ir,jc->nrc", picture, weights, weights)[..., None]
    logits = trained(shrunk, training=False)
    detector = classifier(trained, "detection", 2, size=80, trained_size=48)
    np.testing.assert_allclose(
        np.asarray(detector(picture[..., None]))[0, 1],
        1 / (1 + np.exp(-np.asarray(logits["detection"])[0, 0])),
        atol=1e-5,
    )
    kinds = np.exp(np.asarray(logits["type"]))
    kinds /= kinds.sum()
    shipped = classifier(trained, "type", 3, size=80, trained_size=48)
    np.testing.assert_allclose(np.asarray(shipped(picture[..., None])), kinds, atol=1e-5)


def test_a_run_begins_with_the_layers_an_earlier_file_shares(tmp_path: Path) -> None:
    earlier = lively(training_network(("a", "b"), width=1 / 16))
    classifier(earlier, "detection", 2, size=48, trained_size=48).save(tmp_path / "earlier.keras")
    later = training_network(("a", "b", "c"), width=1 / 16)
    assert take_over(later, tmp_path / "earlier.keras") > 100
    for name in ("conv1_conv", "conv5_block3_3_bn", "outline_refine_conv", "detection"):
        for one, other in zip(later.get_layer(name).weights, earlier.get_layer(name).weights, strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_mix_lies_between_a_run_and_what_it_began_with(tmp_path: Path) -> None:
    earlier = lively(training_network(TYPE_CLASSES, width=1 / 16))
    classifier(earlier, "type", 4, size=48, trained_size=48).save(tmp_path / "type.keras")
    later = training_network(TYPE_CLASSES, width=1 / 16)
    raised = training_network(TYPE_CLASSES, width=1 / 16)
    raised.set_weights([one + 1 for one in later.get_weights()])
    later.set_weights(raised.get_weights())
    start = beginning(later, [tmp_path / "type.keras"])
    later.set_weights(mixed(start, raised.get_weights(), 0.25))
    for name in ("conv3_block2_2_conv", "conv5_block3_3_bn", "type"):
        three = (
            layer.get_weights() for layer in (earlier.get_layer(name), raised.get_layer(name), later.get_layer(name))
        )
        for one, other, between in zip(*three, strict=True):
            np.testing.assert_allclose(between, 0.25 * one + 0.75 * other, atol=1e-5)


def test_a_mix_is_made_of_a_runs_own_epoch_and_never_of_a_mix(tmp_path: Path) -> None:
    weights = {"average/0": np.arange(3.0, dtype=np.float32), "average/1": np.ones(2, np.float32)}
    np.savez(tmp_path / "best.npz", **weights, epoch=np.array(20))
    found, epoch = best_average(tmp_path)
    assert (epoch, [one.tolist() for one in found]) == (20, [[0.0, 1.0, 2.0], [1.0, 1.0]])
    np.savez(tmp_path / "best.npz", **weights, epoch=np.array(20), share_of_epoch=np.array(0.7))
    with pytest.raises(ValueError, match="is a mix already"):
        best_average(tmp_path)


def head() -> NDArray[np.float32]:
    """A symmetric made-up head in 0..1 of 224 x 224."""
    y, x = np.mgrid[:224, :224].astype(np.float32)
    inside = ((x - 111.5) / 80) ** 2 + ((y - 111.5) / 100) ** 2 < 1
    return np.asarray(inside * (0.4 + 0.2 * np.cos(np.abs(x - 111.5) / 9) * np.cos(y / 13)), np.float32)


def test_a_tumour_is_taken_out_of_a_symmetric_head_and_carried_into_another() -> None:
    clean, area = head(), np.zeros((224, 224), bool)
    area[90:120, 50:80] = True
    ill = np.where(area, 1.0, clean).astype(np.float32)
    again = without_tumour(ill, area)
    assert again is not None
    assert np.abs(again - clean)[95:115, 55:75].max() < 0.05
    assert without_tumour(np.random.default_rng(0).random((224, 224), np.float32), area) is None
    carried = with_tumour(clean, ill, area)
    assert carried is not None
    np.testing.assert_allclose(carried[100:110, 60:70], 1, atol=0.02)
    np.testing.assert_allclose(carried[:60], clean[:60], atol=1e-3)
    outside = np.zeros((224, 224), bool)
    outside[:20, :20] = True
    assert with_tumour(clean, ill, outside) is None


def test_tumours_are_exchanged_between_like_heads_of_other_patients_with_their_kind() -> None:
    clean, rng = head(), np.random.default_rng(0)
    images, outlines = [], []
    for n in range(6):
        area = np.zeros((224, 224), bool)
        area[64 + 8 * n : 96 + 8 * n, 56:80] = True
        images.append(np.where(area, 0.9, clean))
        outlines.append(area.reshape(28, 8, 28, 8).mean((1, 3)) * 255)
    slices = replace(
        made_up(6),
        images=np.round(np.stack(images) * 255).astype(np.uint8),
        outlines=np.stack(outlines).astype(np.uint8),
        kind=np.array([0, 1, 0, 1, 3, 3], np.int8),
        dataset=np.full(6, "figshare"),
        patient=np.array(["p", "p", "q", "q", "r", "r"]),
    )
    free = cleared(slices)
    assert free.patient.tolist() == ["p", "p", "q", "q"]
    made = exchanged(slices, free, rng)
    assert made.kind.tolist() == [0, 1] * 4
    assert set(made.dataset) == {EXCHANGED}
    for one in range(len(made)):
        given = slices.patient[(slices.outlines == made.outlines[one]).all((1, 2))]
        assert given.tolist() == ["q" if made.patient[one] == "p" else "p"]
        assert made.images[one][cover(made.outlines[one], 224)].mean() > 200


def test_a_probe_finds_the_source_only_where_the_features_tell_it() -> None:
    rng = np.random.default_rng(0)
    source = np.resize(np.array(["a", "b"]), 200)
    patient = np.repeat(np.arange(100), 2).astype(np.str_)
    noise = rng.normal(size=(200, 5))
    told = noise + 4 * (source == "a")[:, None]
    assert probe_accuracy(told, source, patient) > 0.95
    assert 0.35 < probe_accuracy(noise, source, patient) < 0.65


def test_study_threshold_by_hand() -> None:
    def scores(source: str, tumour: bool, values: tuple[float, ...]) -> list[StudyScore]:
        return [StudyScore(name="", source=source, tumour=tumour, probability=value) for value in values]

    known = [
        *scores("stacks", True, (0.6, 0.8, 0.9)),
        *scores("stacks", False, (0.2, 0.5, 0.7)),
        *scores("healthy", False, (0.1, 0.65)),
    ]
    # From 0.7 to 0.8: 2 of 3 tumours, all clear ones. Below, at 0.55, the healthy source loses half.
    chosen = choose_threshold(known)
    assert chosen.threshold == 0.75
    assert chosen.by_source == {"stacks": (2, 3, 3, 3), "healthy": (0, 0, 2, 2)}


def test_the_clear_part_of_a_study_stands_in_for_one_without_a_tumour() -> None:
    class Brightness:
        input_size = 224

        def predict(self, slices: NDArray[np.float32]) -> NDArray[np.float32]:
            tumour = np.array([one.max() - np.median(one[one > 0.1]) for one in slices]).clip(0, 1)
            return np.stack([1 - tumour, tumour], 1)

    tumour = np.zeros(28, bool)
    tumour[10:16] = True
    stack = np.repeat(100.0 * (head() > 0)[None], 28, 0)
    stack[tumour, 100:140, 60:100] = 250
    whole, clear = study_scores(Brightness(), Study(name="x", source="y", stack=stack, tumour=tumour))  # type: ignore[arg-type]
    assert (whole.tumour, clear.tumour) == (True, False)
    assert whole.probability > clear.probability
    (only,) = study_scores(Brightness(), Study(name="x", source="y", stack=stack, tumour=np.zeros(28, bool)))  # type: ignore[arg-type]
    assert not only.tumour


def test_real_slices_are_read_with_their_labels_and_kept(shared_data: Path, tmp_path: Path) -> None:
    val = cached_slices(shared_data, "val", tmp_path)
    assert len(val) == 319
    assert val.images.shape == (319, 224, 224)
    # Where there is an outline it lies inside the picture's bright part more often than not.
    assert val.outlines[val.tumour == 1].max((1, 2)).min() > 0
    assert not val.outlines[val.tumour == 0].any()
    again = cached_slices(shared_data, "val", tmp_path)
    np.testing.assert_array_equal(again.images, val.images)
