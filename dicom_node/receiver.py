"""The composition of the receiver, apart from that of worker and web page (`node`).

A process that only receives imports no array library, no model and no page: those would be most of its memory.
"""

from __future__ import annotations

import ssl

from dicom_node.config import NodeConfig
from dicom_node.inbound.commitment import CommitmentService
from dicom_node.inbound.fast.journal_store import JournalStore, index_left_behind
from dicom_node.inbound.ingest import Ingest
from dicom_node.inbound.peers import Peer, ServiceName
from dicom_node.inbound.pressure import Pressure
from dicom_node.inbound.scp import StorageServer
from dicom_node.inbound.tls import TlsFiles, server_context
from dicom_node.store import Store
from storage.commitment_requests import CommitmentRequestRepository
from storage.commitments import CommitmentRepository
from storage.holdings import Holdings
from storage.receivers import ReceiverRepository
from storage.refusals import RefusalRepository


def listener_tls(config: NodeConfig) -> ssl.SSLContext | None:
    """TLS for the DICOM listener, None where none is configured. Raises TlsInvalid."""
    tls = config.node.tls
    if tls.certificate is None or tls.key is None:
        return None
    return server_context(
        TlsFiles(certificate=tls.certificate, key=tls.key, client_ca=tls.client_ca, clients=tls.client_certificates)
    )


def listener_peers(config: NodeConfig) -> list[Peer]:
    """Who may associate, and for what; nobody named is everybody."""
    return [
        Peer(
            ae_title=peer.ae_title,
            networks=peer.addresses,
            services=frozenset(ServiceName(name) for name in peer.services),
        )
        for peer in config.node.peers
    ]


def build_receiver(config: NodeConfig, store: Store) -> StorageServer:
    """The DICOM listener, not yet listening. Files that a crash left without a row are recorded first.

    Raises:
        StorageError: an orphaned file could not be recorded.
    """
    ingest = Ingest(store.files, store.studies, store.audit)
    store.files.sweep()
    ingest.adopt_orphans()
    journal = None
    if config.node.receive_path == "pynetdicom":
        index_left_behind(store.files, ingest)  # of a time when the other path was configured
    else:
        journal = JournalStore(
            store.files,
            ingest,
            database_url=config.storage.rows_url,
            max_backlog_bytes=config.node.max_backlog_mb << 20,
        )
    pressure = Pressure(
        free_bytes=store.files.free_bytes,
        min_free_bytes=config.storage.min_free_mb << 20,
        backlog_bytes=(lambda: 0) if journal is None else journal.backlog_bytes,
        max_backlog_bytes=config.node.max_backlog_mb << 20,
    )
    return StorageServer(
        ae_title=config.node.ae_title,
        host=config.node.host,
        port=config.node.port,
        ingest=ingest,
        journal=journal,
        peers=listener_peers(config),
        tls=listener_tls(config),
        refusals=RefusalRepository(store.database),
        receivers=ReceiverRepository(store.database),
        pressure=pressure.reason,
        max_associations=config.node.max_associations,
        association_timeout_s=config.node.association_timeout_s,
        idle_timeout_s=config.node.idle_timeout_s,
        max_object_bytes=config.node.max_object_mb << 20,
        services=[
            CommitmentService(
                CommitmentRequestRepository(store.database),
                CommitmentRepository(store.database),
                Holdings(store.database, store.files),
            ).service()
        ],
    )
