"""How often the interval of a volume held the true one, on labelled cases the segmenter never saw.

    python -m pipeline.models.training.volume_intervals --data DATA --models models

The cases are the validation cases of `volume_cases`, which lie in one position, so they are not registered. Prints a
Markdown table for docs/uncertainty.md, for several pairs of cuts.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.brain_mask import MASK_ORDER, best_brain_mask
from pipeline.geometry import RigidTransform, resample
from pipeline.grids import analysis_grid
from pipeline.label_map import labels_on_grid
from pipeline.models.catalogue import load_models
from pipeline.models.protocols import Segmenter
from pipeline.models.runtime_options import RuntimeOptions
from pipeline.models.training.contrast_images import read_study
from pipeline.models.training.volume_cases import VALIDATION_CASES, load_packed_case, regions_of
from pipeline.preparation import PreparedStudy
from pipeline.report import POSSIBLE_CUT, REGION_LABELS, SURE_CUT, Region
from pipeline.stages import region_probabilities
from pipeline.uncertainty import volume_ranges
from pipeline.volume import REFERENCE_ORDER, SeriesRole, Volume

CUTS = ((0.7, 0.3), (0.8, 0.2), (SURE_CUT, POSSIBLE_CUT))


@dataclass(frozen=True, kw_only=True)
class Interval:
    """One region of one case in mL: the true volume, the measured one, and its interval with one pair of cuts."""

    case: str
    region: Region
    cuts: tuple[float, float]
    true_ml: float
    measured_ml: float
    low_ml: float
    high_ml: float

    @property
    def held(self) -> bool:
        """Whether the true volume lies in the interval."""
        return self.low_ml <= self.true_ml <= self.high_ml


def prepared_as_it_lies(volumes: dict[SeriesRole, Volume]) -> PreparedStudy:
    """A study whose series lie in one position already."""
    role = next(role for role in REFERENCE_ORDER if role in volumes)
    grid = analysis_grid(volumes[role])
    return PreparedStudy(
        reference_role=role,
        volumes=volumes,
        transforms=dict.fromkeys(volumes, RigidTransform.identity()),
        registrations=(),
        unregistered={},
        grid=grid,
        brain=best_brain_mask(resample(volumes[one], grid) for one in MASK_ORDER if one in volumes),
        flags=(),
    )


def intervals_of(folder: Path, segmenter: Segmenter) -> Iterator[Interval]:
    """The intervals of one packed case of `mri3d/full`."""
    study = prepared_as_it_lies(read_study("full", folder, cleared=False))
    probabilities, grid = region_probabilities(segmenter, study, lambda share: None)
    onto = study.reference.grid
    labels = labels_on_grid(probabilities, grid, onto)
    truth = regions_of(load_packed_case(folder)["seg"])
    for cuts in CUTS:
        ranges = volume_ranges(probabilities, grid, labels, onto, sure_cut=cuts[0], possible_cut=cuts[1])
        for number, region in enumerate(Region):
            parts = [int((labels == label).sum()) for label in REGION_LABELS[region]]
            found = ranges[region]
            yield Interval(
                case=folder.name,
                region=region,
                cuts=cuts,
                true_ml=float(truth[number].sum()) * onto.voxel_volume_ml,
                measured_ml=sum(parts) * onto.voxel_volume_ml,
                low_ml=found.low_ml,
                high_ml=found.high_ml,
            )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with mri3d/")
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--cache", type=Path, help="folder of networks converted to a faster runtime")
    arguments = parser.parse_args()
    models, _ = load_models(arguments.models, RuntimeOptions(cache=arguments.cache))
    if models.segmenter is None:
        raise SystemExit(models.unavailable["segmentation"])
    found: list[Interval] = []
    print("| case | region | true mL | measured mL | interval mL | held |\n|---|---|---|---|---|---|")
    for case in VALIDATION_CASES:
        for one in intervals_of(arguments.data / "mri3d" / "full" / case, models.segmenter):
            found.append(one)
            if one.cuts == (SURE_CUT, POSSIBLE_CUT):
                span = f"{one.low_ml:.1f} to {one.high_ml:.1f}"
                held = "yes" if one.held else "no"
                numbers = f"{one.true_ml:.1f} | {one.measured_ml:.1f} | {span} | {held}"
                print(f"| {case} | {one.region} | {numbers} |", flush=True)
    for cuts in CUTS:
        own = [one for one in found if one.cuts == cuts]
        print(f"cuts {cuts[0]} and {cuts[1]}: {sum(one.held for one in own)} of {len(own)} held the true volume")


if __name__ == "__main__":
    main()
