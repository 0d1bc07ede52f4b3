"""Deliveries as they are read: one object for one destination."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from storage.rows import detached
from storage.tables import Delivery, ResultObject, Run
from storage.vocabulary import DeliveryState


@dataclass(frozen=True, kw_only=True)
class DeliveryRow:
    """One object for one destination, with all a sender needs. `attempts` counts those begun."""

    id: int
    result_object_id: int
    destination: str
    state: DeliveryState
    attempts: int
    next_attempt_at: datetime
    last_error: str
    created_at: datetime
    sent_at: datetime | None
    scan_id: str
    run_id: str
    kind: str
    sop_instance_uid: str
    sop_class_uid: str
    path: str
    size: int
    sha256: str


def delivery_query() -> Select[Delivery, ResultObject, str]:
    """Deliveries with their objects and the ids of their scans, oldest first."""
    query = select(Delivery, ResultObject, Run.scan_id).join(ResultObject, Delivery.result_object_id == ResultObject.id)
    return query.join(Run, ResultObject.run_id == Run.id).order_by(Delivery.created_at, Delivery.id)


def delivery_rows(session: Session, query: Select[Delivery, ResultObject, str]) -> list[DeliveryRow]:
    """What a `delivery_query` finds, as it may leave this package."""
    names = ("run_id", "kind", "sop_instance_uid", "sop_class_uid", "path", "size", "sha256")
    return [
        detached(
            DeliveryRow,
            delivery,
            state=DeliveryState(delivery.state),
            scan_id=scan_id,
            **{name: getattr(result, name) for name in names},
        )
        for delivery, result, scan_id in session.execute(query)
    ]
