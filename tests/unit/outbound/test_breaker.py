from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from dicom_node.outbound.backoff import BackoffPolicy
from dicom_node.outbound.breaker import Breaker, BreakerPolicy
from dicom_node.outbound.delivery import Deliverer, DeliveryTally
from dicom_node.outbound.sending import OutgoingObject, SendOutcome, Verdict
from dicom_node.results.encoded import EncodedObject
from dicom_node.results.encoders import encode_all
from storage.circuits import CircuitRepository
from tests.mr_series import mr_series
from tests.outbox import Outbox, outbox
from tests.report_builders import STAMP, evidence_of, full_report

STUDIES = 6


@pytest.fixture(scope="module")
def results() -> list[EncodedObject]:
    """SEG and SR of six studies: twelve objects."""
    found: list[EncodedObject] = []
    for number in range(STUDIES):
        series = mr_series(study=str(number))
        found += encode_all(full_report(series.grid), evidence_of(series), STAMP)
    return found


@pytest.fixture
def box(tmp_path: Path, results: list[EncodedObject]) -> Iterator[Outbox]:
    with outbox(tmp_path) as made:
        made.owe(results, ["pacs"])
        yield made


class Peer:
    """Says one thing about every object until it is told otherwise."""

    def __init__(self, verdict: Verdict, *, turned_away: bool = False) -> None:
        self.verdict = verdict
        self.turned_away = turned_away
        self.rounds: list[int] = []

    def send(self, objects: Sequence[OutgoingObject]) -> tuple[SendOutcome, ...]:
        self.rounds.append(len(objects))
        return tuple(
            SendOutcome(
                sop_instance_uid=item.sop_instance_uid,
                verdict=self.verdict,
                text=f"it said {self.verdict}",
                turned_away=self.turned_away,
            )
            for item in objects
        )


class Sending:
    def __init__(self, box: Outbox, peer: Peer, *, refusals: int = 4, give_up_after_days: float = 7) -> None:
        self.circuits = CircuitRepository(box.database)
        policy = BreakerPolicy(refusals=refusals, first_trial_s=300, longest_trial_s=3600)
        self.deliverer = Deliverer(
            box.deliveries,
            {"pacs": peer},
            box.resolve,
            policy=BackoffPolicy(first_retry_s=10, jitter=0, give_up_after_days=give_up_after_days),
            breaker=Breaker(self.circuits, policy, box.clock),
            clock=box.clock,
        )

    def round(self) -> DeliveryTally:
        return self.deliverer.deliver_due()


def test_a_peer_that_refuses_everything_gets_four_and_then_one_at_a_time(box: Outbox) -> None:
    peer = Peer(Verdict.REFUSED)
    sending = Sending(box, peer)
    assert sending.round() == DeliveryTally(failed=4)
    for _ in range(3):
        box.clock.advance(99)
        assert sending.round() == DeliveryTally()
    circuit = sending.circuits.get("pacs")
    assert (circuit.refusals, circuit.open, circuit.last_error) == (4, True, "it said refused")
    box.clock.advance(3)
    assert sending.round() == DeliveryTally(failed=1)
    # The waits grow with the time it has been open: 300 s, 300 s, then 600 s.
    waits = []
    for _ in range(3):
        before = box.clock.now
        while not sending.round().failed:
            box.clock.advance(50)
        waits.append((box.clock.now - before).total_seconds())
    assert waits[0] <= waits[1] <= waits[2] <= 3600
    assert waits[2] > 300
    assert peer.rounds == [4, 1, 1, 1, 1]
    assert [row.state.value for row in box.deliveries.of_scan(box.scan_id)].count("owed") == 4


