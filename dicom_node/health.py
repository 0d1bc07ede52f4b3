"""The node's condition for the health page: storage, database, models as the worker found them, queue ages."""

from __future__ import annotations

from datetime import datetime, timedelta

from dicom_node.config import NodeConfig
from dicom_node.models_status import read_models_status
from dicom_node.store import Store
from pipeline.models.catalogue import check_models
from storage.circuits import CircuitRepository
from storage.clock import Clock
from storage.database import check_schema
from storage.errors import StorageError
from storage.lifecycle import ScanState
from storage.receivers import SILENT_AFTER, ReceiverRepository, ReceiverRow
from storage.scrubbing import ScrubRepository
from web.health import Check, HealthReport, Owed

_QUEUED = (ScanState.READY, ScanState.ANALYSING, ScanState.REPORTING)
#: A worker beats every ten seconds.
_WORKER_SILENT = timedelta(seconds=60)


class NodeHealth:
    """Looks at the node's parts each time it is asked; never raises."""

    def __init__(self, config: NodeConfig, store: Store, clock: Clock) -> None:
        self._config = config
        self._store = store
        self._clock = clock
        self._circuits = CircuitRepository(store.database)
        self._receivers = ReceiverRepository(store.database)
        self._scrubs = ScrubRepository(store.database)

    def report(self) -> HealthReport:
        """The condition now."""
        try:
            return self._report()
        except StorageError as error:
            return HealthReport(checks=(Check(name="database", ok=False, detail=str(error)),), models=())

    def _report(self) -> HealthReport:
        schema = check_schema(self._config.storage.rows_url)
        disk = self._store.files.check()
        beats = [beat for beat in self._store.heartbeats.all() if beat.role == "work"]
        now = self._clock()
        alive = [beat.executor_id for beat in beats if now - beat.at < _WORKER_SILENT]
        queued = self._store.scans.in_states(*_QUEUED)
        owed = self._store.deliveries.oldest_owed_age(now)
        rows = self._receivers.all()
        receivers = [row for row in rows if now - row.at < SILENT_AFTER]
        gone = [row for row in rows if now - row.at >= SILENT_AFTER and row.backlog_objects]
        return HealthReport(
            checks=(
                Check(name="database", ok=schema is None, detail=schema or "reached, schema up to date"),
                Check(
                    name="disk",
                    ok=not disk,
                    detail="; ".join(disk) or f"{self._store.files.free_bytes() >> 20} MB free",
                ),
            ),
            models=(
                *self._models(),
                Check(name="worker", ok=bool(alive), detail=", ".join(alive) or "no worker is alive"),
            ),
            destinations=self._destinations(),
            receivers=(*(_listener(row) for row in receivers), *(_gone(row) for row in gone)),
            backlog_bytes=sum(row.backlog_bytes for row in receivers),
            queue_length=len(queued),
            queue_age_s=max(((now - scan.updated_at).total_seconds() for scan in queued), default=None),
            delivery_age_s=None if owed is None else owed.total_seconds(),
            owed=self._owed(now),
            scans_by_state={state.value: count for state, count in self._store.scans.count_by_state().items()},
            disk_free_bytes=self._store.files.free_bytes(),
            damaged_files=self._scrubs.damaged_files(),
            images_missing=self._scrubs.missing_images(),
        )

    def _owed(self, now: datetime) -> tuple[Owed, ...]:
        """What every configured destination is owed, and any other that still is."""
        owed = self._store.deliveries.owed_by_destination(now)
        nothing = (0, timedelta())
        names = dict.fromkeys([*(section.name for section in self._config.destinations), *owed])
        return tuple(
            Owed(destination=name, objects=owed.get(name, nothing)[0], age_s=owed.get(name, nothing)[1].total_seconds())
            for name in names
        )

    def _destinations(self) -> tuple[Check, ...]:
        """Each configured destination, by its circuit."""
        circuits = {circuit.destination: circuit for circuit in self._circuits.all() if circuit.open}
        return tuple(
            Check(
                name=section.name,
                ok=section.name not in circuits,
                detail="takes what it is sent"
                if section.name not in circuits
                else f"refuses what it is sent, left alone until {circuits[section.name].trial_at:%Y-%m-%d %H:%M} UTC: "
                f"{circuits[section.name].last_error}",
            )
            for section in self._config.destinations
        )

    def _models(self) -> tuple[Check, ...]:
        """What the worker found when it loaded them; before the first worker, what the files alone show."""
        found = read_models_status(self._store.files) or check_models(self._config.models.folder)
        return tuple(Check(name=model.name, ok=model.ok, detail=model.detail) for model in found)


def _listener(row: ReceiverRow) -> Check:
    open_now = f"{row.associations} associations, {row.backlog_objects} objects to file"
    detail = f"takes no association: {row.pressure} ({open_now})" if row.pressure else open_now
    return Check(name=row.name, ok=not row.pressure, detail=detail)


def _gone(row: ReceiverRow) -> Check:
    detail = (
        f"silent since {row.at:%Y-%m-%d %H:%M} UTC with {row.backlog_objects} objects received and not filed: start a "
        "receiver on this store, it takes them over"
    )
    return Check(name=row.name, ok=False, detail=detail)
