"""Shadow work gives way: it waits while a study wants the machine, and no longer than that."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicom_node import comparisons
from dicom_node.comparisons import Comparisons
from dicom_node.config import load_config
from dicom_node.store import Store, open_store
from pipeline.models.protocols import Models
from storage.lifecycle import ScanEvent
from storage.vocabulary import Source


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    (tmp_path / "config.yaml").write_text(f"storage: {{root: {tmp_path / 'root'}}}\n")
    opened = open_store(load_config(tmp_path / "config.yaml"))
    yield opened
    opened.database.close()


@pytest.fixture
def stopping() -> threading.Event:
    return threading.Event()


@pytest.fixture
def waiting(store: Store, stopping: threading.Event, monkeypatch: pytest.MonkeyPatch) -> threading.Thread:
    """A thread of shadow work that wants to go on, not yet started."""
    monkeypatch.setattr(comparisons, "_LOOK_EVERY_S", 0.02)
    work = Comparisons(
        studies=store.studies,
        scans=store.scans,
        answers=store.answers,
        files=store.files,
        models=Models,
        stopping=stopping.is_set,
    )
    return threading.Thread(target=work.give_way)


def ready_scan(store: Store) -> str:
    scan = store.scans.create_upload(Source.UPLOAD_NIFTI, user_id=None)
    store.scans.apply_event(scan.id, ScanEvent.COMPLETE)
    return scan.id


def test_it_goes_on_where_nothing_waits(store: Store, waiting: threading.Thread) -> None:
    store.scans.create_upload(Source.UPLOAD_NIFTI, user_id=None)  # still arriving
    waiting.start()
    waiting.join(30)
    assert not waiting.is_alive()


def test_it_waits_from_ready_until_the_results_are_published(store: Store, waiting: threading.Thread) -> None:
    scan_id = ready_scan(store)
    waiting.start()
    store.scans.start_run(scan_id, ["t1.nii"])
    store.scans.apply_event(scan_id, ScanEvent.ANALYSED)
    waiting.join(0.3)
    assert waiting.is_alive()
    store.scans.apply_event(scan_id, ScanEvent.REPORTED)
    waiting.join(30)
    assert not waiting.is_alive()


def test_a_worker_that_is_told_to_stop_is_not_held_up(
    store: Store, waiting: threading.Thread, stopping: threading.Event
) -> None:
    ready_scan(store)
    waiting.start()
    waiting.join(0.1)
    assert waiting.is_alive()
    stopping.set()
    waiting.join(30)
    assert not waiting.is_alive()
