"""The examination of a node: `check` looks at what it needs to start, `doctor` at everything it has to do with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dicom_node.config import ConfigurationInvalid, NodeConfig
from dicom_node.doctor.certificates import examine_certificates
from dicom_node.doctor.clocks import examine_clock
from dicom_node.doctor.destinations import examine_destinations
from dicom_node.doctor.findings import Finding, skipped
from dicom_node.doctor.listener import examine_listener
from dicom_node.doctor.models import examine_models
from dicom_node.doctor.settings import examine_peers, examine_settings
from dicom_node.doctor.storage import examine_database, examine_files, examine_lock
from dicom_node.doctor.study import examine_study
from dicom_node.errors import DicomNodeError
from dicom_node.outbound.tls import DestinationTlsInvalid
from dicom_node.store import Store, open_store
from storage.clock import Clock, utc_now
from storage.database import check_schema
from storage.errors import StorageError


@dataclass(frozen=True, kw_only=True)
class Scope:
    """How far to look. load_models: load and probe each, which takes seconds. study_within_s: None sends no study."""

    load_models: bool = True
    study_within_s: float | None = 600.0


def check_node(config: NodeConfig, *, load: bool = True) -> Iterator[Finding]:
    """What has to be right before the node starts. The schema is brought up to date on the way."""
    yield from examine_settings(config)
    yield from examine_database(config, migrate=True)
    yield from examine_files(config)
    yield from examine_models(config, load=load)
    try:
        yield from examine_destinations(config, negotiated=False)
    except (ConfigurationInvalid, DestinationTlsInvalid) as error:
        yield skipped("destinations", str(error))


def examine_node(config: NodeConfig, scope: Scope = Scope(), clock: Clock = utc_now) -> Iterator[Finding]:
    """Everything, one finding after the other. Rows, files and the schema stay as they are."""
    yield from examine_settings(config)
    yield from examine_peers(config)
    yield from examine_database(config, migrate=False)
    yield from examine_files(config)
    store = _store(config)
    try:
        yield from examine_lock(config, store, clock)
        yield from examine_models(config, load=scope.load_models)
        yield from examine_certificates(config, clock)
        yield from examine_listener(config, store, clock)
        try:
            yield from examine_clock(config, store, clock)
            yield from examine_destinations(config, negotiated=True, clock=clock)
            if scope.study_within_s is None:
                yield skipped("phantom study", "was not asked for")
            else:
                yield from examine_study(config, store, clock, within_s=scope.study_within_s)
        except (ConfigurationInvalid, DestinationTlsInvalid) as error:
            yield skipped("destinations", str(error))
    finally:
        if store is not None:
            store.database.close()


def _store(config: NodeConfig) -> Store | None:
    """The node's rows where they are as this release needs them; an examination makes and upgrades none."""
    try:
        return open_store(config) if check_schema(config.storage.rows_url) is None else None
    except (StorageError, DicomNodeError):
        return None
