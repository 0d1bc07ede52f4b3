"""Removing received images after delivery: what must never go, what is left, what a cut or a second sending does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from dicom_node.inbound.ingest import Claim, Ingest, Taken
from dicom_node.inbound.parsing import split_part10
from dicom_node.retention import Retention, RetentionPolicy
from storage.audit import AuditRepository
from storage.commitment_requests import CommitmentRequestRepository
from storage.commitments import CommitmentRepository
from storage.database import Database
from storage.deliveries import DeliveryRepository
from storage.erasing import erase
from storage.errors import Conflict, NotFound, StorageFault, UnsafePath
from storage.files import FileStore
from storage.holdings import Held, Holdings
from storage.holds import HoldRepository
from storage.lifecycle import ScanEvent, ScanState
from storage.removals import RemovalRepository
from storage.restoring import IMAGES_REMOVED
from storage.results import ResultRecord, ResultRepository
from storage.scan_care import ScanCareRepository
from storage.scans import ScanRepository
from storage.studies import StudyRepository
from storage.vocabulary import RunState
from tests.mr_series import MrSeries, mr_series
from tests.unit.storage.conftest import FakeClock

DAY_S = 86_400.0
SERIES = mr_series(slices=4)
OTHER = mr_series(slices=3, study="2")


class Node:
    def __init__(self, database: Database, clock: FakeClock, folder: Path) -> None:
        self.database, self.clock = database, clock
        self.files = FileStore(folder / "store", min_free_bytes=0)
        self.studies, self.scans = StudyRepository(database, clock), ScanRepository(database, clock)
        self.ingest = Ingest(self.files, self.studies, AuditRepository(database, clock))
        self.outbox = DeliveryRepository(database, clock)
        self.commitments = CommitmentRepository(database, clock)
        self.holds = HoldRepository(database, clock)
        self.removals = RemovalRepository(database, self.files, committing=["keeper"], clock=clock)
        self.free_bytes = 1 << 40
        self._source = folder / "source"

    def objects(self, series: MrSeries) -> list[tuple[bytes, Claim]]:
        parts = [split_part10(path.read_bytes()) for path in series.write(self._source)]
        return [
            (
                data,
                Claim(
                    sop_class_uid=str(one.SOPClassUID),
                    sop_instance_uid=str(one.SOPInstanceUID),
                    transfer_syntax_uid=syntax,
                    calling_ae="MODALITY",
                ),
            )
            for one, (syntax, data) in zip(series.datasets, parts, strict=True)
        ]

    def receive(self, series: MrSeries) -> list[Taken]:
        return [self.ingest.receive(data, claim).taken for data, claim in self.objects(series)]

    def analyse(self, series: MrSeries, destinations: Sequence[str]) -> str:
        """Receive a study and bring it to 'delivering', a SEG of it owed; the scan's id."""
        self.receive(series)
        scan = self.scans.by_study(str(series.datasets[0].StudyInstanceUID))
        assert scan is not None
        self.scans.apply_event(scan.id, ScanEvent.COMPLETE)
        run = self.scans.start_run(scan.id, sorted(str(one.SOPInstanceUID) for one in series.datasets), "models")
        self.scans.apply_event(scan.id, ScanEvent.ANALYSED)
        self.scans.finish_run(run.id, RunState.DONE)
        self.scans.apply_event(scan.id, ScanEvent.REPORTED)
        made = ResultRepository(self.database, self.clock).upsert(
            ResultRecord(
                run_id=run.id, kind="SEG", sop_instance_uid=f"2.25.{abs(hash(scan.id)) % 10**9}", sop_class_uid="1.2.1",
                series_instance_uid="2.25.100", path=f"results/{run.id}/seg.dcm", size=1, sha256="a" * 64,
            )
        )  # fmt: skip
        self.outbox.owe(made.id, destinations)
        return scan.id

    def deliver(self, series: MrSeries, destinations: Sequence[str] = ("pacs",)) -> str:
        scan_id = self.analyse(series, destinations)
        for row in self.outbox.of_scan(scan_id):
            self.outbox.mark_sent(row.id, commit=row.destination == "keeper")
        self.scans.apply_event(scan_id, ScanEvent.DELIVERED)
        return scan_id

    def retention(self, **policy: Any) -> Retention:
        rule = RetentionPolicy(**({"received_days": 30.0} | policy))
        return Retention(self.removals, rule, lambda: self.free_bytes, self.clock)

    def tick(self, **policy: Any) -> int:
        return self.retention(**policy).tick()

    def here(self, series: MrSeries) -> int:
        """How many of its files are on the disk."""
        rows = self.studies.instances_of(str(series.datasets[0].StudyInstanceUID))
        return sum(self.files.abspath(row.path).is_file() for row in rows)


