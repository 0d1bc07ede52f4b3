"""A listener's word on who is connected to it, and what a study makes of that."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pynetdicom import AE
from pynetdicom.sop_class import MRImageStorage, Verification

from dicom_node.inbound import receiver_report
from dicom_node.inbound.fast.journal_store import JournalStore
from dicom_node.inbound.ingest import Ingest
from dicom_node.inbound.scp import StorageServer
from storage.audit import AuditRepository
from storage.clock import utc_now
from storage.database import Database, upgrade
from storage.files import FileStore
from storage.receivers import ReceiverRepository, Sender
from storage.studies import StudyRepository


class Listener:
    """A listener that writes its row ten times a second, and peers of it."""

    def __init__(self, folder: Path, path: str) -> None:
        url = f"sqlite:///{folder}/node.db"
        upgrade(url)
        self.database = Database(url)
        files = FileStore(folder / "store", min_free_bytes=0)
        self.studies = StudyRepository(self.database)
        self.receivers = ReceiverRepository(self.database)
        ingest = Ingest(files, self.studies, AuditRepository(self.database))
        self.server = StorageServer(
            ae_title="BTNODE", host="127.0.0.1", port=0, ingest=ingest, receivers=self.receivers, idle_timeout_s=2.0,
            journal=JournalStore(files, ingest, segment_bytes=4 << 20) if path == "fast" else None,
        )  # fmt: skip
        self.server.start()
        self._sockets: list[Any] = []

    def associate(self, title: str, *sop_classes: str) -> Any:
        ae = AE(ae_title=title)
        for sop_class in sop_classes or (MRImageStorage, Verification):
            ae.add_requested_context(sop_class)
        association = ae.associate("127.0.0.1", self.server.port, ae_title="BTNODE")
        assert association.is_established
        self._sockets.append(association.dul.socket.socket)
        return association

    def sender(self, title: str, is_so: Callable[[Sender], bool]) -> Sender:
        """What the row says of it, once it `is_so`."""
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            (row,) = self.receivers.all()
            sender = row.senders.get(title, Sender())
            if is_so(sender):
                return sender
            time.sleep(0.05)
        raise AssertionError(f"{title} stayed {sender}")

    def stop(self) -> None:
        self.server.stop(drain_s=1)
        self.database.close()
        for connection in self._sockets:
            connection.close()


@pytest.fixture(params=["pynetdicom", "fast"])
def listener(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    monkeypatch.setattr(receiver_report, "_EVERY_S", 0.1)
    monkeypatch.setattr(receiver_report, "_BUSY_EVERY_S", 0.1)
    made = Listener(tmp_path, request.param)
    yield made
    made.stop()


@pytest.fixture
def image(shared_data: Path) -> Dataset:
    return dcmread(shared_data / "dicom/pydicom_MR_small/MR_small.dcm")


def _nothing(sender: Sender) -> bool:
    return sender == Sender()


def _is_open(sender: Sender) -> bool:
    return sender.open_since is not None


def _is_broken(sender: Sender) -> bool:
    return sender.broken_at is not None and sender.open_since is None


def test_a_sender_is_told_of_until_it_releases(listener: Listener, image: Dataset) -> None:
    first, second = listener.associate("PACS1"), listener.associate("PACS1")
    assert first.send_c_store(image).Status == 0
    told = listener.sender("PACS1", _is_open)
    assert told.open_since is not None
    assert utc_now() - told.open_since < timedelta(seconds=10)
    assert listener.server.settle()
    assert listener.studies.latest_from("PACS1") == image.StudyInstanceUID
    assert listener.studies.latest_from("PACS2") is None
    first.release()
    listener.sender("PACS1", lambda sender: sender.open_since is not None and sender.open_since >= told.open_since)
    second.release()
    listener.sender("PACS1", _nothing)


@pytest.mark.parametrize("how", ["aborts", "hangs up"])
def test_a_sender_that_breaks_off_is_told_of_until_one_of_it_releases(
    listener: Listener, image: Dataset, how: str
) -> None:
    association = listener.associate("PACS1")
    assert association.send_c_store(image).Status == 0
    if how == "aborts":
        association.abort()
    else:
        association.dul.socket.socket.close()
        association.kill()
    told = listener.sender("PACS1", _is_broken)
    again = listener.associate("PACS1")
    assert listener.sender("PACS1", _is_open).broken_at == told.broken_at
    again.release()
    listener.sender("PACS1", _nothing)


def test_a_break_is_told_of_while_only_older_associations_are_released(listener: Listener, image: Dataset) -> None:
    older, breaking = listener.associate("PACS1"), listener.associate("PACS1")
    assert breaking.send_c_store(image).Status == 0
    breaking.abort()
    listener.sender("PACS1", lambda sender: sender.broken_at is not None)
    older.release()
    told = listener.sender("PACS1", lambda sender: sender.open_since is None)
    assert told.broken_at is not None
    listener.associate("PACS1").release()
    listener.sender("PACS1", _nothing)


def test_whoever_only_asks_or_falls_silent_is_no_sender_that_broke_off(listener: Listener, image: Dataset) -> None:
    asking = listener.associate("ASKER", Verification)
    silent = listener.associate("PACS1")
    assert silent.send_c_store(image).Status == 0
    listener.sender("PACS1", _is_open)
    (row,) = listener.receivers.all()
    assert list(row.senders) == ["PACS1"]
    listener.sender("PACS1", _nothing)  # ended by the listener's own time-out
    asking.abort()
