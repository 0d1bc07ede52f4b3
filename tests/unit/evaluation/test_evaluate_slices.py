"""The acceptance test of the 2D models: figures against values worked out by hand, folders against real files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.evaluation.classification_metrics import (
    auc,
    auc_interval,
    confusion_matrix,
    expected_calibration_error,
    fit_temperature,
    recall_per_class,
    with_temperature,
)
from pipeline.evaluation.slice_images import labelled_images
from pipeline.evaluation.slice_table import slice_table
from pipeline.evaluation.slices import evaluate_slices, summarise
from pipeline.report import ModelIdentity
from pipeline.volume import SeriesRole

KINDS = ("glioma", "meningioma", "notumor", "pituitary")


class BrightnessModel:
    """A model at the door whose answer is worked out from the picture: the share of bright pixels."""

    threshold = 0.5
    input_size = 16
    roles = (SeriesRole.T1CE,)

    def __init__(self, task: str, classes: tuple[str, ...]) -> None:
        self.classes = classes
        self.identity = ModelIdentity(name="brightness", version="1", task=task, weights_sha256="0" * 64)

    def predict(self, slices: np.ndarray) -> np.ndarray:
        share = (slices > 0.9).mean((1, 2))
        rest = (1 - share) / (len(self.classes) - 1)
        return np.stack([*[rest] * (len(self.classes) - 1), share], 1).astype(np.float32)


def test_auc_by_hand() -> None:
    # Positives 0.8 and 0.4, negatives 0.4 and 0.1: pairs won 1, 1, tied half, won 1.
    assert auc(np.array([1, 1, 0, 0]), np.array([0.8, 0.4, 0.4, 0.1])) == pytest.approx(3.5 / 4)
    assert np.isnan(auc(np.array([1, 1]), np.array([0.1, 0.2])))


def test_auc_interval_draws_patients_and_is_repeatable() -> None:
    truth = np.array([1, 0] * 10)
    score = np.where(truth == 1, 0.9, 0.1)
    groups = [f"p{n // 2}" for n in range(20)]
    assert auc_interval(truth, score, groups) == (1.0, 1.0)
    score[:6] = 0.5
    low, high = auc_interval(truth, score, groups, seed=3)
    assert (low, high) == auc_interval(truth, score, groups, seed=3)
    assert 0.5 < low < auc(truth, score) <= high
    assert all(np.isnan(auc_interval(np.ones(4), np.ones(4), list("abcd"), rounds=5)))


def test_calibration_error_by_hand() -> None:
    # Bin 0.9: right half of the time, off by 0.4; bin 0.6: always right, off by 0.4.
    assert expected_calibration_error(np.array([1, 0, 1, 1]), np.array([0.9, 0.9, 0.6, 0.6])) == pytest.approx(0.4)
    assert expected_calibration_error(np.array([1, 1]), np.array([1.0, 1.0])) == 0


def test_confusion_and_recall_by_hand() -> None:
    matrix = confusion_matrix(np.array([0, 0, 1]), np.array([0, 1, 1]), 3)
    assert matrix.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]
    np.testing.assert_array_equal(recall_per_class(matrix), [0.5, 1.0, np.nan])


def test_temperature_undoes_overconfidence() -> None:
    np.testing.assert_allclose(with_temperature(np.array([[0.2, 0.8]]), 0.5), [[1 / 17, 16 / 17]])
    # 0.8 right of 0.8 asked is calibrated; sharpened by 0.5 it needs 2 to come back.
    truth = np.array([1, 1, 1, 1, 0])
    sharpened = np.repeat(np.array([[1 / 17, 16 / 17]]), 5, 0)
    assert fit_temperature(sharpened, truth) == pytest.approx(2.0, rel=0.02)


def test_figures_per_dataset_and_patient_by_hand() -> None:
    labels = ["glioma", "glioma", "meningioma", "notumor", "tumor_unspecified"]
    kinds = np.array(
        [[0.6, 0.1, 0.2, 0.1], [0.2, 0.3, 0.4, 0.1], [0.1, 0.7, 0.1, 0.1], [0.1, 0.1, 0.7, 0.1], [1, 0, 0, 0]]
    )
    figures = summarise(
        labels,
        ["a", "a", "a", "a", "b"],
        ["p", "p", "q", "r", "s"],
        detection=np.array([0.9, 0.3, 0.8, 0.4, 0.7]),
        kinds=kinds,
        kind_classes=KINDS,
    )
    overall = figures["detection"]["overall"]
    assert (overall["slices"], overall["accuracy"], overall["auc"]) == (5, 0.8, 0.75)
    assert (overall["sensitivity"], overall["specificity"]) == (0.75, 1.0)
    assert figures["detection"]["per_dataset"]["b"]["auc"] is None
    kind = figures["type"]
    assert (kind["overall"]["slices"], kind["overall"]["accuracy"]) == (4, 0.75)
    assert kind["overall"]["confusion"]["matrix"][0] == [1, 0, 1, 0]
    # Patient p: mean glioma 0.4, meningioma 0.2, pituitary 0.1, so one slice's 'notumor' does not count.
    assert kind["per_patient"]["patients"] == 2
    assert kind["per_patient"]["accuracy"] == 1.0
    json.dumps(figures, allow_nan=False)
    table = slice_table(figures)
    assert "AUC 95 % CI" in table
    assert "accuracy 1.000 over 2 patients" in table


def lay_out(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for label, bright in (("glioma", 28), ("tumor_unspecified", 28), ("notumor", 3)):
        (folder / label).mkdir(parents=True)
        for n in range(2):
            image = np.full((32, 32), 60, np.uint8)
            image[:bright] = 250
            image[0, 0] = rng.integers(0, 5)
            Image.fromarray(image).save(folder / label / f"{n}.png")


def test_a_folder_of_pictures_is_read_judged_and_reported(tmp_path: Path) -> None:
    folder = tmp_path / "test"
    lay_out(folder)
    (folder / "glioma" / "broken.png").write_bytes(b"no picture")
    rows = ("file,dataset,patient", "test/glioma/0.png,here,p1", "test/notumor/0.png,here,")
    (tmp_path / "manifest.csv").write_text("\n".join(rows))
    seen: list[float] = []
    detector = BrightnessModel("detection", ("notumor", "tumor"))
    figures = evaluate_slices(folder, detector, None, seen.append)
    assert figures["slices"] == 6
    assert figures["unreadable"] == ["glioma/broken.png"]
    assert figures["detection"]["overall"]["auc"] == 1.0
    assert figures["detection"]["per_dataset"]["here"]["slices"] == 2
    assert figures["models"]["detection"]["name"] == "brightness"
    assert "type" not in figures
    assert seen[-1] == 1.0
    json.dumps(figures, allow_nan=False)


def test_type_model_never_judges_tumours_of_unstated_kind(tmp_path: Path) -> None:
    lay_out(tmp_path)
    figures = evaluate_slices(tmp_path, None, BrightnessModel("type", ("notumor", "meningioma", "glioma")))
    assert figures["type"]["overall"]["slices"] == 4
    assert figures["type"]["overall"]["accuracy"] == 1.0
    assert "detection" not in figures


def test_manifest_in_the_folder_itself_with_a_path_column(tmp_path: Path) -> None:
    lay_out(tmp_path)
    (tmp_path / "manifest.csv").write_text("path,dataset,patient\nglioma/1.png,ours,p9\n")
    found = {image.path.relative_to(tmp_path).as_posix(): image for image in labelled_images(tmp_path)}
    assert (found["glioma/1.png"].dataset, found["glioma/1.png"].patient) == ("ours", "p9")
    assert (found["glioma/0.png"].dataset, found["glioma/0.png"].patient) == ("unknown", "glioma/0.png")


def test_sixteen_bit_pictures_keep_their_depth(tmp_path: Path) -> None:
    (tmp_path / "glioma").mkdir()
    image = np.full((32, 32), 300, np.uint16)
    image[:28] = 4000
    Image.fromarray(image).save(tmp_path / "glioma" / "deep.png")
    figures = evaluate_slices(tmp_path, BrightnessModel("detection", ("notumor", "tumor")), None)
    assert figures["detection"]["overall"]["sensitivity"] == 1.0


def test_a_folder_without_class_folders_says_what_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="tumor_unspecified"):
        evaluate_slices(tmp_path, None, None)
