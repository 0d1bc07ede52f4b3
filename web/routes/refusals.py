"""GET /api/refusals: associations the DICOM listener refused, with what can be done about each."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query

from web.dependencies import Context, SignedIn
from web.problems import documented
from web.schema_base import Schema

router = APIRouter(prefix="/api/refusals", tags=["health"])


class RefusalOut(Schema):
    """One kind of refusal of one peer."""

    reason: str
    calling_ae: str
    called_ae: str
    address: str
    text: str
    count: int
    first_at: datetime
    last_at: datetime


class RefusalList(Schema):
    """Refusals, the newest first."""

    items: list[RefusalOut]


@router.get("", responses=documented(401, 422))
def list_refusals(context: Context, _session: SignedIn, limit: Annotated[int, Query(ge=1, le=200)] = 50) -> RefusalList:
    """List what was refused last, counted by peer and reason."""
    return RefusalList(items=[RefusalOut(**vars(row)) for row in context.refusals.newest(limit)])
