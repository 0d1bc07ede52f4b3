"""The web application, built from values: nothing is read from a file, the environment or a global."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from pipeline.report import RESEARCH_NOTICE
from pipeline.volume import SeriesRole
from storage.audit import AuditRepository
from storage.circuits import CircuitRepository
from storage.clock import utc_now
from storage.commitments import CommitmentRepository
from storage.database import Database
from storage.deliveries import DeliveryRepository
from storage.erasing import erase
from storage.files import FileStore
from storage.holds import HoldRepository
from storage.identities import IdentityRepository
from storage.known_uploads import KnownUploadRepository
from storage.model_answers import ModelAnswerRepository
from storage.pacs_answers import PacsAnswerRepository
from storage.quick_lines import LineReader, line_reader
from storage.refusals import RefusalRepository
from storage.removals import RemovalRepository
from storage.requests import RequestRepository
from storage.reviews import ReviewRepository
from storage.run_figures import RunFigureRepository
from storage.scan_care import ScanCareRepository
from storage.scans import ScanRepository
from storage.sign_ins import SignInRepository
from storage.studies import StudyRepository
from storage.users import UserRepository
from storage.visits import VisitRepository
from web import problems
from web.access_log import AccessLog
from web.account_gate import AccountGate
from web.body_limits import SMALL_BODY_BYTES, BodyLimits
from web.change_feed import ChangeFeed
from web.context import PACKAGE, WebContext
from web.exporting import ScanExporter
from web.health import HealthReport, InstalledModel
from web.images import SliceRenderer
from web.ingest import StowIngest, UploadIngest
from web.login_limits import LoginLimits
from web.metrics import Metrics, RequestMetrics
from web.neighbours import Neighbours
from web.oidc import OidcSignIn
from web.oidc_settings import OidcSettings
from web.openapi import complete_openapi
from web.pages import respond
from web.passwords import PasswordHasher
from web.quick_list import QuickList
from web.routes import (
    audit,
    auth,
    compare,
    deliveries,
    dicomweb,
    exports,
    follow_up,
    images,
    live,
    page_actions,
    pages,
    pages_admin,
    pages_audit,
    pages_deliveries,
    pages_follow_up,
    pages_images,
    pages_language,
    pages_oidc,
    pages_sign_in,
    process_mri,
    refusals,
    retention,
    reviews,
    scans,
    users,
)
from web.routes import health as health_routes
from web.routes import models as model_routes
from web.security_headers import SecurityHeaders
from web.settings import WebSettings
from web.templating import make_templates
from web.tokens import TokenIssuer
from web.view_log import ViewLog

_UPLOAD_PATHS = frozenset({"/api/process-mri", "/upload"})
_INBOX_PATH = "/dicom-web/studies"


def create_app(
    *,
    settings: WebSettings,
    database: Database,
    files: FileStore,
    health: Callable[[], HealthReport],
    ingest: UploadIngest,
    stow: StowIngest | None = None,
    exporter: ScanExporter | None = None,
    neighbours: Neighbours | None = None,
    models: Callable[[], Sequence[InstalledModel]] = tuple,
    clock: Callable[[], datetime] = utc_now,
    hasher: PasswordHasher | None = None,
    access_log: AccessLog | None = None,
    oidc: OidcSettings | None = None,
) -> FastAPI:
    """Build the application.

    database: with its schema up to date. health: asked at each readiness probe and metrics scrape, so it must be quick.
    ingest: where uploaded DICOM goes. stow: where DICOMweb's goes, None for no inbox. exporter: writes
    results in other formats. models: as the worker found them.
    clock: aware UTC. access_log: told of each answered request. hasher: bcrypt with cost 12 unless given (tests: less).
    oidc: the identity provider that signs in beside passwords, None for none.
    """
    gate = AccountGate(settings.account_age_s)
    users_repository = UserRepository(database, clock, on_change=gate.forget)
    sign_ins = SignInRepository(database, clock, on_change=gate.forget)
    gate.connect(users_repository.by_id, sign_ins.holds)
    scans_repository = ScanRepository(database, clock)
    context = WebContext(
        settings=settings,
        users=users_repository,
        visits=VisitRepository(database, clock),
        sign_ins=sign_ins,
        identities=IdentityRepository(database, clock),
        gate=gate,
        views=ViewLog(clock),
        care=ScanCareRepository(database, clock),
        known_uploads=KnownUploadRepository(database, clock),
        feed=ChangeFeed(scans_repository.changed_since, clock),
        erase=lambda scan_id, by: erase(database, files, scan_id, by, clock),
        scans=scans_repository,
        studies=StudyRepository(database, clock),
        deliveries=DeliveryRepository(database, clock),
        requests=RequestRepository(database, clock),
        reviews=(reviews_repository := ReviewRepository(database, clock)),
        answers=ModelAnswerRepository(database, clock),
        audit=AuditRepository(database, clock),
        files=files,
        ingest=ingest,
        stow=stow,
        exporter=exporter,
        neighbours=neighbours or Neighbours(),
        commitments=CommitmentRepository(database, clock),
        circuits=CircuitRepository(database),
        refusals=RefusalRepository(database),
        pacs_answers=PacsAnswerRepository(database, clock),
        removals=RemovalRepository(database, files, clock=clock),
        holds=HoldRepository(database, clock),
        health=health,
        models=models,
        clock=clock,
        tokens=TokenIssuer(
            secret=settings.token_secret,
            issuer=settings.issuer,
            audience=settings.audience,
            minutes=settings.token_minutes,
            sign_in_hours=settings.sign_in_hours,
            clock=clock,
        ),
        hasher=hasher or PasswordHasher(),
        limits=LoginLimits(settings.limits_url),
        oidc=OidcSignIn(oidc, secret=settings.token_secret, clock=clock) if oidc is not None else None,
        slices=SliceRenderer(),
        metrics=Metrics(RunFigureRepository(database, clock), reviews_repository.count_by_verdict),
        templates=make_templates(
            PACKAGE / "templates",
            PACKAGE / "static",
            notice=RESEARCH_NOTICE,
            roles=[role.value for role in SeriesRole],
        ),
    )
    app = FastAPI(
        title="Brain tumour node",
        description=RESEARCH_NOTICE,
        openapi_url="/api/openapi.json",
        # The interactive pages would load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        middleware=_middleware(context, access_log, line_reader(database)),
    )
    app.state.context = context
    problems.install(app, respond)
    api = (
        auth, scans, compare, images, live, process_mri, users, deliveries, refusals, audit, dicomweb, health_routes,
        model_routes, retention, reviews, exports, follow_up,
    )  # fmt: skip
    dashboard = (
        pages_language, pages_sign_in, pages_oidc, pages, pages_deliveries, pages_images, pages_follow_up, page_actions,
        pages_admin, pages_audit,
    )  # fmt: skip
    for module in (*api, *dashboard):
        app.include_router(module.router)
    app.mount("/static", StaticFiles(directory=PACKAGE / "static"), name="static")
    complete_openapi(app)
    return app


def _middleware(context: WebContext, access_log: AccessLog | None, reader: LineReader) -> list[Middleware]:
    settings = context.settings

    def limit_for(path: str) -> int:
        large = path in _UPLOAD_PATHS or path.startswith(_INBOX_PATH)
        return settings.max_upload_bytes if large else SMALL_BODY_BYTES

    too_large = problems.problem_response(
        problems.Problem(413, "content-too-large", "The request is larger than this node takes.")
    )
    stack = [
        Middleware(SecurityHeaders, https_only=settings.cookie_secure),
        Middleware(RequestMetrics, metrics=context.metrics, access_log=access_log),
    ]
    if settings.cors_origins:
        stack.append(
            Middleware(
                CORSMiddleware,
                allow_origins=list(settings.cors_origins),
                # Other origins send a bearer token; cookies stay with the node's own pages.
                allow_credentials=False,
                allow_methods=["GET", "POST", "PUT", "DELETE"],
                allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID"],
                max_age=600,
            )
        )
    stack.append(
        Middleware(BodyLimits, limit_for=limit_for, chunk_timeout_s=settings.chunk_timeout_s, too_large=too_large)
    )
    stack.append(Middleware(QuickList, context=context, reader=reader))
    return stack
