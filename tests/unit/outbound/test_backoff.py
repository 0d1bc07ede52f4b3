from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dicom_node.outbound.backoff import BackoffPolicy

NOW = datetime(2026, 3, 4, tzinfo=UTC)


@pytest.mark.parametrize(
    ("attempts", "wait_s"),
    [(1, 5), (2, 10), (3, 20), (4, 40), (8, 640), (10, 2560), (11, 3600), (50, 3600), (100_000, 3600)],
)
def test_waits_double_up_to_the_longest(attempts: int, wait_s: float) -> None:
    assert BackoffPolicy(jitter=0).wait_s(attempts, "any") == wait_s


def test_jitter_shortens_by_at_most_its_share_and_differs_by_delivery() -> None:
    waits = [BackoffPolicy(jitter=0.2).wait_s(20, f"delivery {n}") for n in range(200)]
    assert all(2880 <= wait <= 3600 for wait in waits)
    assert len(set(waits)) == 200


def test_jitter_is_the_same_on_every_call() -> None:
    assert BackoffPolicy().wait_s(3, "a") == BackoffPolicy().wait_s(3, "a")


@pytest.mark.parametrize(
    ("age", "given_up"),
    [
        (timedelta(0), False),
        (timedelta(days=6, hours=23), False),
        (timedelta(days=7), True),
        (timedelta(days=30), True),
    ],
)
def test_a_delivery_is_given_up_at_its_age(age: timedelta, given_up: bool) -> None:
    policy = BackoffPolicy(jitter=0, give_up_after_days=7)
    at = policy.next_attempt_at(attempts=2, key="k", owed_since=NOW - age, now=NOW)
    assert at == (None if given_up else NOW + timedelta(seconds=10))


@pytest.mark.parametrize("wrong", [{"first_retry_s": 0}, {"longest_wait_s": -1}, {"jitter": 1.5}])
def test_a_policy_without_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="positive"):
        BackoffPolicy(**wrong)
