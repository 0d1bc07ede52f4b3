"""All that a route works with, built once by `create_app` and carried in the application's state."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import cast

from fastapi import Request
from fastapi.templating import Jinja2Templates

from storage.audit import AuditRepository
from storage.circuits import CircuitRepository
from storage.commitments import CommitmentRepository
from storage.deliveries import DeliveryRepository
from storage.files import FileStore
from storage.holds import HoldRepository
from storage.identities import IdentityRepository
from storage.known_uploads import KnownUploadRepository
from storage.model_answers import ModelAnswerRepository
from storage.pacs_answers import PacsAnswerRepository
from storage.refusals import RefusalRepository
from storage.removals import RemovalRepository
from storage.requests import RequestRepository
from storage.reviews import ReviewRepository
from storage.scan_care import ScanCareRepository
from storage.scan_rows import ScanRow
from storage.scans import ScanRepository
from storage.sign_ins import SignInRepository
from storage.studies import StudyRepository
from storage.users import UserRepository
from storage.visits import VisitRepository
from web.account_gate import AccountGate
from web.change_feed import ChangeFeed
from web.exporting import ScanExporter
from web.health import HealthReport, InstalledModel
from web.images import SliceRenderer
from web.ingest import StowIngest, UploadIngest
from web.login_limits import LoginLimits
from web.metrics import Metrics
from web.neighbours import Neighbours
from web.oidc import OidcSignIn
from web.passwords import PasswordHasher
from web.settings import WebSettings
from web.tokens import TokenIssuer
from web.view_log import ViewLog

PACKAGE = Path(__file__).resolve().parent


@dataclass(frozen=True, kw_only=True)
class WebContext:
    """Values and repositories of one application."""

    settings: WebSettings
    users: UserRepository
    visits: VisitRepository
    sign_ins: SignInRepository
    identities: IdentityRepository
    gate: AccountGate
    views: ViewLog
    care: ScanCareRepository
    known_uploads: KnownUploadRepository
    feed: ChangeFeed
    erase: Callable[[str, str], ScanRow]
    scans: ScanRepository
    studies: StudyRepository
    deliveries: DeliveryRepository
    requests: RequestRepository
    reviews: ReviewRepository
    answers: ModelAnswerRepository
    audit: AuditRepository
    files: FileStore
    ingest: UploadIngest
    stow: StowIngest | None
    exporter: ScanExporter | None
    commitments: CommitmentRepository
    circuits: CircuitRepository
    refusals: RefusalRepository
    pacs_answers: PacsAnswerRepository
    removals: RemovalRepository
    holds: HoldRepository
    health: Callable[[], HealthReport]
    neighbours: Neighbours
    models: Callable[[], Sequence[InstalledModel]]
    clock: Callable[[], datetime]
    tokens: TokenIssuer
    hasher: PasswordHasher
    limits: LoginLimits
    oidc: OidcSignIn | None
    slices: SliceRenderer
    metrics: Metrics
    templates: Mapping[str, Jinja2Templates]


async def get_context(request: Request) -> WebContext:
    """Dependency: the application's context."""
    return cast(WebContext, request.app.state.context)
