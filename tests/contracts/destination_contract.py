"""What every kind of destination keeps to: inherit `DestinationContract` and say how to raise three peers.

class TestMyDestination(DestinationContract):
    @contextmanager
    def peer(self, manner): ...
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from enum import StrEnum
from pathlib import Path

import pytest
from pydicom.uid import ExplicitVRLittleEndian

from dicom_node.outbound.destinations import SENDERS, UnknownDestinationKind, sender_for
from dicom_node.outbound.sending import Destination, OutgoingObject, Verdict
from dicom_node.results.encoders import encode_all
from tests.mr_series import mr_series
from tests.report_builders import STAMP, evidence_of, full_report, written


class Manner(StrEnum):
    """How a peer behaves."""

    ACCEPTS = "accepts"
    REFUSES = "refuses every object for good"
    DOWN = "is not there"


class DestinationContract(ABC):
    """Tests of one kind of destination."""

    @abstractmethod
    def peer(self, manner: Manner) -> AbstractContextManager[Destination]:
        """A peer of that manner on loopback, and the destination that leads to it (timeouts of a second or two)."""

    @pytest.fixture
    def objects(self, tmp_path: Path) -> list[OutgoingObject]:
        series = mr_series()
        return [
            OutgoingObject(
                path=written(result.to_bytes(), tmp_path, f"{result.kind}.dcm"),
                sop_class_uid=result.sop_class_uid,
                sop_instance_uid=result.sop_instance_uid,
                transfer_syntax_uid=ExplicitVRLittleEndian,
            )
            for result in encode_all(full_report(series.grid), evidence_of(series), STAMP)
        ]

    @pytest.mark.parametrize(
        ("manner", "verdict"),
        [(Manner.ACCEPTS, Verdict.SENT), (Manner.REFUSES, Verdict.REFUSED), (Manner.DOWN, Verdict.RETRY)],
    )
    def test_one_outcome_for_each_object_in_order(
        self, objects: list[OutgoingObject], manner: Manner, verdict: Verdict
    ) -> None:
        with self.peer(manner) as to:
            outcomes = sender_for(to, "BTNODE").send(objects)
        assert [outcome.sop_instance_uid for outcome in outcomes] == [item.sop_instance_uid for item in objects]
        assert [outcome.verdict for outcome in outcomes] == [verdict] * len(objects)
        assert all(outcome.text and "\n" not in outcome.text for outcome in outcomes)

    def test_no_outcome_names_the_patient(self, objects: list[OutgoingObject]) -> None:
        for manner in Manner:
            with self.peer(manner) as to:
                outcomes = sender_for(to, "BTNODE").send(objects)
            assert not any(word in outcome.text for outcome in outcomes for word in ("Test", "Case", "ID-7"))

    def test_sending_again_is_harmless_and_leaves_the_files_alone(self, objects: list[OutgoingObject]) -> None:
        before = [item.path.read_bytes() for item in objects]
        with self.peer(Manner.ACCEPTS) as to:
            sender = sender_for(to, "BTNODE")
            assert [o.verdict for _ in range(2) for o in sender.send(objects)] == [Verdict.SENT] * 4
        assert [item.path.read_bytes() for item in objects] == before

    def test_nothing_to_send_is_no_outcome(self) -> None:
        with self.peer(Manner.DOWN) as to:
            assert sender_for(to, "BTNODE").send([]) == ()

    def test_its_kind_is_known(self) -> None:
        with self.peer(Manner.DOWN) as to:
            assert to.kind in SENDERS
            unknown = Destination(name="x", kind="pigeon", ae_title="A", host="h", port=1)
        with pytest.raises(UnknownDestinationKind, match="pigeon"):
            sender_for(unknown, "BTNODE")
