"""Which of a task's models answers a study: by the series that came, by how they were acquired, by configuration.

The rule: a version of mode 'ab' where the study falls into its share and the version fits; else the first active model,
in the manifest's order, that fits. Pure: the same study and models always give the same choice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic

from pipeline.models.protocols import Acquisition, Installed, Model, ModelMode, Segmenter
from pipeline.volume import CHANNEL_ORDER, Grid, SeriesRole

#: Slices that lie at least this far apart, and at least this many times as far as the pixels of a slice, are 2D.
THICK_SLICES_MM = 2.5
THICK_SLICES_RATIO = 2.0


@dataclass(frozen=True, kw_only=True)
class Choice(Generic[Model]):
    """The model that answers a stage, and why."""

    installed: Installed[Model]
    reason: str


@dataclass(frozen=True, kw_only=True)
class NoneFits:
    """Why no installed model answers.

    active: how many active models there are. missing: the series that the preferred one wants for, () if it is not
    that. wanted: what it needs, in words.
    """

    active: int
    reason: str
    missing: tuple[SeriesRole, ...] = ()
    wanted: str = "all four contrasts"


@dataclass(frozen=True, kw_only=True)
class Arrived:
    """What a choice looks at. roles: of the series that can be used. reference: grid of the reference series."""

    roles: frozenset[SeriesRole]
    reference: Grid
    study_uid: str

    @property
    def acquisition(self) -> Acquisition:
        """How the reference series was acquired."""
        return acquisition_of(self.reference)


def acquisition_of(grid: Grid) -> Acquisition:
    """2d where slices lie 2.5 mm apart or more, and at least twice as far as the pixels of a slice; 3d otherwise."""
    _, in_plane, apart = sorted(grid.spacing_mm)
    thick = apart >= THICK_SLICES_MM and apart >= THICK_SLICES_RATIO * in_plane
    return Acquisition.SLICES if thick else Acquisition.VOLUME


def ab_point(task: str, study_uid: str) -> float:
    """Where in 0..1 (1 excluded) a study lies for the split of a task: by hash, so the same at every run."""
    digest = hashlib.sha256(f"{task}:{study_uid}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def missing_roles(installed: Installed[Model], roles: Iterable[SeriesRole]) -> tuple[SeriesRole, ...]:
    """What the model wants for: every absent role of a segmenter's needs; of a slice model all, where none is there."""
    there = frozenset(roles)
    if isinstance(installed.model, Segmenter):
        return tuple(role for role in installed.needs if role not in there)
    wanted = installed.model.roles
    return () if there & frozenset(wanted) else wanted


def fits(installed: Installed[Model], arrived: Arrived) -> bool:
    """Whether the model can answer this study."""
    return _unfit(installed, arrived) is None


def choose(installed: Sequence[Installed[Model]], arrived: Arrived) -> Choice[Model] | NoneFits:
    """The model of one task that answers; shadow models never do.

    `study_uid` may be empty (a case that is no DICOM study): no 'ab' version answers then.
    """
    version = _ab_version(installed, arrived) if arrived.study_uid else None
    if version is not None:
        return version
    passed_over: list[str] = []
    active = [one for one in installed if one.mode is ModelMode.ACTIVE]
    for one in active:
        reason = _unfit(one, arrived)
        if reason is None:
            return Choice(installed=one, reason=_why(one, arrived, len(active), passed_over))
        passed_over.append(f"{one.model.identity.name} {reason}")
    if not active:
        return NoneFits(active=0, reason="no active model")
    return NoneFits(
        active=len(active),
        reason="no active model fits this study: " + "; ".join(passed_over),
        missing=missing_roles(active[0], arrived.roles),
        wanted="all four contrasts" if len(active[0].needs) == len(CHANNEL_ORDER) else " and ".join(active[0].needs),
    )


def _ab_version(installed: Sequence[Installed[Model]], arrived: Arrived) -> Choice[Model] | None:
    share_before = 0.0
    for one in installed:
        if one.mode is not ModelMode.AB:
            continue
        point = ab_point(one.model.identity.task, arrived.study_uid)
        if share_before <= point < share_before + one.share and fits(one, arrived):
            reason = f"this version answers {one.share:.0%} of the studies (by hash of the study's UID), this one too"
            return Choice(installed=one, reason=reason)
        share_before += one.share
    return None


def _unfit(installed: Installed[Model], arrived: Arrived) -> str | None:
    """Why the model cannot answer this study, None where it can."""
    missing = missing_roles(installed, arrived.roles)
    if missing:
        link = " and " if isinstance(installed.model, Segmenter) else " or "
        return f"wants {link.join(missing)}, which is not there"
    if installed.acquisition and arrived.acquisition not in installed.acquisition:
        return f"reads {' or '.join(installed.acquisition)} series, and {_acquired(arrived)}"
    return None


def _acquired(arrived: Arrived) -> str:
    _, in_plane, apart = sorted(arrived.reference.spacing_mm)
    return f"the reference is {arrived.acquisition} ({apart:.1f} mm apart, {in_plane:.1f} mm in plane)"


def _why(installed: Installed[Model], arrived: Arrived, count: int, passed_over: Sequence[str]) -> str:
    """The reason of a choice among `count` active models."""
    reason = "the only active model of this task" if count == 1 else f"the first of {count} active models that fits"
    if installed.acquisition:
        reason += f"; {_acquired(arrived)}"
    if isinstance(installed.model, Segmenter):
        absent = [role for role in CHANNEL_ORDER if role not in arrived.roles]
        if absent:
            reason += f"; it does without {', '.join(absent)}"
    if passed_over:
        reason += f"; passed over: {'; '.join(passed_over)}"
    return reason
