"""What became of results at their destinations, and what PACS say of a study, as the API and the pages show them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from storage.circuits import CircuitRow
from storage.commitments import CommitmentRow
from storage.delivery_rows import DeliveryRow
from storage.pacs_answers import PacsAnswerRow, PacsStudy
from storage.scan_rows import ScanRow
from storage.vocabulary import REJECTION_NOTE, CommitmentState, DeliveryState, ReviewVerdict
from web.context import WebContext
from web.outward_schemas import (
    CircuitOut,
    CommitmentOut,
    DeadLetterOut,
    DeliveryOut,
    OutboxOut,
    PacsAnswerOut,
    PacsSeriesOut,
    PriorOut,
)

_UNKEPT = (CommitmentState.FAILED, CommitmentState.UNCONFIRMED)


@dataclass(frozen=True, kw_only=True)
class Reached:
    """Of a scan's results: the destinations that took any, and those from which a review withdrew any before sending.

    A destination may be in both. Both in the order in which they were first owed something.
    """

    took: tuple[str, ...]
    withdrawn: tuple[str, ...]


def deliveries_of(context: WebContext, scan_id: str) -> list[DeliveryOut]:
    """Return the deliveries of a scan, oldest first."""
    commitments = context.commitments.of_scan(scan_id)
    circuits = {circuit.destination: circuit for circuit in context.circuits.all()}
    withheld = withheld_runs_of(context, scan_id)
    return [
        _delivery_out(row, commitments.get(row.id), circuits.get(row.destination), withheld)
        for row in context.deliveries.of_scan(scan_id)
    ]


def reached(deliveries: Sequence[DeliveryOut]) -> Reached:
    """Who took results. deliveries: of all runs, oldest first; a later run's object stands for an earlier run's."""
    results = [one for one in deliveries if one.kind != REJECTION_NOTE]
    latest = {(one.destination, one.kind): one.state for one in results}
    return Reached(
        took=tuple(dict.fromkeys(one.destination for one in results if one.state == DeliveryState.SENT)),
        withdrawn=tuple(dict.fromkeys(to for (to, _), state in latest.items() if state == DeliveryState.WITHDRAWN)),
    )


def withheld_runs_of(context: WebContext, scan_id: str) -> set[str]:
    """Return those of a scan's runs whose results a review rejected or put on hold."""
    current = [review for review in context.reviews.of_scan(scan_id) if review.replaced_at is None]
    return {review.run_id for review in current if review.verdict is not ReviewVerdict.ACCEPTED}


def is_withheld(row: DeliveryRow, withheld: Collection[str]) -> bool:
    """Whether a review keeps it here. withheld: the runs under such a review, whose own note goes out all the same."""
    return row.run_id in withheld and row.kind != REJECTION_NOTE


def can_resend(row: DeliveryRow, commitment: CommitmentRow | None, withheld: Collection[str]) -> bool:
    """Whether a person may have it sent again: refused, or sent and not committed to, and withheld by no review."""
    if is_withheld(row, withheld):
        return False
    sent = row.state is DeliveryState.SENT
    return row.state is DeliveryState.FAILED or (sent and commitment is not None and commitment.state in _UNKEPT)


def _delivery_out(
    row: DeliveryRow, commitment: CommitmentRow | None, circuit: CircuitRow | None, withheld: Collection[str]
) -> DeliveryOut:
    owed = row.state is DeliveryState.OWED
    return DeliveryOut(
        id=row.id,
        destination=row.destination,
        kind=row.kind,
        state=row.state.value,
        attempts=row.attempts,
        next_attempt_at=row.next_attempt_at if owed else None,
        held_until=circuit.trial_at if owed and circuit is not None and circuit.open else None,
        last_error=row.last_error,
        sent_at=row.sent_at,
        can_resend=can_resend(row, commitment, withheld),
        commitment=None
        if commitment is None
        else CommitmentOut(state=commitment.state.value, reason=commitment.reason, ended_at=commitment.ended_at),
    )


def outbox(context: WebContext) -> OutboxOut:
    """Return what was refused for good, the latest first, and how each destination takes what it is sent."""
    return OutboxOut(
        dead_letters=[
            DeadLetterOut(
                id=row.id,
                scan_id=row.scan_id,
                destination=row.destination,
                kind=row.kind,
                attempts=row.attempts,
                last_error=row.last_error,
                created_at=row.created_at,
            )
            for row in context.deliveries.dead_letters()
        ],
        circuits=[
            CircuitOut(
                destination=circuit.destination,
                state="open" if circuit.open else "closed",
                refusals=circuit.refusals,
                opened_at=circuit.opened_at,
                trial_at=circuit.trial_at,
                last_error=circuit.last_error,
            )
            for circuit in context.circuits.all()
        ],
    )


def pacs_answers_of(context: WebContext, scan: ScanRow) -> list[PacsAnswerOut]:
    """Return what each PACS said of the scan's study, beside what is here."""
    uid = scan.study_instance_uid
    if uid is None:
        return []
    answers = context.pacs_answers.of_study(uid)
    here = Counter(row.series_instance_uid for row in context.studies.instances_of(uid)) if answers else Counter()
    return [_answer_out(context, row, here) for row in answers]


def _answer_out(context: WebContext, row: PacsAnswerRow, here: Counter[str]) -> PacsAnswerOut:
    return PacsAnswerOut(
        peer=row.peer,
        state=row.state.value,
        reason=row.reason,
        asked_at=row.asked_at,
        series=[
            PacsSeriesOut(
                series_instance_uid=one.series_instance_uid,
                modality=one.modality,
                description=one.description,
                at_pacs=one.instances,
                here=here[one.series_instance_uid],
            )
            for one in row.series
        ],
        priors=[_prior_out(context, one) for one in row.priors],
    )


def _prior_out(context: WebContext, study: PacsStudy) -> PriorOut:
    known = context.scans.by_study(study.study_instance_uid)
    return PriorOut(
        study_instance_uid=study.study_instance_uid,
        study_date=study.study_date,
        description=study.description,
        modalities=list(study.modalities),
        instances=study.instances,
        scan_id=None if known is None else known.id,
    )
