"""Requests of peers, circuits, and what PACS said."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from storage.circuits import CircuitRepository, CircuitRow
from storage.commitment_requests import CommitmentRequestRepository
from storage.database import Database
from storage.errors import Conflict, NotFound
from storage.pacs_answers import PacsAnswerRepository, PacsSeries, PacsStudy
from storage.studies import InstanceRecord, StudyRepository
from storage.vocabulary import PacsAnswerState, ReportState
from tests.unit.storage.conftest import FakeClock

TWO = [("1.2.1", "2.25.1"), ("1.2.1", "2.25.2")]


def test_a_request_is_kept_and_answered_once(database: Database, clock: FakeClock) -> None:
    requests = CommitmentRequestRepository(database, clock, lease_s=60)
    kept = requests.keep("9.1", "CT1", TWO, hold_s=10)
    assert requests.due() == []
    clock.forward(10)
    assert [(row.id, row.instances, row.attempts) for row in requests.due()] == [(kept.id, tuple(TWO), 1)]
    assert requests.due() == []
    requests.put_off(kept.id, clock() + timedelta(seconds=5), "nobody there\nforged")
    clock.forward(5)
    assert [row.last_error for row in requests.due()] == ["nobody there\\nforged"]
    requests.answered(kept.id)
    requests.put_off(kept.id, None, "late")
    assert requests.get(kept.id).state is ReportState.ANSWERED
    with pytest.raises(NotFound):
        requests.answered(99)


def test_the_same_request_again_is_owed_its_answer_again(database: Database, clock: FakeClock) -> None:
    requests = CommitmentRequestRepository(database, clock)
    first = requests.keep("9.1", "CT1", TWO)
    requests.answered(first.id)
    assert requests.keep("9.1", "CT1", TWO).id == first.id
    assert [row.id for row in requests.due()] == [first.id]
    assert requests.keep("9.1", "CT2", TWO).id != first.id
    with pytest.raises(Conflict, match="other instances"):
        requests.keep("9.1", "CT1", TWO[:1])


def test_one_caller_takes_a_circuits_trial(database: Database, clock: FakeClock) -> None:
    circuits = CircuitRepository(database)
    assert circuits.get("pacs") == CircuitRow(destination="pacs")
    now = clock()
    assert not circuits.take_trial("pacs", now, now)
    circuits.put(
        CircuitRow(destination="pacs", refusals=5, opened_at=now, trial_at=now + timedelta(60), last_error="no")
    )
    assert not circuits.take_trial("pacs", now, now)
    circuits.try_now("pacs", now)
    assert circuits.take_trial("pacs", now, now + timedelta(seconds=9))
    assert not circuits.take_trial("pacs", now, now)
    assert [(row.destination, row.open, row.trial_at) for row in circuits.all()] == [
        ("pacs", True, now + timedelta(seconds=9))
    ]


def test_what_a_pacs_said_is_replaced_but_not_by_silence(
    database: Database, clock: FakeClock, studies: StudyRepository, instance: Callable[..., InstanceRecord]
) -> None:
    studies.record_instance(instance())
    answers = PacsAnswerRepository(database, clock)
    uid = instance().study_instance_uid
    series = PacsSeries(series_instance_uid="1.2.9", modality="MR", description="FLAIR", instances=48)
    prior = PacsStudy(study_instance_uid="1.9", study_date="20250102", modalities=("MR", "SR"), instances=7)
    answers.keep(uid, "pacs", PacsAnswerState.ANSWERED, series=[series], priors=[prior])
    clock.forward(60)
    answers.keep(uid, "pacs", PacsAnswerState.NO_ANSWER, reason="no answer in time")
    (row,) = answers.of_study(uid)
    assert (row.state, row.series, row.priors, row.asked_at) == (
        PacsAnswerState.NO_ANSWER, (series,), (prior,), clock(),
    )  # fmt: skip
    assert answers.instances_of(uid) == {"1.2.9": 48}
    answers.keep(uid, "pacs", PacsAnswerState.MISMATCH, reason="another patient")
    assert answers.instances_of(uid) == {}
    with pytest.raises(NotFound):
        answers.keep("1.99", "pacs", PacsAnswerState.UNKNOWN)
