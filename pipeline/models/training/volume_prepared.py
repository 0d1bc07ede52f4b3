"""Studies segmented as the node's analysis does it, their preparation kept: it takes longer than the network.

Registration and brain mask do not depend on the network, so what one release prepared serves the next.
"""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

import numpy as np

from pipeline.inputs import usable_volumes
from pipeline.models.protocols import Segmenter, no_progress
from pipeline.preparation import PreparedStudy, prepare
from pipeline.report import Segmentation
from pipeline.stages import region_probabilities, segmentation_of
from pipeline.volume import SeriesRole, Volume


def segmented(volumes: Mapping[SeriesRole, Volume], segmenter: Segmenter, kept: Path | None = None) -> Segmentation:
    """What the node's analysis segments in these series, on the reference series' own grid.

    kept: folder of studies prepared before, by their voxels. Delete it when the code of the preparation changed.

    Raises:
        NothingToAnalyse: no volume that can be used.
        UnusableAnswer: the segmenter's answer is no segmentation.
    """
    study = prepared_study(usable_volumes(volumes)[0], kept)
    return segmentation_of(*region_probabilities(segmenter, study, no_progress), study, segmenter.identity)


def prepared_study(volumes: Mapping[SeriesRole, Volume], kept: Path | None = None) -> PreparedStudy:
    """`prepare`, or what it gave for the same series before."""
    if kept is None:
        return prepare(volumes, no_progress)
    path = kept / f"{_digest(volumes)}.pickle"
    if path.exists():
        with path.open("rb") as file:
            roles, values = pickle.load(file)  # written below: a folder of this program's own
        return PreparedStudy(volumes={role: volumes[role] for role in roles}, **values)
    study = prepare(volumes, no_progress)
    # Not the voxels of the series, which the caller has: some megabytes in place of hundreds.
    values = {
        part.name: getattr(study, part.name) for part in fields(study) if part.name not in ("volumes", "_on_grid")
    }
    kept.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(f".{os.getpid()}")
    aside.write_bytes(pickle.dumps((tuple(study.volumes), values)))
    aside.replace(path)
    return study


def _digest(volumes: Mapping[SeriesRole, Volume]) -> str:
    found = hashlib.sha256()
    for role, volume in sorted(volumes.items()):
        found.update(f"{role.value} {volume.grid.shape} {np.round(volume.grid.affine, 3).tolist()}".encode())
        found.update(np.ascontiguousarray(volume.voxels).tobytes())
    return found.hexdigest()[:32]
