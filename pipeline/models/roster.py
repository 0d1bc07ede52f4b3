"""From loaded models to the models of a node: their modes and conditions from the manifest, ensembles put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from pipeline.errors import ModelUnusable
from pipeline.models.ensemble import AnyModel, averaged, check_member
from pipeline.models.manifest import ManifestEntry
from pipeline.models.protocols import Acquisition, Installed, ModelMode, Models, Segmenter, SliceClassifier
from pipeline.volume import CHANNEL_ORDER


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A model that loaded, with its entry."""

    entry: ManifestEntry
    model: AnyModel


@dataclass(frozen=True, kw_only=True)
class Place:
    """What became of a loaded model: its part in the node in words, or why it has none."""

    ok: bool
    part: str


@dataclass(kw_only=True)
class _Row:
    """One line of a task's list while it is put together; an ensemble has several members."""

    ensemble: str | None
    members: list[Installed[AnyModel]] = field(default_factory=list)


def assemble(loaded: Sequence[Loaded], unavailable: Mapping[str, str]) -> tuple[Models, tuple[Place, ...]]:
    """The node's models in the manifest's order, and each loaded model's place, in the order of `loaded`.

    An ensemble stands where its first member stands. A member that cannot be averaged with those before it is left out.
    """
    tasks: dict[str, list[_Row]] = {"detection": [], "type": [], "segmentation": []}
    places = []
    for one in loaded:
        try:
            places.append(Place(ok=True, part=_place(one, tasks[one.entry.task])))
        except ModelUnusable as error:
            places.append(Place(ok=False, part=str(error)))
    lists = {task: tuple(averaged(row.ensemble or "", row.members) for row in rows) for task, rows in tasks.items()}
    models = Models(
        detectors=cast(tuple[Installed[SliceClassifier], ...], lists["detection"]),
        type_classifiers=cast(tuple[Installed[SliceClassifier], ...], lists["type"]),
        segmenters=cast(tuple[Installed[Segmenter], ...], lists["segmentation"]),
        unavailable=unavailable,
    )
    return models, tuple(places)


def _place(loaded: Loaded, rows: list[_Row]) -> str:
    entry, mode = loaded.entry, ModelMode(loaded.entry.mode)
    installed = Installed(
        model=loaded.model,
        mode=mode,
        share=entry.share,
        acquisition=tuple(Acquisition(word) for word in entry.acquisition),
        needs=entry.needs,
        calibration_error=entry.calibration_error,
        rules=entry.rules,
    )
    ensemble = entry.ensemble if mode is ModelMode.ACTIVE else None
    row = next((row for row in rows if ensemble is not None and row.ensemble == ensemble), None)
    if row is not None:
        check_member(ensemble or "", averaged(ensemble or "", row.members), installed)
        row.members.append(installed)
        return f"active, averaged with the others of the ensemble '{ensemble}'"
    before = any(row.members[0].mode is ModelMode.ACTIVE for row in rows)
    rows.append(_Row(ensemble=ensemble, members=[installed]))
    if mode is ModelMode.SHADOW:
        return "shadow: runs beside, is recorded, never sent"
    if mode is ModelMode.AB:
        return f"ab: answers {entry.share:.0%} of the studies where it fits"
    part = "active" if ensemble is None else f"active, of the ensemble '{ensemble}'"
    return f"{part}; answers where no fitting model of its task stands before it" if before else part


def answer_digest(models: Models) -> str:
    """Text that differs where another model, the same with other declarations, or another choice could answer a study.

    Shadow models are not in it: with one more or fewer, a result is the same result.
    """
    return ",".join(_digest_line(one) for one in models.installed if one.mode is not ModelMode.SHADOW)


def _digest_line(installed: Installed[AnyModel]) -> str:
    identity = installed.model.identity
    conditions = [
        f"ab {installed.share}" if installed.mode is ModelMode.AB else "",
        "/".join(installed.acquisition),
        "" if installed.needs == CHANNEL_ORDER else "+".join(installed.needs),
        installed.rules,
    ]
    said = " ".join(condition for condition in conditions if condition)
    return f"{identity.task}:{identity.weights_sha256}" + (f" ({said})" if said else "")