def test_one_success_closes_it_and_all_goes(box: Outbox) -> None:
    peer = Peer(Verdict.REFUSED)
    sending = Sending(box, peer)
    sending.round()
    peer.verdict = Verdict.SENT
    assert sending.round() == DeliveryTally()
    box.clock.advance(301)
    assert sending.round() == DeliveryTally(sent=8)
    assert peer.rounds == [4, 1, 4, 3]
    assert not sending.circuits.get("pacs").open
    assert box.deliveries.owe_again(box.scan_id) == 4
    assert sending.round() == DeliveryTally(sent=4)


def test_a_person_need_not_wait_for_the_trial(box: Outbox) -> None:
    peer = Peer(Verdict.REFUSED)
    sending = Sending(box, peer)
    sending.round()
    peer.verdict = Verdict.SENT
    sending.circuits.try_now("pacs", box.clock())
    assert sending.round() == DeliveryTally(sent=8)


def test_being_turned_away_opens_it_and_fails_nothing(box: Outbox) -> None:
    peer = Peer(Verdict.RETRY, turned_away=True)
    sending = Sending(box, peer)
    for _ in range(4):
        assert not sending.circuits.get("pacs").open
        assert sending.round() == DeliveryTally(put_off=4)
        box.clock.advance(60)
    assert sending.circuits.get("pacs").open
    assert sending.round() == DeliveryTally()
    assert {row.state.value for row in box.deliveries.of_scan(box.scan_id)} == {"owed"}


def test_a_peer_that_is_down_says_nothing_of_itself(box: Outbox) -> None:
    peer = Peer(Verdict.RETRY)
    sending = Sending(box, peer)
    for _ in range(10):
        sending.round()
        box.clock.advance(1000)
    assert not sending.circuits.get("pacs").open
    peer.verdict = Verdict.SENT
    box.clock.advance(3600)
    assert sending.round() == DeliveryTally(sent=12)


def test_a_class_that_is_refused_does_not_open_it(box: Outbox) -> None:
    class NoSeg(Peer):
        def send(self, objects: Sequence[OutgoingObject]) -> tuple[SendOutcome, ...]:
            self.rounds.append(len(objects))
            return tuple(
                SendOutcome(
                    sop_instance_uid=item.sop_instance_uid,
                    verdict=Verdict.REFUSED if item.sop_class_uid.endswith("66.4") else Verdict.SENT,
                    text="by class",
                )
                for item in objects
            )

    assert Sending(box, NoSeg(Verdict.SENT)).round() == DeliveryTally(sent=6, failed=6)


def test_what_grows_too_old_meanwhile_is_given_up(box: Outbox) -> None:
    sending = Sending(box, Peer(Verdict.REFUSED), give_up_after_days=1)
    assert sending.round() == DeliveryTally(failed=4)
    box.clock.advance(24 * 3600)
    assert [sending.round(), sending.round()] == [DeliveryTally(failed=1), DeliveryTally(failed=7)]
    reasons = {row.last_error for row in box.deliveries.of_scan(box.scan_id)}
    assert any("given up" in reason for reason in reasons)


@pytest.mark.parametrize("wrong", [{"refusals": 0}, {"first_trial_s": 0}, {"longest_trial_s": -1}])
def test_a_policy_without_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="positive"):
        BreakerPolicy(**wrong)  # type: ignore[arg-type]


def test_a_pacs_that_is_down_for_two_days_gets_each_object_once_when_it_is_back(
    box: Outbox, results: list[EncodedObject]
) -> None:
    class Pacs(Peer):
        held: list[str]

        def send(self, objects: Sequence[OutgoingObject]) -> tuple[SendOutcome, ...]:
            if self.verdict is Verdict.SENT:
                self.held += [item.sop_instance_uid for item in objects]
            return super().send(objects)

    peer = Pacs(Verdict.RETRY)
    peer.held = []
    sending = Sending(box, peer)
    for _ in range(48):
        sending.round()
        box.clock.advance(3600)
    assert {row.state.value for row in box.deliveries.of_scan(box.scan_id)} == {"owed"}
    peer.verdict = Verdict.SENT
    sending.round()
    assert peer.held == [result.sop_instance_uid for result in results]
