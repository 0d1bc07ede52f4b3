"""The composition root: the one place where parts are built from the configuration and given to one another.

Nothing is built at import, and neither this module nor what it imports loads a framework: a worker's models come in
through `load_models`, which imports them when it is called.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dicom_node.config import ConfigurationInvalid, NodeConfig
from dicom_node.inbound.assembly import AssemblyPolicy
from dicom_node.inbound.ingest import Ingest
from dicom_node.inbound.tls import TlsFiles, server_context
from dicom_node.store import Store
from dicom_node.web_oidc import oidc_settings
from dicom_node.web_secrets import inbox_token, web_secret
from pipeline.models.catalogue import ModelStatus, load_models
from pipeline.models.protocols import Models
from pipeline.models.runtime_options import RuntimeOptions
from storage.circuits import CircuitRepository
from storage.clock import Clock, utc_now
from storage.pacs_answers import PacsAnswerRepository
from storage.receivers import ReceiverRepository

if TYPE_CHECKING:
    from dicom_node.worker import Worker

#: Loads the models of a folder, each with what was found.
ModelLoader = Callable[[Path], tuple[Models, tuple[ModelStatus, ...]]]


def runtime_options(config: NodeConfig) -> RuntimeOptions:
    """What the configuration grants the models."""
    cache = config.models.cache or config.storage.root / "model-cache"
    return RuntimeOptions(cache=cache, convert=config.models.convert, threads=config.models.threads)


def web_tls(config: NodeConfig) -> ssl.SSLContext | None:
    """TLS for pages and API by the listener's rules, None where none is configured. Raises TlsInvalid."""
    tls = config.web.tls
    if tls.certificate is None or tls.key is None:
        return None
    return server_context(TlsFiles(certificate=tls.certificate, key=tls.key))


def build_worker(
    config: NodeConfig, store: Store, *, loader: ModelLoader | None = None, clock: Clock = utc_now
) -> Worker:
    """The worker, not yet started."""
    from dicom_node.comparisons import Comparisons
    from dicom_node.engine import Engine, Step
    from dicom_node.explanations import Explanations
    from dicom_node.follow_up import FollowUps
    from dicom_node.housekeeping import housekeeping_loops
    from dicom_node.intake import Intake, Jobs
    from dicom_node.late_files import write_late
    from dicom_node.outward import build_deliverer, outward_loops, removals_of
    from dicom_node.run_composition import build_held, build_review_follow_up, build_steps, routing_of
    from dicom_node.viewing import Views
    from dicom_node.worker import Worker
    from pipeline.models.roster import answer_digest

    loaded: dict[str, Models] = {}
    load_folder = loader or partial(load_models, options=runtime_options(config))

    def load() -> Sequence[ModelStatus]:
        loaded["models"], statuses = load_folder(config.models.folder)
        return statuses

    def model_digest() -> str:
        return answer_digest(loaded["models"])

    follow_ups = FollowUps(visits=store.visits, studies=store.studies, files=store.files)
    compare = config.follow_up.compare
    waits_s = config.follow_up.wait_s if compare and config.follow_up.fetch_priors else 0.0
    routing = routing_of(config)
    steps = build_steps(config, store, lambda: loaded["models"], routing, follow_ups if compare else None)
    engine = Engine(
        database_url=config.engine.database_url or f"sqlite:///{store.files.root / 'engine.sqlite'}",
        executor_id=config.engine.executor_id,
        steps=steps.steps(),
        on_failure=steps.failed,
        afterwards=Step(name="record", handler=lambda run_id: after_run(run_id)),
        poll_s=config.engine.poll_s,
    )
    comparisons = Comparisons(
        studies=store.studies,
        scans=store.scans,
        answers=store.answers,
        files=store.files,
        models=lambda: loaded["models"],
        stopping=lambda: engine.stopping,
    )
    late = partial(write_late, store.scans, store.files)
    explanations = Explanations(
        files=store.files,
        models=lambda: loaded["models"],
        models_folder=config.models.folder,
        write=late,
        give_way=comparisons.give_way,
    )
    views = Views(
        scans=store.scans, studies=store.studies, files=store.files, write=late, give_way=comparisons.give_way
    )

    def after_run(run_id: str) -> None:
        views.make(run_id)
        if config.models.explain:
            explanations.explain(run_id)
        comparisons.record(run_id)

    circuits = CircuitRepository(store.database)
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
        held_by_pacs=PacsAnswerRepository(store.database, clock).instances_of,
        receivers=ReceiverRepository(store.database).all,
        try_destination=lambda name: circuits.try_now(name, clock()),
        priors_of=follow_ups.priors if compare else lambda _uid: (),
        awaits_priors=lambda uid: follow_ups.awaited(uid, waits_s, clock()),
        removed=removals_of(config, store, clock).removed_of,
        judge_held=build_held(config, store, routing).judge_again,
        clock=clock,
    )
    deliverer = build_deliverer(config, store, clock)
    follow_up = build_review_follow_up(config, store, routing, clock)
    return Worker(
        engine=engine,
        intake=intake,
        deliverer=deliverer,
        deliveries=store.deliveries,
        reviews=store.reviews,
        scans=store.scans,
        heartbeats=store.heartbeats,
        files=store.files,
        load_models=load,
        executor_id=config.engine.executor_id,
        intake_every_s=config.assembly.poll_s,
        deliver_every_s=config.delivery.poll_s,
        takeover_after_s=config.engine.takeover_after_s,
        finish_within_s=config.engine.finish_within_s,
        also=[
            ("review", follow_up.tick, config.delivery.poll_s),
            *outward_loops(config, store, clock),
            *housekeeping_loops(config, store, steps.encoded_again, clock),
        ],
        clock=clock,
    )


