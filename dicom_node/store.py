"""Rows and files of one process, opened from the configuration."""

from __future__ import annotations

from dataclasses import dataclass

from dicom_node.backup.restoring import refuse_unfinished
from dicom_node.config import NodeConfig
from storage.audit import AuditRepository
from storage.clock import Clock, utc_now
from storage.database import Database, upgrade
from storage.deliveries import DeliveryRepository
from storage.files import FileStore
from storage.heartbeats import HeartbeatRepository
from storage.model_answers import ModelAnswerRepository
from storage.requests import RequestRepository
from storage.results import ResultRepository
from storage.reviews import ReviewRepository
from storage.scans import ScanRepository
from storage.studies import StudyRepository
from storage.users import UserRepository
from storage.visits import VisitRepository


@dataclass(frozen=True, kw_only=True)
class Store:
    """Rows and files, opened once in a process."""

    database: Database
    files: FileStore
    studies: StudyRepository
    scans: ScanRepository
    results: ResultRepository
    answers: ModelAnswerRepository
    deliveries: DeliveryRepository
    reviews: ReviewRepository
    requests: RequestRepository
    heartbeats: HeartbeatRepository
    audit: AuditRepository
    users: UserRepository
    visits: VisitRepository


def open_store(config: NodeConfig, clock: Clock = utc_now) -> Store:
    """Bring the schema up to date and open rows and files.

    Raises:
        StorageError: the root cannot be made, or the database cannot be reached or is of a later version.
        RestoreRefused: a restore into the root was cut off.
    """
    refuse_unfinished(config.storage.root)
    files = FileStore(config.storage.root, min_free_bytes=config.storage.min_free_mb << 20)
    upgrade(config.storage.rows_url)
    database = Database(config.storage.rows_url)
    return Store(
        database=database,
        files=files,
        studies=StudyRepository(database, clock),
        scans=ScanRepository(database, clock),
        results=ResultRepository(database, clock),
        answers=ModelAnswerRepository(database, clock),
        deliveries=DeliveryRepository(database, clock, lease_s=config.delivery.lease_s),
        reviews=ReviewRepository(database, clock),
        requests=RequestRepository(database, clock),
        heartbeats=HeartbeatRepository(database, clock),
        audit=AuditRepository(database, clock),
        users=UserRepository(database, clock),
        visits=VisitRepository(database, clock),
    )
