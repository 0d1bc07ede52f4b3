from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from dicom_node.outbound.backoff import BackoffPolicy
from dicom_node.outbound.delivery import Deliverer, DeliveryTally
from dicom_node.outbound.sending import OutgoingObject, ResultSender, SendOutcome, Verdict
from dicom_node.results.encoded import EncodedObject
from dicom_node.results.encoders import encode_all
from tests.mr_series import mr_series
from tests.outbox import Outbox, outbox
from tests.report_builders import STAMP, evidence_of, full_report


class RecordingSender:
    """Gives the scripted verdicts, round after round (the last one for ever), and keeps what it was given."""

    def __init__(self, *verdicts: Verdict) -> None:
        self.verdicts = list(verdicts) or [Verdict.SENT]
        self.rounds: list[list[OutgoingObject]] = []
        self.contents: list[bytes] = []

    def send(self, objects: Sequence[OutgoingObject]) -> tuple[SendOutcome, ...]:
        verdict = self.verdicts.pop(0) if len(self.verdicts) > 1 else self.verdicts[0]
        self.rounds.append(list(objects))
        self.contents += [item.path.read_bytes() for item in objects]
        return tuple(
            SendOutcome(sop_instance_uid=item.sop_instance_uid, verdict=verdict, text="scripted") for item in objects
        )


@pytest.fixture(scope="module")
def results() -> tuple[EncodedObject, ...]:
    series = mr_series()
    return encode_all(full_report(series.grid), evidence_of(series), STAMP)


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Outbox]:
    with outbox(tmp_path) as made:
        yield made


def deliverer(box: Outbox, **senders: ResultSender) -> Deliverer:
    policy = BackoffPolicy(first_retry_s=10, jitter=0, give_up_after_days=1)
    return Deliverer(box.deliveries, senders, box.resolve, policy=policy, clock=box.clock)


def test_all_that_is_due_goes_in_one_call_and_only_once(box: Outbox, results: tuple[EncodedObject, ...]) -> None:
    box.owe(results, ["pacs"])
    sender = RecordingSender()
    sending = deliverer(box, pacs=sender)
    assert sending.deliver_due() == DeliveryTally(sent=2)
    assert sending.deliver_due() == DeliveryTally()
    assert [[item.sop_class_uid for item in sent] for sent in sender.rounds] == [[r.sop_class_uid for r in results]]
    assert box.states() == [("pacs", "SEG", "sent"), ("pacs", "SR", "sent")]


def test_a_put_off_delivery_comes_back_after_its_wait_with_the_same_bytes(
    box: Outbox, results: tuple[EncodedObject, ...]
) -> None:
    box.owe(results[1:], ["pacs"])
    sender = RecordingSender(Verdict.RETRY, Verdict.RETRY, Verdict.SENT)
    sending = deliverer(box, pacs=sender)
    assert sending.deliver_due() == DeliveryTally(put_off=1)
    box.clock.advance(9)
    assert sending.deliver_due() == DeliveryTally()
    box.clock.advance(1)
    assert sending.deliver_due() == DeliveryTally(put_off=1)
    box.clock.advance(20)
    assert sending.deliver_due() == DeliveryTally(sent=1)
    assert sender.contents == [results[1].to_bytes()] * 3


def test_a_refusal_ends_a_delivery_with_its_reason(box: Outbox, results: tuple[EncodedObject, ...]) -> None:
    box.owe(results[:1], ["pacs"])
    assert deliverer(box, pacs=RecordingSender(Verdict.REFUSED)).deliver_due() == DeliveryTally(failed=1)
    row = box.deliveries.of_scan(box.scan_id)[0]
    assert (row.state.value, row.last_error) == ("failed", "scripted")


def test_a_delivery_that_grew_too_old_is_given_up(box: Outbox, results: tuple[EncodedObject, ...]) -> None:
    box.owe(results[:1], ["pacs"])
    box.clock.advance(24 * 3600)
    assert deliverer(box, pacs=RecordingSender(Verdict.RETRY)).deliver_due() == DeliveryTally(failed=1)


def test_a_destination_that_hangs_does_not_hold_up_the_others(box: Outbox, results: tuple[EncodedObject, ...]) -> None:
    box.owe(results, ["slow", "quick"])
    quick_done = threading.Event()

    class Slow(RecordingSender):
        def send(self, objects: Sequence[OutgoingObject]) -> tuple[SendOutcome, ...]:
            assert quick_done.wait(20), "the quick destination waited for the slow one"
            return super().send(objects)

    class Quick(RecordingSender):
        def send(self, objects: Sequence[OutgoingObject]) -> tuple[SendOutcome, ...]:
            sent = super().send(objects)
            quick_done.set()
            return sent

    tally = deliverer(box, slow=Slow(Verdict.RETRY), quick=Quick()).deliver_due()
    assert tally == DeliveryTally(sent=2, put_off=2)
    assert ("quick", "SEG", "sent") in box.states()
    assert ("slow", "SEG", "owed") in box.states()


def test_a_sender_that_raises_leaves_its_rows_owed(box: Outbox, results: tuple[EncodedObject, ...]) -> None:
    class Broken:
        def send(self, objects: Sequence[OutgoingObject]) -> tuple[SendOutcome, ...]:
            raise ZeroDivisionError

    box.owe(results, ["broken", "pacs"])
    assert deliverer(box, broken=Broken(), pacs=RecordingSender()).deliver_due() == DeliveryTally(sent=2, put_off=2)


def test_a_changed_or_lost_file_does_not_leave(box: Outbox, results: tuple[EncodedObject, ...]) -> None:
    box.owe(results, ["pacs"])
    seg, sr = box.deliveries.of_scan(box.scan_id)
    box.resolve(seg.path).write_bytes(b"other")
    box.resolve(sr.path).unlink()
    sender = RecordingSender()
    assert deliverer(box, pacs=sender).deliver_due() == DeliveryTally(failed=2)
    assert sender.rounds == []


def test_a_destination_that_is_not_configured_stays_owed(box: Outbox, results: tuple[EncodedObject, ...]) -> None:
    box.owe(results[:1], ["gone"])
    assert deliverer(box, pacs=RecordingSender()).deliver_due() == DeliveryTally()
    assert deliverer(box).deliver_due() == DeliveryTally()
    assert box.states() == [("gone", "SEG", "owed")]
