"""Our own listener as a peer meets it: the one that runs, or one that is started for the purpose."""

from __future__ import annotations

import errno
import logging
import ssl
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from dicom_node.config import NodeConfig
from dicom_node.doctor.findings import Fault, Finding, ok, skipped, wrong
from dicom_node.inbound.tls import TlsInvalid
from dicom_node.outbound.obstacles import Obstacle
from dicom_node.outbound.probing import Negotiated, connect, negotiate, shake_hands
from dicom_node.outbound.sending import Destination
from dicom_node.receiver import build_receiver
from dicom_node.store import Store, open_store
from storage.clock import Clock
from storage.errors import StorageError
from storage.receivers import ReceiverRepository

#: A listener writes its row every five seconds.
_SILENT_AFTER = timedelta(seconds=60)
_WHAT = "listener"
_TIMEOUT_S = 10.0
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


def own_address(config: NodeConfig) -> Destination:
    """The listener as a destination."""
    host = _EVERYWHERE.get(config.node.host, config.node.host)
    return Destination(
        name="this node", ae_title=config.node.ae_title, host=host, port=config.node.port, timeout_s=_TIMEOUT_S
    )


def own_tls(config: NodeConfig) -> ssl.SSLContext | None:
    """The context for associations with ourselves: whom we reach is known, so nothing is verified. Raises OSError."""
    tls = config.node.tls
    if tls.certificate is None or tls.key is None:
        return None
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.load_cert_chain(tls.certificate, tls.key)
    return context


def runs(config: NodeConfig) -> bool:
    """True where something listens at the listener's address."""
    own = own_address(config)
    return bool(own.port) and connect(own.host, own.port, _TIMEOUT_S).obstacle is None


def examine_listener(config: NodeConfig, store: Store | None, clock: Clock) -> Iterator[Finding]:
    """C-ECHO from outside into the listener, under our AE title."""
    if not config.node.port:
        yield skipped(_WHAT, "node.port is 0: the system chooses one at each start")
        return
    try:
        if runs(config):
            yield from _running(config, store, clock)
        else:
            yield from _temporary(config)
    except (OSError, TlsInvalid) as error:
        yield skipped(_WHAT, f"its TLS files cannot be used: {error}")


def _running(config: NodeConfig, store: Store | None, clock: Clock) -> Iterator[Finding]:
    where = f"port {config.node.port}"
    rows = [] if store is None else ReceiverRepository(store.database).all()
    ours = [row for row in rows if clock() - row.at < _SILENT_AFTER]
    finding = _answer(config, f"{where}, the running node")
    if finding.fault is not None and not ours:
        text = f"something that is not this node listens on {where} ({finding.detail}): stop it, or set node.port"
        yield wrong(_WHAT, Fault.LISTENER_PORT_TAKEN, text)
        return
    yield finding
    for row in ours:
        if row.pressure:
            yield wrong(_WHAT, Fault.DISK_LOW, f"takes no association: {row.pressure}")


def _temporary(config: NodeConfig) -> Iterator[Finding]:
    """The same listener, on files of its own."""
    with tempfile.TemporaryDirectory(prefix="tumor-node-doctor-") as folder:
        storage = config.storage.model_copy(update={"root": Path(folder), "database_url": None, "min_free_mb": 0})
        store = open_store(config.model_copy(update={"storage": storage}))
        logging.getLogger("dicom_node.inbound").setLevel(logging.CRITICAL)
        try:
            server = build_receiver(config.model_copy(update={"storage": storage}), store)
            try:
                server.start()
            except OSError as error:
                yield _cannot_listen(config, error)
                return
            yield _answer(config, f"port {config.node.port}, started for this examination")
            server.stop(drain_s=1.0)
        except StorageError as error:
            yield skipped(_WHAT, f"could not be started on files of its own: {error}")
        finally:
            store.database.close()


def _cannot_listen(config: NodeConfig, error: OSError) -> Finding:
    where = f"{config.node.host} port {config.node.port}"
    if error.errno == errno.EADDRINUSE:
        return wrong(_WHAT, Fault.LISTENER_PORT_TAKEN, f"{where} is taken by another program: set node.port")
    return wrong(_WHAT, Fault.LISTENER_ADDRESS, f"{where}: {error.strerror}: set node.host to an address of ours")


def _answer(config: NodeConfig, which: str) -> Finding:
    own, tls = own_address(config), own_tls(config)
    if tls is not None:
        step = shake_hands(own.host, own.port, tls, _TIMEOUT_S)
        if step.obstacle is Obstacle.CLIENT_CERTIFICATE and config.node.tls.client_certificates == "required":
            return ok(_WHAT, f"{which}: speaks TLS and lets in clients of client_ca only, which ours is not")
        if step.obstacle is not None:
            return wrong(_WHAT, step.obstacle, f"{which}: {step.text}")
    return _judged(config, which, negotiate(own, config.node.ae_title, tls=tls))


def _judged(config: NodeConfig, which: str, came: Negotiated) -> Finding:
    if came.obstacle is None:
        return ok(_WHAT, f"{which}: answers C-ECHO as '{config.node.ae_title}'")
    admitting = "answers as '{}' and refuses a title that node.peers does not name, as it should"
    if came.obstacle is Obstacle.CALLING_AE and config.node.peers:
        return ok(_WHAT, f"{which}: {admitting.format(config.node.ae_title)}")
    silent = came.obstacle is Obstacle.NO_ASSOCIATION
    return wrong(_WHAT, Fault.LISTENER_SILENT if silent else came.obstacle, f"{which}: {came.text}")
