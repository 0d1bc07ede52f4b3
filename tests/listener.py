"""The node's real listener with its services on a store in a folder, for tests of what peers ask of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dicom_node.inbound.commitment import CommitmentService
from dicom_node.inbound.fast.journal_store import JournalStore
from dicom_node.inbound.ingest import Ingest
from dicom_node.inbound.scp import StorageServer
from dicom_node.outbound.sending import Destination
from storage.audit import AuditRepository
from storage.clock import Clock, utc_now
from storage.commitment_requests import CommitmentRequestRepository
from storage.commitments import CommitmentRepository
from storage.database import Database, upgrade
from storage.files import FileStore
from storage.holdings import Holdings
from storage.studies import StudyRepository


@dataclass(frozen=True, kw_only=True)
class Listener:
    """A listening node. `address` leads to it as to a destination."""

    address: Destination
    database: Database
    files: FileStore
    studies: StudyRepository
    ingest: Ingest
    requests: CommitmentRequestRepository
    commitments: CommitmentRepository
    holdings: Holdings


@contextmanager
def listening(
    folder: Path,
    *,
    port: int = 0,
    database: Database | None = None,
    linger_s: float = 0.2,
    fast: bool = False,
    clock: Clock = utc_now,
) -> Iterator[Listener]:
    """A node that listens until the end of the block; on the rows of `database` where one is given.

    fast: by the journal's data path instead of pynetdicom's.
    """
    url = f"sqlite:///{folder / 'listener.db'}"
    if database is None:
        upgrade(url)
    rows = database or Database(url)
    files = FileStore(folder / "listener-store", min_free_bytes=0)
    studies = StudyRepository(rows, clock)
    ingest = Ingest(files, studies, AuditRepository(rows))
    requests, commitments = CommitmentRequestRepository(rows, clock), CommitmentRepository(rows, clock)
    holdings = Holdings(rows, files)
    service = CommitmentService(requests, commitments, holdings, linger_s=linger_s, clock=clock).service()
    server = StorageServer(
        ae_title="BTNODE",
        host="127.0.0.1",
        port=port,
        ingest=ingest,
        services=[service],
        association_timeout_s=5.0,
        journal=JournalStore(files, ingest, segment_bytes=4 << 20) if fast else None,
    )
    server.start()
    try:
        yield Listener(
            address=Destination(name="node", ae_title="BTNODE", host="127.0.0.1", port=server.port, timeout_s=5.0),
            database=rows,
            files=files,
            studies=studies,
            ingest=ingest,
            requests=requests,
            commitments=commitments,
            holdings=holdings,
        )
    finally:
        server.stop(drain_s=2)
        if database is None:
            rows.close()