@pytest.fixture
def node(database: Database, clock: FakeClock, tmp_path: Path) -> Node:
    return Node(database, clock, tmp_path)


def test_images_go_after_their_days_and_everything_else_stays(node: Node) -> None:
    scan_id = node.deliver(SERIES)
    node.clock.forward(30 * DAY_S - 1)
    assert (node.tick(), node.here(SERIES)) == (0, 4)
    node.clock.forward(1)
    assert (node.tick(), node.here(SERIES)) == (1, 0)
    assert node.tick() == 0
    scan = node.scans.get(scan_id)
    assert scan.status is ScanState.DELIVERED
    assert scan.study_id is not None
    removal = node.removals.last_of(scan.study_id)
    assert removal is not None
    assert (removal.instances, removal.ended_at, removal.why) == (4, node.clock.now, "30 days after delivery")
    assert removal.bytes == sum(row.size for row in node.studies.instances_of(str(SERIES.datasets[0].StudyInstanceUID)))
    assert len(node.removals.removed_of(scan.study_id)) == 4
    (event,) = AuditRepository(node.database).list(scan_id=scan_id, kind="images-removed")
    assert event.text == "4 received images removed (30 days after delivery); results are kept"
    # What has a row is no orphan, and what was removed is not taken in again.
    assert node.ingest.adopt_orphans() == 0


def test_nothing_goes_while_a_result_is_owed_refused_or_not_committed_to(node: Node) -> None:
    owed = node.analyse(SERIES, ["pacs", "archive"])
    node.clock.forward(90 * DAY_S)
    assert node.tick() == 0
    first, second = node.outbox.of_scan(owed)
    node.outbox.mark_sent(first.id)
    node.outbox.mark_failed(second.id, None, "refused")
    node.scans.apply_event(owed, ScanEvent.FAIL)
    node.clock.forward(90 * DAY_S)
    assert node.tick() == 0
    node.scans.apply_event(owed, ScanEvent.RESEND)
    node.outbox.owe_once_more(second.id)
    node.outbox.mark_sent(second.id)
    node.scans.apply_event(owed, ScanEvent.DELIVERED)
    # The days count from the last delivery.
    node.clock.forward(29 * DAY_S)
    assert node.tick() == 0
    asked = node.deliver(OTHER, ["keeper"])
    node.clock.forward(60 * DAY_S)
    assert node.tick() == 1
    assert (node.here(SERIES), node.here(OTHER)) == (0, 3)
    (row,) = node.commitments.begin("keeper", "2.25.77")
    node.commitments.asked("2.25.77", node.clock.forward(60))
    assert node.tick() == 0
    node.commitments.settle("2.25.77", [row.sop_instance_uid], {})
    assert (node.tick(), node.here(OTHER)) == (1, 0)
    assert node.scans.get(asked).status is ScanState.DELIVERED


