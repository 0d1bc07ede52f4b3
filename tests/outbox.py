"""A real outbox on SQLite with result files on disk, for tests of what is delivered from it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dicom_node.results.encoded import EncodedObject
from storage.database import Database, upgrade
from storage.deliveries import DeliveryRepository
from storage.lifecycle import ScanEvent
from storage.results import ResultRecord, ResultRepository
from storage.scans import ScanRepository
from storage.vocabulary import Source


class SteppedClock:
    """A clock that moves when told."""

    def __init__(self, now: datetime | None = None) -> None:
        self.now = now or datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass(frozen=True, kw_only=True)
class Outbox:
    """Files of one run under `root`, owed to destinations."""

    root: Path
    deliveries: DeliveryRepository
    results: ResultRepository
    run_id: str
    scan_id: str
    clock: SteppedClock
    database: Database

    def resolve(self, path: str) -> Path:
        return self.root / path

    def owe(self, objects: Sequence[EncodedObject], destinations: Sequence[str]) -> None:
        for item in objects:
            data = item.to_bytes()
            path = f"{item.kind}-{item.sop_instance_uid[-8:]}.dcm"
            (self.root / path).write_bytes(data)
            row = self.results.upsert(
                ResultRecord(
                    run_id=self.run_id,
                    kind=item.kind,
                    sop_instance_uid=item.sop_instance_uid,
                    sop_class_uid=item.sop_class_uid,
                    series_instance_uid=item.series_instance_uid,
                    path=path,
                    size=len(data),
                    sha256=hashlib.sha256(data).hexdigest(),
                )
            )
            self.deliveries.owe(row.id, destinations)

    def states(self) -> list[tuple[str, str, str]]:
        return [(row.destination, row.kind, row.state.value) for row in self.deliveries.of_scan(self.scan_id)]


@contextmanager
def outbox(folder: Path) -> Iterator[Outbox]:
    url = f"sqlite:///{folder / 'node.db'}"
    upgrade(url)
    database = Database(url)
    clock = SteppedClock()
    scans = ScanRepository(database, clock)
    scan = scans.create_upload(Source.UPLOAD_NIFTI, user_id=None)
    scans.apply_event(scan.id, ScanEvent.COMPLETE)
    run = scans.start_run(scan.id, ["2.25.1"])
    root = folder / "results"
    root.mkdir()
    try:
        yield Outbox(
            root=root,
            deliveries=DeliveryRepository(database, clock),
            results=ResultRepository(database, clock),
            run_id=run.id,
            scan_id=scan.id,
            clock=clock,
            database=database,
        )
    finally:
        database.close()
