"""Which series is the study's T1, T1CE, T2 and FLAIR, with score and reasons: by header, and by what was seen. Pure.

Every series of the study ends in exactly one place: chosen for a role, rejected for a role, or excluded; each with why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from dicom_node.inbound.contrast_rules import ContrastCall, contrast_calls
from dicom_node.inbound.exclusion_rules import Exclusion, exclusion_of
from dicom_node.inbound.role_rules import Scored, Weighting, fitness, weighting_of
from dicom_node.inbound.series_headers import SeriesHeaders
from pipeline.volume import SeriesRole

#: A person's word on a series: the role it has, or that it has none.
Override = SeriesRole | Literal["ignore"]

_ROLE_OF = {Weighting.T2: SeriesRole.T2, Weighting.FLAIR: SeriesRole.FLAIR, Weighting.T1: SeriesRole.T1}
_OVERRIDE_POINTS = 1000
#: The code of a series whose header says nothing of its role: its image may.
UNKNOWN = "UNKNOWN_CONTRAST"


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What the images say of one series, where that decides. role: None for one that has none. points: how surely.

    reason: a sentence.
    """

    role: SeriesRole | None
    points: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One series weighed for one role. `reasons` end, for a rejected one, with why another was preferred."""

    series_instance_uid: str
    description: str
    score: int
    reasons: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class RoleChoice:
    """The series that fills `role`, and those that could have."""

    role: SeriesRole
    chosen: Candidate
    rejected: tuple[Candidate, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ExcludedSeries:
    """A series that fills no role. code: a word of docs/series-roles.md."""

    series_instance_uid: str
    description: str
    code: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class RoleAssignment:
    """The outcome for a study. A role not in `choices` is missing. `rules`: how unclear cases were decided."""

    choices: Mapping[SeriesRole, RoleChoice]
    excluded: tuple[ExcludedSeries, ...] = ()
    rules: tuple[str, ...] = ()

    @property
    def missing(self) -> tuple[SeriesRole, ...]:
        """Roles that no series fills."""
        return tuple(role for role in SeriesRole if role not in self.choices)

    @property
    def unknown(self) -> frozenset[str]:
        """Series whose header says nothing: their images may yet give them a role."""
        return frozenset(e.series_instance_uid for e in self.excluded if e.code == UNKNOWN)

    def role_of(self, series_instance_uid: str) -> SeriesRole | None:
        """The role this series was chosen for."""
        return next((r for r, c in self.choices.items() if c.chosen.series_instance_uid == series_instance_uid), None)

    def to_json(self) -> dict[str, Any]:
        """A value json.dumps takes: roles, missing, excluded, rules."""
        return {
            "roles": {str(role): asdict(choice) for role, choice in self.choices.items()},
            "missing": [str(role) for role in self.missing],
            "excluded": [asdict(e) for e in self.excluded],
            "rules": list(self.rules),
        }


@dataclass
class _Bench:
    """Candidates gathered by role, and the series that are none."""

    candidates: dict[SeriesRole, list[tuple[SeriesHeaders, Candidate]]] = field(default_factory=dict)
    excluded: list[ExcludedSeries] = field(default_factory=list)
    rules: list[str] = field(default_factory=list)

    def add(self, role: SeriesRole, series: SeriesHeaders, score: int, reasons: tuple[str, ...]) -> None:
        candidate = Candidate(
            series_instance_uid=series.series_instance_uid, description=series.description, score=score, reasons=reasons
        )
        self.candidates.setdefault(role, []).append((series, candidate))

    def exclude(self, series: SeriesHeaders, exclusion: Exclusion) -> None:
        self.excluded.append(
            ExcludedSeries(
                series_instance_uid=series.series_instance_uid, description=series.description,
                code=exclusion.code, reason=exclusion.reason,
            )
        )  # fmt: skip


def assign(
    series: Sequence[SeriesHeaders],
    overrides: Mapping[str, Override] | None = None,
    seen: Mapping[str, Seen] | None = None,
) -> RoleAssignment:
    """Roles of a study's series. overrides: by SeriesInstanceUID, a person's word; it wins over every rule.

    seen: by SeriesInstanceUID, what the images decide of series that the header leaves open.
    """
    overrides, seen = overrides or {}, seen or {}
    bench = _Bench()
    weighed: list[tuple[SeriesHeaders, Weighting, Scored]] = []
    for one in series:
        said = overrides.get(one.series_instance_uid)
        if isinstance(said, SeriesRole):
            bench.add(said, one, _OVERRIDE_POINTS, (f"a person set it as {said}",))
        elif said == "ignore":
            bench.exclude(one, Exclusion(code="IGNORED_BY_PERSON", reason="a person took it out"))
        elif exclusion := exclusion_of(one):
            bench.exclude(one, exclusion)
        elif (looked := seen.get(one.series_instance_uid)) and looked.role is None:
            bench.exclude(one, Exclusion(code="SUBTRACTION", reason=looked.reason))
        else:
            weighting, scored = weighting_of(one)
            if weighting in _ROLE_OF:
                weighed.append((one, weighting, scored))
            elif looked and looked.role:
                _see(bench, one, looked.role, looked)
            else:
                bench.exclude(one, _no_role(weighting, scored))
    t1_series = [s for s, weighting, _ in weighed if weighting is Weighting.T1]
    calls = contrast_calls(t1_series, [s for s in series if _may_show_contrast(s)])
    for one, weighting, scored in weighed:
        uid = one.series_instance_uid
        _weigh(bench, one, weighting, scored, calls.get(uid), seen.get(uid))
    return RoleAssignment(
        choices={role: _choose(role, bench.candidates[role]) for role in SeriesRole if role in bench.candidates},
        excluded=tuple(bench.excluded),
        rules=tuple(dict.fromkeys(bench.rules + _unclear(bench))),
    )


def _see(bench: _Bench, one: SeriesHeaders, role: SeriesRole, looked: Seen) -> None:
    fit = fitness(one)
    bench.add(role, one, looked.points + fit.points, (looked.reason, *fit.reasons))


def _weigh(
    bench: _Bench,
    one: SeriesHeaders,
    weighting: Weighting,
    scored: Scored,
    call: ContrastCall | None,
    looked: Seen | None,
) -> None:
    fit = fitness(one)
    role, points, reasons = _ROLE_OF[weighting], scored.points + fit.points, scored.reasons
    if call is not None:
        role = SeriesRole.T1CE if call.enhanced else SeriesRole.T1
        points, reasons = points + call.points, (*reasons, call.reason)
        if call.rule:
            bench.rules.append(call.rule)
    if looked and looked.role and looked.role is not role:
        _see(bench, one, looked.role, looked)
        return
    bench.add(role, one, points, (*reasons, *((looked.reason,) if looked else ()), *fit.reasons))


def _choose(role: SeriesRole, candidates: list[tuple[SeriesHeaders, Candidate]]) -> RoleChoice:
    """The highest score; among equals finer pixels, then the later acquisition (a repeat replaces what it repeats)."""

    def place(one: tuple[SeriesHeaders, Candidate]) -> tuple[int, float, str, str]:
        pixel_mm = round(max(one[0].first.pixel_spacing_mm, default=0.0), 1)
        return one[1].score, -pixel_mm, one[0].acquired, one[1].series_instance_uid

    ranked = sorted(candidates, key=place, reverse=True)
    best = ranked[0][1]
    rejected = []
    for _, other in ranked[1:]:
        lower = other.score < best.score
        why = (
            f"score {other.score} is below the {best.score} of" if lower else "equal in score, coarser or earlier than"
        )
        rejected.append(
            Candidate(
                series_instance_uid=other.series_instance_uid, description=other.description, score=other.score,
                reasons=(*other.reasons, f"{why} '{best.description}'"),
            )
        )  # fmt: skip
    return RoleChoice(role=role, chosen=best, rejected=tuple(rejected))


def _no_role(weighting: Weighting | None, scored: Scored) -> Exclusion:
    if weighting is None:
        return Exclusion(code=UNKNOWN, reason="; ".join(scored.reasons))
    words = {Weighting.PD: "PROTON_DENSITY", Weighting.T2_STAR: "SUSCEPTIBILITY", Weighting.STIR: "STIR"}
    why = "; ".join(scored.reasons)
    return Exclusion(code=words[weighting], reason=f"{weighting}-weighted, which fills no role: {why}")


def _may_show_contrast(series: SeriesHeaders) -> bool:
    """Acquired MR images only: a subtraction or a screenshot carries the words and the time of other series."""
    return (
        series.first.is_mr_image
        and not series.first.own_object
        and "ORIGINAL" in series.image_type | {"ORIGINAL" if not series.image_type else ""}
    )


def _unclear(bench: _Bench) -> list[str]:
    """Two native T1 and no enhanced one: they are not told apart by order alone, since the second may be a repeat."""
    native = bench.candidates.get(SeriesRole.T1, [])
    lone = len(native) > 1 and SeriesRole.T1CE not in bench.candidates
    return ["T1_PAIR_WITHOUT_SIGN_OF_CONTRAST"] if lone else []
