"""The composition root: the one place where parts are built from the configuration and given to one another.

Nothing is built at import, and neither this module nor what it imports loads a framework: a worker's models come in
through `load_models`, which imports them when it is called.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dicom_node.config import ConfigurationInvalid, NodeConfig
from dicom_node.inbound.assembly import AssemblyPolicy
from dicom_node.inbound.ingest import Ingest
from dicom_node.inbound.scp import StorageServer
from dicom_node.outbound.backoff import BackoffPolicy
from dicom_node.outbound.delivery import Deliverer
from dicom_node.outbound.destinations import sender_for
from dicom_node.outbound.sending import Destination
from dicom_node.store import Store
from pipeline.models.catalogue import ModelStatus, load_models
from pipeline.models.protocols import Models
from storage.clock import Clock, utc_now

if TYPE_CHECKING:
    from dicom_node.worker import Worker

#: Loads the models of a folder, each with what was found.
ModelLoader = Callable[[Path], tuple[Models, tuple[ModelStatus, ...]]]

_MINIMUM_SECRET_BYTES = 32


def destinations_of(config: NodeConfig) -> list[Destination]:
    """The configured destinations as the senders take them."""
    return [Destination(**section.model_dump()) for section in config.destinations]


def build_receiver(config: NodeConfig, store: Store) -> StorageServer:
    """The DICOM listener, not yet listening. Files that a crash left without a row are recorded first.

    Raises:
        StorageError: an orphaned file could not be recorded.
    """
    ingest = Ingest(store.files, store.studies, store.audit)
    store.files.sweep()
    ingest.adopt_orphans()
    return StorageServer(
        ae_title=config.node.ae_title,
        host=config.node.host,
        port=config.node.port,
        ingest=ingest,
        peers=config.node.peers,
        max_associations=config.node.max_associations,
        max_object_bytes=config.node.max_object_mb << 20,
    )


def build_worker(
    config: NodeConfig, store: Store, *, loader: ModelLoader = load_models, clock: Clock = utc_now
) -> Worker:
    """The worker, not yet started."""
    from dicom_node.engine import Engine
    from dicom_node.intake import Intake, Jobs
    from dicom_node.runs import Routing, RunSteps
    from dicom_node.worker import Worker

    loaded: dict[str, Models] = {}

    def load() -> Sequence[ModelStatus]:
        loaded["models"], statuses = loader(config.models.folder)
        return statuses

    def model_digest() -> str:
        models = loaded["models"]
        present = [model for model in (models.detector, models.type_classifier, models.segmenter) if model is not None]
        return ",".join(f"{model.identity.task}:{model.identity.weights_sha256}" for model in present)

    destinations = destinations_of(config)
    steps = RunSteps(
        studies=store.studies,
        scans=store.scans,
        results=store.results,
        deliveries=store.deliveries,
        files=store.files,
        models=lambda: loaded["models"],
        routing=Routing(kinds_by_destination={destination.name: destination.kinds for destination in destinations}),
        software_version=version("brain-tumor-node"),
    )
    engine = Engine(
        database_url=config.engine.database_url or f"sqlite:///{store.files.root / 'engine.sqlite'}",
        executor_id=config.engine.executor_id,
        steps=steps.steps(),
        on_failure=steps.failed,
        poll_s=config.engine.poll_s,
    )
    intake = Intake(
        studies=store.studies,
        scans=store.scans,
        requests=store.requests,
        deliveries=store.deliveries,
        files=store.files,
        jobs=Jobs(
            submit=lambda run: engine.submit(run.id, run.started_at.isoformat()),
            gave_up=lambda run: engine.gave_up(run.id, run.started_at.isoformat()),
        ),
        policy=AssemblyPolicy(**config.assembly.model_dump(exclude={"poll_s"})),
        model_digest=model_digest,
        clock=clock,
    )
    deliverer = Deliverer(
        store.deliveries,
        {destination.name: sender_for(destination, config.node.ae_title) for destination in destinations},
        store.files.abspath,
        policy=BackoffPolicy(**config.delivery.model_dump(exclude={"poll_s", "lease_s"})),
        clock=clock,
    )
    return Worker(
        engine=engine,
        intake=intake,
        deliverer=deliverer,
        deliveries=store.deliveries,
        scans=store.scans,
        heartbeats=store.heartbeats,
        files=store.files,
        load_models=load,
        executor_id=config.engine.executor_id,
        intake_every_s=config.assembly.poll_s,
        deliver_every_s=config.delivery.poll_s,
        takeover_after_s=config.engine.takeover_after_s,
        clock=clock,
    )


def build_web(config: NodeConfig, store: Store, clock: Clock = utc_now) -> Callable[..., Any]:
    """The web application (ASGI).

    Raises:
        ConfigurationInvalid: the token secret is too short.
    """
    from dicom_node.health import NodeHealth
    from dicom_node.uploads import UploadDoor
    from web.app import create_app
    from web.settings import Registration, WebSettings

    settings = WebSettings(
        token_secret=web_secret(config),
        registration=Registration(config.web.registration),
        token_minutes=config.web.token_minutes,
        cors_origins=config.web.cors_origins,
        max_upload_bytes=config.web.max_upload_mb << 20,
        cookie_secure=config.web.cookie_secure,
    )
    return create_app(
        settings=settings,
        database=store.database,
        files=store.files,
        health=NodeHealth(config, store, clock).report,
        ingest=UploadDoor(Ingest(store.files, store.studies, store.audit), store.scans),
        clock=clock,
    )


def web_secret(config: NodeConfig) -> str:
    """The secret that signs sign-in tokens: from the environment, the configured file, or made once and kept.

    Raises:
        ConfigurationInvalid: shorter than 32 bytes, or the file cannot be read.
    """
    if config.web.secret is not None:
        secret = config.web.secret
    else:
        path = config.web.secret_file or config.storage.root / "web-secret"
        try:
            if config.web.secret_file is None and not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                _write_once(path, secrets.token_urlsafe(48))
            secret = path.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ConfigurationInvalid(f"web.secret_file: {path} cannot be read ({error.strerror})") from None
    if len(secret.encode()) < _MINIMUM_SECRET_BYTES:
        raise ConfigurationInvalid("web.secret: fewer than 32 bytes; make one with `openssl rand -base64 48`")
    return secret


def _write_once(path: Path, text: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return  # another process of this node was first
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