@pytest.mark.parametrize("whole_patient", [False, True])
def test_what_is_on_hold_stays(node: Node, whole_patient: bool) -> None:
    scan_id, other = node.deliver(SERIES), node.deliver(OTHER)
    hold = node.holds.place(scan_id, whole_patient=whole_patient, reason="legal case 7", by="ada")
    assert node.holds.place(scan_id, whole_patient=whole_patient, reason="again", by="bob") == hold
    assert [row.id for row in node.holds.of_scan(other)] == ([hold.id] if whole_patient else [])
    node.clock.forward(60 * DAY_S)
    assert node.tick() == (0 if whole_patient else 1)
    assert (node.here(SERIES), node.here(OTHER)) == (4, 3 if whole_patient else 0)
    # However short the disk is.
    node.free_bytes = 0
    assert node.tick(free_below_bytes=1 << 30) == 0
    # Nor by a person's wish.
    ScanCareRepository(node.database, node.clock).delete(scan_id, "ada")
    with pytest.raises(Conflict, match="on hold"):
        erase(node.database, node.files, scan_id, "ada", node.clock)
    released = node.holds.release(scan_id, hold.id, by="bob")
    assert (released.released_by, released.released_at) == ("bob", node.clock.now)
    with pytest.raises(NotFound):
        node.holds.release(scan_id, hold.id, by="bob")
    assert node.tick() == (2 if whole_patient else 1)
    events = AuditRepository(node.database).list(scan_id=scan_id)
    assert {"hold", "hold-released"} <= {event.kind for event in events}
    # Erasing takes what retention has left with it.
    assert erase(node.database, node.files, scan_id, "ada", node.clock).erased_at is not None


def test_a_study_that_is_sent_again_is_known_and_not_analysed_again(node: Node) -> None:
    scan_id = node.deliver(SERIES)
    node.clock.forward(31 * DAY_S)
    node.tick()
    uid = str(SERIES.datasets[0].SOPInstanceUID)
    holdings = Holdings(node.database, node.files)
    assert [one.held for one in holdings.of([(str(SERIES.datasets[0].SOPClassUID), uid)])] == [Held.MISSING]
    before = node.scans.get(scan_id)
    assert set(node.receive(SERIES)) == {Taken.DUPLICATE}
    after = node.scans.get(scan_id)
    assert (after.status, after.updated_at, len(node.scans.runs_of(scan_id))) == (before.status, before.updated_at, 1)
    assert node.here(SERIES) == 4
    assert [one.held for one in holdings.of([(str(SERIES.datasets[0].SOPClassUID), uid)])] == [Held.KEPT]
    assert len(AuditRepository(node.database).list(scan_id=scan_id, kind="images-restored")) == 1
    # They go again, their days counted from their coming.
    node.clock.forward(29 * DAY_S)
    assert node.tick() == 0
    node.clock.forward(2 * DAY_S)
    assert (node.tick(), node.here(SERIES)) == (1, 0)


