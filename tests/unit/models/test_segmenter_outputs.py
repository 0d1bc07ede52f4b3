from __future__ import annotations

import re

import numpy as np
import pytest

from pipeline.models.segmenter_outputs import Outputs, sigmoid

LABELS = {"1": "NCR", "2": "ED", "3": "ET"}


def _voxel(*values: float) -> np.ndarray:
    return np.array(values, np.float32).reshape(-1, 1, 1, 1)


def test_region_heads_come_out_as_wt_tc_et_whatever_their_order() -> None:
    outputs = Outputs.of_regions(["ET", "WT", "TC"], kind="logits", temperature=2.0)
    answer = outputs.region_probabilities(_voxel(-4.0, 4.0, 0.0))
    np.testing.assert_allclose(answer.ravel(), sigmoid(np.array([2.0, 0.0, -2.0], np.float32)), rtol=1e-5)


def test_temperature_softens_probabilities_too() -> None:
    p = np.float32(0.9)
    plain = Outputs.of_regions(["WT", "TC", "ET"], kind="probabilities")
    soft = Outputs.of_regions(["WT", "TC", "ET"], kind="probabilities", temperature=2.0)
    np.testing.assert_allclose(plain.region_probabilities(_voxel(p, p, p)).ravel(), 0.9)
    np.testing.assert_allclose(soft.region_probabilities(_voxel(p, p, p)).ravel(), 0.75, rtol=1e-5)


def test_labels_add_up_to_regions() -> None:
    shares = _voxel(0.1, 0.2, 0.3, 0.4)
    for kind, given in (("probabilities", shares), ("logits", np.log(shares))):
        answer = Outputs.of_labels(LABELS, kind=kind).region_probabilities(given)
        np.testing.assert_allclose(answer.ravel(), [0.9, 0.6, 0.4], rtol=1e-5)


def test_bare_labels_become_shares_that_windows_can_blend() -> None:
    outputs = Outputs.of_labels({"1": "NCR", "2": "ED", "4": "ET"}, kind="labels")
    blended = outputs.blendable(np.array([0, 1, 2, 4], np.float32).reshape(1, 4, 1, 1))
    np.testing.assert_array_equal(
        outputs.region_probabilities(blended)[:, :, 0, 0], [[0, 1, 1, 1], [0, 1, 0, 1], [0, 0, 0, 1]]
    )


def test_a_core_label_counts_to_core_and_whole() -> None:
    outputs = Outputs.of_labels({"1": "WT", "2": "TC", "3": "ET"}, kind="probabilities")
    np.testing.assert_allclose(
        outputs.region_probabilities(_voxel(0.1, 0.2, 0.3, 0.4)).ravel(), [0.9, 0.7, 0.4], rtol=1e-5
    )


@pytest.mark.parametrize(
    ("label_map", "message"),
    [
        ({"1": "NCR", "2": "ED"}, "counts to ET"),
        ({"1": "NCR", "2": "oedema", "3": "ET"}, "'oedema'"),
        ({"1": "NCR", "2": "ED", "4": "ET"}, "without a gap"),
    ],
)
def test_a_label_map_that_cannot_be(label_map: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Outputs.of_labels(label_map, kind="logits")


REGIONS = Outputs.of_regions(["WT", "TC", "ET"], kind="probabilities")
LOGITS = Outputs.of_regions(["WT", "TC", "ET"], kind="logits")
SOFTMAX = Outputs.of_labels(LABELS, kind="probabilities")
BARE = Outputs.of_labels(LABELS, kind="labels")


@pytest.mark.parametrize(
    ("outputs", "answer", "message"),
    [
        (REGIONS, _voxel(0.1, 0.2), "2 channels, not 3"),
        (REGIONS, _voxel(0.1, np.nan, 0.2), "NaN"),
        (REGIONS, _voxel(0.1, 3.0, 0.2), "are its outputs logits"),
        (LOGITS, _voxel(0.1, 0.9, 0.2), "are its outputs probabilities"),
        (SOFTMAX, _voxel(0.9, 0.9, 0.2, 0.1), "do not sum to 1"),
        (BARE, _voxel(7.0), "labels .0, 1, 2, 3. were declared"),
        (BARE, _voxel(0.5), "declared"),
    ],
)
def test_an_answer_of_another_kind_than_declared_is_named(outputs: Outputs, answer: np.ndarray, message: str) -> None:
    fault = outputs.fault(answer, foreign=True)
    assert fault is not None
    assert re.search(message, fault)


@pytest.mark.parametrize(
    ("outputs", "answer"),
    [
        (REGIONS, _voxel(0.1, 0.9, 0.2)),
        (LOGITS, _voxel(0.1, -0.9, 0.2)),
        (SOFTMAX, _voxel(0.1, 0.2, 0.3, 0.4)),
        (BARE, _voxel(3.0)),
    ],
)
def test_an_answer_of_its_kind_has_no_fault(outputs: Outputs, answer: np.ndarray) -> None:
    assert outputs.fault(answer, foreign=True) is None
