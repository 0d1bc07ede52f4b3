"""Several models of one task that answer as one: their probabilities are averaged."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.errors import ModelUnusable
from pipeline.models.protocols import (
    Acquisition,
    Installed,
    Progress,
    Segmenter,
    SliceClassifier,
    intensities_of,
    no_progress,
)
from pipeline.report import ModelIdentity, Region
from pipeline.volume import CHANNEL_ORDER, FloatArray, Grid, SeriesRole

AnyModel = SliceClassifier | Segmenter
_FIX = "Correct the entry in manifest.json, or take it out of the ensemble."


def ensemble_identity(name: str, members: Sequence[ModelIdentity]) -> ModelIdentity:
    """The identity of an ensemble: every member's name and version, and a hash derived from the members' hashes.

    The order of the members does not matter to the hash, as it does not matter to a mean.
    """
    hashes = "\n".join(sorted(member.weights_sha256 for member in members))
    return ModelIdentity(
        name=f"{name}: {' + '.join(member.name for member in members)}",
        version=" + ".join(member.version for member in members),
        task=members[0].task,
        weights_sha256=hashlib.sha256(f"ensemble\n{hashes}".encode()).hexdigest(),
        members=tuple(members),
    )


@dataclass(frozen=True, kw_only=True)
class SliceEnsemble:
    """Slice models with one set of classes and one input size; fits `SliceClassifier`."""

    name: str
    members: tuple[SliceClassifier, ...]

    @property
    def identity(self) -> ModelIdentity:
        """Of the ensemble, its members in it."""
        return ensemble_identity(self.name, [member.identity for member in self.members])

    @property
    def classes(self) -> tuple[str, ...]:
        """The first member's order."""
        return self.members[0].classes

    @property
    def roles(self) -> tuple[SeriesRole, ...]:
        """Roles that every member reads, in the first one's order."""
        return tuple(role for role in self.members[0].roles if all(role in member.roles for member in self.members))

    @property
    def input_size(self) -> int:
        """Side of the square input in pixels."""
        return self.members[0].input_size

    @property
    def threshold(self) -> float:
        """Mean of the members' thresholds."""
        return float(np.mean([member.threshold for member in self.members]))

    def predict(self, slices: FloatArray) -> FloatArray:
        """(n, size, size) to the mean of the members' (n, classes)."""
        total = np.zeros((len(slices), len(self.classes)), np.float64)
        for member in self.members:
            total += member.predict(slices)[:, [member.classes.index(name) for name in self.classes]]
        return np.asarray(total / len(self.members), np.float32)


@dataclass(frozen=True, kw_only=True)
class SegmenterEnsemble:
    """Segmenters of one voxel size; fits `Segmenter`."""

    name: str
    members: tuple[Segmenter, ...]

    @property
    def identity(self) -> ModelIdentity:
        """Of the ensemble, its members in it."""
        return ensemble_identity(self.name, [member.identity for member in self.members])

    @property
    def spacing_mm(self) -> float:
        """Isotropic voxel size of the input."""
        return self.members[0].spacing_mm

    @property
    def intensities(self) -> str:
        """What every member wants its image in."""
        return intensities_of(self.members[0])

    def segment(self, image: FloatArray, grid: Grid, progress: Progress = no_progress) -> FloatArray:
        """The mean of the members' (3, I, J, K)."""
        total = np.zeros((len(Region), *grid.shape), np.float32)
        for done, member in enumerate(self.members):
            total += member.segment(image, grid, _part(progress, done, len(self.members)))
        return np.asarray(total / len(self.members), np.float32)


def _part(progress: Progress, done: int, count: int) -> Progress:
    """The progress of one of `count` members, of which `done` are through."""
    return lambda share: progress((done + share) / count)


def check_member(ensemble: str, joined: Installed[AnyModel], other: Installed[AnyModel]) -> None:
    """Whether `other` can be averaged with the members that are `joined` so far.

    Raises:
        ModelUnusable: other classes, another input size or voxel size, or no role or acquisition in common.
    """
    first, model, fault = joined.model, other.model, ""
    if isinstance(first, Segmenter) and isinstance(model, Segmenter):
        if abs(first.spacing_mm - model.spacing_mm) > 1e-6:
            fault = f"voxels of {model.spacing_mm} mm, the ensemble '{ensemble}' of {first.spacing_mm} mm"
        elif intensities_of(first) != intensities_of(model):
            fault = f"'{intensities_of(model)}' intensities, the ensemble '{ensemble}' '{intensities_of(first)}'"
    elif isinstance(first, SliceClassifier) and isinstance(model, SliceClassifier):
        if set(first.classes) != set(model.classes):
            fault = f"for the classes {list(model.classes)}, the ensemble '{ensemble}' for {list(first.classes)}"
        elif first.input_size != model.input_size:
            fault = f"slices of {model.input_size} pixels, the ensemble '{ensemble}' of {first.input_size}"
        elif not set(first.roles) & set(model.roles):
            fault = f"{' or '.join(model.roles)}, the ensemble '{ensemble}' {' or '.join(first.roles)}"
    if joined.acquisition and other.acquisition and not set(joined.acquisition) & set(other.acquisition):
        fault = f"{', '.join(other.acquisition)} series, the ensemble '{ensemble}' {', '.join(joined.acquisition)}"
    if fault:
        raise ModelUnusable(model.identity.name, f"it reads {fault}", _FIX)


def averaged(name: str, members: Sequence[Installed[AnyModel]]) -> Installed[AnyModel]:
    """Members that `check_member` let pass, as one active model. A single member stays what it is.

    The ensemble needs every series that a member needs, and reads what all of them read.
    """
    first = members[0]
    if len(members) == 1:
        return first
    slice_models = tuple(one.model for one in members if isinstance(one.model, SliceClassifier))
    segmenters = tuple(one.model for one in members if isinstance(one.model, Segmenter))
    conditions = [one.acquisition for one in members if one.acquisition]
    return replace(
        first,
        model=SegmenterEnsemble(name=name, members=segmenters)
        if segmenters
        else SliceEnsemble(name=name, members=slice_models),
        acquisition=tuple(one for one in Acquisition if conditions and all(one in some for some in conditions)),
        needs=tuple(role for role in CHANNEL_ORDER if any(role in one.needs for one in members)),
        # Nobody measured the mean of the members.
        calibration_error=None,
        rules="+".join(one.rules for one in members),
    )