def build_web(config: NodeConfig, store: Store, clock: Clock = utc_now) -> Callable[..., Any]:
    """The web application (ASGI).

    Raises:
        ConfigurationInvalid: the token secret is too short, or a setting of `web` cannot be used.
    """
    from web.settings import InvalidWebSettings

    try:
        return _web_application(config, store, clock)
    except InvalidWebSettings as error:
        raise ConfigurationInvalid(str(error)) from None


def _web_application(config: NodeConfig, store: Store, clock: Clock) -> Callable[..., Any]:
    from dicom_node.access_lines import access_lines
    from dicom_node.export_door import ExportDoor
    from dicom_node.health import NodeHealth
    from dicom_node.models_status import installed_models
    from dicom_node.neighbours import neighbours
    from dicom_node.stow_door import StowDoor
    from dicom_node.uploads import UploadDoor
    from web.app import create_app
    from web.settings import Registration, WebSettings

    settings = WebSettings(
        token_secret=web_secret(config),
        registration=Registration(config.web.registration),
        token_minutes=config.web.token_minutes,
        sign_in_hours=config.web.sign_in_hours,
        limits_url=config.web.limits_url,
        node_name=config.node.ae_title,
        cors_origins=config.web.cors_origins,
        max_upload_bytes=config.web.max_upload_mb << 20,
        cookie_secure=config.web.cookie_secure or config.web.tls.certificate is not None,
        max_object_bytes=config.node.max_object_mb << 20,
        inbox_token=inbox_token(config),
    )
    ingest = Ingest(store.files, store.studies, store.audit)
    return create_app(
        settings=settings,
        database=store.database,
        files=store.files,
        health=NodeHealth(config, store, clock).report,
        models=lambda: installed_models(store.files),
        ingest=UploadDoor(ingest, store.scans),
        stow=StowDoor(ingest, store.files),
        exporter=ExportDoor(store),
        neighbours=neighbours(config),
        clock=clock,
        access_log=access_lines() if config.logging.access else None,
        oidc=oidc_settings(config),
    )