def test_a_removal_that_was_cut_off_goes_on(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    node.deliver(SERIES)
    node.clock.forward(31 * DAY_S)
    remove, left = node.files.remove_received, [2]

    def fail_at_the_third(path: str) -> bool:
        left[0] -= 1
        if left[0] < 0:
            raise StorageFault("the disk is gone", Path(path))
        return remove(path)

    with monkeypatch.context() as cut:
        cut.setattr(node.files, "remove_received", fail_at_the_third)
        assert node.tick() == 0
    assert node.here(SERIES) == 2
    (unfinished,) = node.removals.unfinished()
    # One comes again before the rest is removed: it stays.
    data, claim = node.objects(SERIES)[3]
    assert node.ingest.receive(data, claim).taken is Taken.DUPLICATE
    node.tick()
    assert node.removals.unfinished() == []
    assert node.here(SERIES) == 1
    assert node.removals.removed_of(unfinished.study_id) == {str(one.SOPInstanceUID) for one in SERIES.datasets[:3]}


def test_a_removal_that_fails_is_named_and_the_others_go_on(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    node.deliver(SERIES)
    node.clock.forward(DAY_S)
    node.deliver(OTHER)
    node.clock.forward(31 * DAY_S)
    broken = {row.path for row in node.studies.instances_of(str(SERIES.datasets[0].StudyInstanceUID))}
    remove = node.files.remove_received

    def fail_for_the_first(path: str) -> bool:
        if path in broken:
            raise StorageFault("the folder cannot be read", Path(path))
        return remove(path)

    monkeypatch.setattr(node.files, "remove_received", fail_for_the_first)
    with capture_logs() as lines:
        assert node.tick() == 1
    assert (node.here(SERIES), node.here(OTHER)) == (4, 0)
    (unfinished,) = node.removals.unfinished()
    assert [line["removal"] for line in lines if line["log_level"] == "error"] == [unfinished.id]
    third = mr_series(slices=2, study="3")
    node.deliver(third)
    node.clock.forward(31 * DAY_S)
    assert (node.tick(), node.here(third)) == (1, 0)
    monkeypatch.undo()
    node.tick()
    assert (node.here(SERIES), node.removals.unfinished()) == (0, [])


def test_an_image_whose_place_another_patients_object_took_is_removed_too(node: Node) -> None:
    node.receive(mr_series(slices=1))
    mistyped, corrected = mr_series(slices=4), mr_series(slices=4)
    for dataset in mistyped.datasets:
        dataset.PatientID = "MISTYPED"
    assert node.receive(mistyped)[1:] == [Taken.IDENTITY_CONFLICT] * 3
    node.deliver(corrected)
    rows = node.studies.instances_of(str(corrected.datasets[0].StudyInstanceUID))
    assert [row.path.partition("/")[0] for row in rows] == ["studies", *["conflicts"] * 3]
    node.clock.forward(31 * DAY_S)
    assert (node.tick(), node.here(corrected)) == (1, 0)
    assert node.removals.unfinished() == []
    assert set(node.receive(corrected)) == {Taken.DUPLICATE}
    assert all(node.files.verify(row.path, row.sha256) for row in rows)


def test_an_object_that_comes_while_its_file_goes_is_kept(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    scan_id = node.deliver(SERIES)
    node.clock.forward(31 * DAY_S)
    removal = node.removals.begin(scan_id, node.clock.now, "test")
    assert removal is not None
    record = node.studies.record_instances

    def removed_in_between(records: Any) -> Any:
        # The receiver has seen the file in its place; now it goes.
        node.removals.carry_out(removal.id)
        return record(records)

    monkeypatch.setattr(node.studies, "record_instances", removed_in_between)
    data, claim = node.objects(SERIES)[0]
    assert node.ingest.receive(data, claim).taken is Taken.DUPLICATE
    assert node.here(SERIES) == 1
    row = node.studies.instances_of(str(SERIES.datasets[0].StudyInstanceUID))[0]
    assert node.files.verify(row.path, row.sha256)


def place_taken(node: Node) -> str:
    """Deliver and remove SERIES, then have other bytes of its first UID arrive; the path they took."""
    node.deliver(SERIES)
    node.clock.forward(31 * DAY_S)
    assert node.tick() == 1
    other = mr_series(slices=1)
    other.datasets[0].PixelData = bytes(len(other.datasets[0].PixelData))
    ((data, claim),) = node.objects(other)
    receipt = node.ingest.receive(data, claim)
    assert (receipt.taken, receipt.path.partition("/")[0]) == (Taken.CONFLICT, "studies")
    return receipt.path


def whole(node: Node) -> list[bool]:
    rows = node.studies.instances_of(str(SERIES.datasets[0].StudyInstanceUID))
    return [node.files.verify(row.path, row.sha256) for row in rows]


def test_an_image_that_comes_again_is_not_taken_for_the_one_in_its_place(node: Node) -> None:
    taken = place_taken(node)
    before = node.files.read(taken)
    assert set(node.receive(SERIES)) == {Taken.DUPLICATE}
    assert whole(node) == [True] * 4
    assert node.files.read(taken) == before
    # It goes and comes again like the others.
    node.clock.forward(31 * DAY_S)
    assert (node.tick(), node.here(SERIES)) == (1, 0)
    assert node.files.read(taken) == before
    assert set(node.receive(SERIES)) == {Taken.DUPLICATE}
    assert whole(node) == [True] * 4


@pytest.mark.parametrize("by", ["sender", "start"])
def test_a_row_that_had_been_given_the_other_objects_file_is_mended(node: Node, by: str) -> None:
    taken = place_taken(node)
    node.receive(SERIES)
    node.studies.move_instance(str(SERIES.datasets[0].SOPInstanceUID), taken)  # as releases before did
    assert whole(node) == [False, True, True, True]
    if by == "sender":
        assert set(node.receive(SERIES)) == {Taken.DUPLICATE}
    else:
        assert node.ingest.adopt_orphans() == 1
    assert whole(node) == [True] * 4
    assert node.ingest.adopt_orphans() == 0


def test_a_place_that_is_taken_while_an_image_comes_again_is_left_to_the_other(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan_id = node.deliver(SERIES)
    node.clock.forward(31 * DAY_S)
    removal = node.removals.begin(scan_id, node.clock.now, "test")
    assert removal is not None
    record = node.studies.record_instances
    other = mr_series(slices=1)
    other.datasets[0].PixelData = bytes(len(other.datasets[0].PixelData))
    (again,), ((data, claim),) = node.objects(SERIES)[:1], node.objects(other)

    def taken_in_between(records: Any) -> Any:
        monkeypatch.undo()
        node.removals.carry_out(removal.id)
        assert node.ingest.receive(data, claim).taken is Taken.CONFLICT
        return record(records)

    monkeypatch.setattr(node.studies, "record_instances", taken_in_between)
    receipt = node.ingest.receive(*again)
    assert (receipt.taken, receipt.path.partition("/")[0]) == (Taken.DUPLICATE, "conflicts")
    assert whole(node)[0]


def test_a_short_disk_takes_the_oldest_first_and_no_more_than_it_needs(node: Node) -> None:
    node.deliver(SERIES)
    node.clock.forward(2 * DAY_S)
    node.deliver(OTHER)
    node.clock.forward(2 * DAY_S)
    limit = 10 << 30
    policy = {"received_days": None, "free_below_bytes": limit}
    node.free_bytes = limit
    assert node.tick(**policy) == 0
    node.free_bytes = limit - 1
    remove = node.files.remove_received

    def freeing(path: str) -> bool:
        node.free_bytes += 1
        return remove(path)

    node.files.remove_received = freeing  # type: ignore[method-assign]
    assert node.tick(**policy) == 1
    assert (node.here(SERIES), node.here(OTHER)) == (0, 3)
    # What was delivered just now is not touched, however short it is.
    node.free_bytes = 0
    assert node.tick(**policy, least_hours=72.0) == 0
    assert node.tick(**policy) == 1
    assert node.here(OTHER) == 0


def test_what_a_peer_waits_to_have_committed_stays(node: Node) -> None:
    node.deliver(SERIES)
    node.clock.forward(31 * DAY_S)
    asked = CommitmentRequestRepository(node.database, node.clock)
    one = SERIES.datasets[2]
    request = asked.keep("CT1", "2.25.9", [(str(one.SOPClassUID), str(one.SOPInstanceUID))], hold_s=0.0)
    assert node.tick() == 0
    asked.answered(request.id)
    assert node.tick() == 1


def test_a_scan_that_failed_for_want_of_images_assembles_when_the_last_is_back(node: Node) -> None:
    scan_id = node.deliver(SERIES)
    node.clock.forward(31 * DAY_S)
    node.tick()
    node.scans.apply_event(scan_id, ScanEvent.RETRY)
    node.scans.apply_event(scan_id, ScanEvent.FAIL, "images are gone", error_code=IMAGES_REMOVED)
    objects = node.objects(SERIES)
    for data, claim in objects[:3]:
        node.ingest.receive(data, claim)
        assert node.scans.get(scan_id).status is ScanState.FAILED
    node.ingest.receive(*objects[3])
    assert node.scans.get(scan_id).status is ScanState.ASSEMBLING


def test_only_received_files_can_be_removed(node: Node) -> None:
    node.files.write_result("r-1", "seg.dcm", b"x")
    with pytest.raises(UnsafePath, match="only received files"):
        node.files.remove_received("results/r-1/seg.dcm")
    for path in ("studies/a/b/c.dcm", "conflicts/c.dcm"):
        assert not node.files.remove_received(path)


def test_without_a_policy_nothing_is_ever_removed() -> None:
    assert not RetentionPolicy().removes
    assert RetentionPolicy(received_days=1).removes
