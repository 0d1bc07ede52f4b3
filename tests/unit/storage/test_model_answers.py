"""What models answered, kept once a run and version; and the table of agreement on a made case."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from storage.database import Database
from storage.errors import NotFound
from storage.lifecycle import ScanEvent
from storage.model_agreement import AnswerPair, Version, agreements, cohens_kappa
from storage.model_answers import ModelAnswerRecord, ModelAnswerRepository
from storage.scans import ScanRepository
from storage.vocabulary import AnswerMode, Source
from tests.unit.storage.conftest import FakeClock

A = {"name": "a", "version": "1", "sha256": "a" * 64}
B = {"name": "b", "version": "2", "sha256": "b" * 64}


@pytest.fixture
def answers(database: Database, clock: FakeClock) -> ModelAnswerRepository:
    return ModelAnswerRepository(database, clock)


@pytest.fixture
def runs(scans: ScanRepository) -> list[str]:
    made = []
    for _ in range(4):
        scan = scans.create_upload(Source.UPLOAD_NIFTI, user_id=None)
        scans.apply_event(scan.id, ScanEvent.COMPLETE)
        made.append(scans.start_run(scan.id, ["t1.nii"]).id)
    return made


def record(run: str, model: dict[str, str], mode: AnswerMode, value: str | None, **more: Any) -> ModelAnswerRecord:
    values: dict[str, Any] = {
        "task": "detection",
        "answer": None if value is None else {"value": value},
        "agreement": None,
        "seconds": 2.0,
        "peak_memory_mb": 900.0,
        "error": "" if value is not None else "MemoryError: no room",
    }
    return ModelAnswerRecord(run_id=run, mode=mode, **model, **(values | more))


def test_a_second_attempt_replaces_the_row(answers: ModelAnswerRepository, runs: list[str]) -> None:
    first = answers.upsert(record(runs[0], A, AnswerMode.SHADOW, None))
    second = answers.upsert(record(runs[0], A, AnswerMode.SHADOW, "tumour", seconds=3.0))
    assert (second.id, second.error, second.answer) == (first.id, "", {"value": "tumour"})
    answers.upsert(record(runs[0], B, AnswerMode.ACTIVE, "tumour"))
    assert [(row.name, row.mode) for row in answers.of_run(runs[0])] == [
        ("a", AnswerMode.SHADOW),
        ("b", AnswerMode.ACTIVE),
    ]
    assert answers.of_run(runs[1]) == []


def test_an_answer_belongs_to_a_run(answers: ModelAnswerRepository) -> None:
    with pytest.raises(NotFound):
        answers.upsert(record("none-1", A, AnswerMode.ACTIVE, "tumour"))


def test_shadow_answers_are_paired_with_what_was_sent(
    answers: ModelAnswerRepository, runs: list[str], clock: FakeClock
) -> None:
    for run, sent, shadow in zip(
        runs, ("tumour", "tumour", "no tumour", "tumour"), ("tumour", "no tumour", "no tumour", None), strict=True
    ):
        answers.upsert(record(run, A, AnswerMode.ACTIVE, sent))
        clock.forward(60)
        answers.upsert(record(run, B, AnswerMode.SHADOW, shadow))
    # Another task of the same run is no pair of these.
    answers.upsert(record(runs[0], B, AnswerMode.SHADOW, "glioma", task="type"))
    pairs = answers.pairs()
    assert [(pair.value, pair.reference_value) for pair in pairs] == [
        ("tumour", "tumour"),
        ("no tumour", "tumour"),
        ("no tumour", "no tumour"),
    ]
    (found,) = agreements(pairs)
    assert (found.version.name, found.reference.name, found.n) == ("b", "a", 3)
    assert found.share == pytest.approx(2 / 3)
    assert (found.last_at - found.first_at).total_seconds() == 120

    tallies = {(one.version.task, one.version.name): one for one in answers.tallies()}
    assert tallies["detection", "a"].values == {"tumour": 3, "no tumour": 1}
    assert (tallies["detection", "b"].answers, tallies["detection", "b"].errors) == (3, 1)
    assert tallies["detection", "b"].mean_seconds == 2.0


def pair(value: str, reference_value: str, day: int = 1, **more: Any) -> AnswerPair:
    task = "segmentation" if more else "type"
    return AnswerPair(
        version=Version(task=task, **B),
        reference=Version(task=task, **A),
        value=value,
        reference_value=reference_value,
        at=datetime(2026, 3, day, tzinfo=UTC),
        **more,
    )


def test_the_table_of_a_made_case() -> None:
    """Ten types: 6 both glioma, 2 both meningioma, 1 each way. By chance: (7 x 7 + 3 x 3) / 100 = 0.58."""
    types = [("glioma", "glioma")] * 6 + [("meningioma", "meningioma")] * 2
    types += [("glioma", "meningioma"), ("meningioma", "glioma")]
    volumes = (
        pair("tumour", "tumour", 5, dice={"WT": 0.9, "ET": None}, volume_difference_ml={"WT": 2.0, "ET": 0.0}),
        pair("tumour", "no tumour", 2, dice={"WT": 0.0, "ET": None}, volume_difference_ml={"WT": 7.0, "ET": 0.0}),
    )
    segmentation, kinds = agreements([*(pair(*both) for both in types), *volumes])
    assert kinds.version.task == "type"
    assert (kinds.n, kinds.share) == (10, 0.8)
    assert kinds.kappa == pytest.approx((0.8 - 0.58) / 0.42)
    assert (kinds.mean_dice, kinds.mean_volume_difference_ml) == ({}, {})
    assert segmentation.mean_dice == {"WT": pytest.approx(0.45), "ET": None}
    assert segmentation.mean_volume_difference_ml == {"WT": 4.5, "ET": 0.0}
    assert (segmentation.first_at.day, segmentation.last_at.day) == (2, 5)


@pytest.mark.parametrize(
    ("values", "kappa"),
    [
        ([], None),
        ([("a", "a"), ("a", "a")], None),
        ([("a", "a"), ("b", "b")], 1.0),
        ([("a", "b"), ("b", "a")], -1.0),
        ([("a", "a"), ("a", "b"), ("b", "a"), ("b", "b")], 0.0),
    ],
)
def test_kappa(values: list[tuple[str, str]], kappa: float | None) -> None:
    assert cohens_kappa(values) == kappa
