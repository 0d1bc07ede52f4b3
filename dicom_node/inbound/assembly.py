"""When a study is complete: a pure decision from what has arrived, the policy and the time.

Three timers (docs/series-roles.md): each needed role filled by a whole series that has been quiet for `series_quiet_s`
makes the study ready at once; a study quiet for `study_quiet_s` goes on with what it has; one that is still growing
`study_cap_s` after its first object goes on marked incomplete.

A study that looks whole waits for `study_quiet_s` too while its sender is still connected and has not gone on to
another study, or where that connection broke off behind the last object: a last slice that is lost leaves no gap.

Quiet is judged as of the time up to which all that was received has its row: what a listener answered and has not filed
yet is never taken for silence. The cap and a person's word do not wait for that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from dicom_node.inbound.series_headers import SeriesHeaders
from dicom_node.inbound.series_roles import Override, RoleAssignment, assign
from dicom_node.inbound.stack_completeness import Completeness, completeness_of
from dicom_node.inbound.unfiled import Unfiled
from pipeline.volume import SeriesRole
from storage.receivers import Sender


class Outcome(StrEnum):
    """What to do with the study now."""

    WAIT = "wait"
    READY = "ready"
    INELIGIBLE = "ineligible"


class Mode(StrEnum):
    """How much of a study a run has."""

    FULL = "full"
    REDUCED = "reduced"
    INCOMPLETE = "incomplete"


@dataclass(frozen=True, kw_only=True)
class AssemblyPolicy:
    """The three timers in seconds, and the roles that make a study complete.

    heed_senders: whether a connected or broken-off sender is waited for.
    """

    series_quiet_s: float = 20.0
    study_quiet_s: float = 300.0
    study_cap_s: float = 5400.0
    needed: tuple[SeriesRole, ...] = tuple(SeriesRole)
    heed_senders: bool = True


@dataclass(frozen=True, kw_only=True)
class SeriesFacts:
    """One received series. last_received_at: when its latest new object came (timezone-aware).

    held_by_pacs: instances the PACS says it has of it, None where it was not asked or did not say.
    """

    headers: SeriesHeaders
    last_received_at: datetime
    held_by_pacs: int | None = None


@dataclass(frozen=True, kw_only=True)
class StudyFacts:
    """What is known of a study. process_now: a person asked not to wait any longer.

    last_received_at: of the row of the latest object, which may follow the object by seconds. last_object_at: when that
    object itself was received, as senders are told of.
    sender: calling AE title of the latest object, '' where it came otherwise or where that sender has since gone on to
    another study.
    """

    series: tuple[SeriesFacts, ...]
    first_received_at: datetime
    last_received_at: datetime
    last_object_at: datetime
    overrides: Mapping[str, Override] | None = None
    process_now: bool = False
    sender: str = ""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """outcome, and with it: mode of a ready study; what a waiting one waits for; why an ineligible one is.

    roles: the assignment the decision rests on. decide_again_at: when waiting, the earliest time another answer is
    possible without a new object.
    """

    outcome: Outcome
    roles: RoleAssignment
    mode: Mode | None = None
    waiting_for: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    decide_again_at: datetime | None = None


def decide(facts: StudyFacts, policy: AssemblyPolicy, now: datetime, unfiled: Unfiled | None = None) -> Decision:
    """Wait, go, or give up. `now` and the facts' times are timezone-aware.

    unfiled: what listeners have not filed, looked up before the facts were read; None where each object has its row
    before it is answered.
    """
    known_at = now if unfiled is None else min(now, unfiled.filed_through)
    roles = assign([s.headers for s in facts.series], facts.overrides)
    whole = {s.headers.series_instance_uid: completeness_of(s.headers, s.held_by_pacs) for s in facts.series}
    quiet_at = facts.last_received_at + timedelta(seconds=policy.study_quiet_s)
    cap_at = facts.first_received_at + timedelta(seconds=policy.study_cap_s)
    waiting = _waiting_for(facts, policy, roles, whole, known_at)
    if policy.heed_senders and unfiled is not None:
        waiting += _sending(facts, unfiled.senders)
    if not waiting and facts.series:
        return Decision(outcome=Outcome.READY, roles=roles, mode=Mode.FULL)
    if not (facts.process_now or known_at >= quiet_at or now >= cap_at):
        settles = [s.last_received_at + timedelta(seconds=policy.series_quiet_s) for s in facts.series]
        again = min(t for t in [*settles, quiet_at, cap_at] if t > known_at)
        waiting += (unfiled.text,) if unfiled is not None and unfiled.text else ()
        return Decision(outcome=Outcome.WAIT, roles=roles, waiting_for=waiting, decide_again_at=again)
    if not roles.choices and not roles.unknown:
        reasons = tuple(f"'{e.description or 'no description'}' {e.code}: {e.reason}" for e in roles.excluded)
        return Decision(outcome=Outcome.INELIGIBLE, roles=roles, reasons=reasons or ("no image has been received",))
    usable = [
        r for r in policy.needed if r in roles.choices and whole[roles.choices[r].chosen.series_instance_uid].complete
    ]
    if known_at < quiet_at and not facts.process_now:
        mode = Mode.INCOMPLETE
    else:
        mode = Mode.FULL if len(usable) == len(policy.needed) else Mode.REDUCED
    return Decision(outcome=Outcome.READY, roles=roles, mode=mode, reasons=waiting)


def _waiting_for(
    facts: StudyFacts,
    policy: AssemblyPolicy,
    roles: RoleAssignment,
    whole: Mapping[str, Completeness],
    now: datetime,
) -> tuple[str, ...]:
    """One line for each thing that stands between the study and a full run at once."""
    by_uid = {s.headers.series_instance_uid: s for s in facts.series}
    count = len(roles.unknown)
    unknown = f" ({count} without a telling header, whose images will be looked at)" if count else ""
    lines = []
    for role in policy.needed:
        choice = roles.choices.get(role)
        if choice is None:
            lines.append(f"{role}: no series yet{unknown}")
            continue
        uid = choice.chosen.series_instance_uid
        if not whole[uid].complete:
            lines.append(f"{role}: {whole[uid]}")
        lines.extend(_unsettled(role, [uid, *(c.series_instance_uid for c in choice.rejected)], by_uid, policy, now))
    return tuple(lines)


def _sending(facts: StudyFacts, senders: Mapping[str, Sender]) -> tuple[str, ...]:
    """A line where the sender of the study may have more of it."""
    sender = senders.get(facts.sender) if facts.sender else None
    if sender is None:
        return ()
    if sender.open_since is not None and sender.open_since <= facts.last_object_at:
        return (f"{facts.sender} is still connected",)
    if sender.broken_at is not None and sender.broken_at >= facts.last_object_at:
        return (f"the connection of {facts.sender} broke off behind the last object: it may send the study again",)
    return ()


def _unsettled(
    role: SeriesRole,
    uids: Sequence[str],
    by_uid: Mapping[str, SeriesFacts],
    policy: AssemblyPolicy,
    now: datetime,
) -> list[str]:
    """A line where any series that could fill the role may still be arriving: a better one is worth the wait."""
    ages = [(now - by_uid[uid].last_received_at).total_seconds() for uid in uids]
    if min(ages) >= policy.series_quiet_s:
        return []
    return [f"{role}: last object {max(0.0, min(ages)):.0f} s ago, settled after {policy.series_quiet_s:.0f} s"]
