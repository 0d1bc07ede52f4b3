"""From slices to the study: the threshold of the study's probability, chosen on whole validation studies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.case_files import case_folders
from pipeline.models.protocols import SliceClassifier
from pipeline.models.training.slice_data import HELD_BACK, read_nifti_case, read_packed_case
from pipeline.slices import LEAST_BRAIN_SHARE, model_slice, radiological
from pipeline.stages import SLICE_COUNT
from pipeline.study_findings import HIGHEST_SLICES, study_probability

Case = dict[str, NDArray[np.generic]]


@dataclass(frozen=True, kw_only=True)
class Study:
    """A stack of slices and what is known of it. stack: (n, rows, columns), radiological, the lowest first. tumour:
    (n,) whether a slice shows some."""

    name: str
    source: str
    stack: NDArray[np.float64]
    tumour: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class StudyScore:
    """The study's probability of a whole stack (`tumour` or not) or of the slices of one well away from its tumour."""

    name: str
    source: str
    tumour: bool
    probability: float


@dataclass(frozen=True, kw_only=True)
class StudyThreshold:
    """threshold, and by source how many of how many studies it calls rightly: (found, tumours, passed, clear)."""

    threshold: float
    by_source: dict[str, tuple[int, int, int, int]]


def validation_studies(data: Path, phantoms: Path | None) -> Iterator[Study]:
    """Studies that no 2D network was trained on: TCGA-LGG, BraTS (T1CE and FLAIR), multiple sclerosis (T1, T2 and
    FLAIR, no tumour) below `data`, and synthetic heads below `phantoms`."""
    for folder in sorted((data / "lgg_stacks" / "val").glob("TCGA*")):
        case = read_packed_case(folder)
        yield _study(case, "t1ce" if "t1ce" in case else "flair", "wt", folder.name, "TCGA-LGG")
    for name in HELD_BACK:
        case = read_packed_case(data / "mri3d" / "full" / name)
        for contrast in ("t1ce", "flair"):
            yield _study(case, contrast, "seg", f"{name} {contrast}", "BraTS")
    for folder in sorted((data / "mri3d" / "skull_on").glob("NEG*/*")):
        yield _study(
            read_packed_case(folder), folder.name, None, f"{folder.parent.name} {folder.name}", "multiple sclerosis"
        )
    for folder in case_folders(phantoms) if phantoms else ():
        yield _study(read_nifti_case(folder), "t1ce", "seg", folder.name, "phantom")


def _study(case: Case, contrast: str, label: str | None, name: str, source: str) -> Study:
    def displayed(array: NDArray[np.generic]) -> NDArray[np.generic]:
        return radiological(array, upright(case["affine"])) if "affine" in case else array.transpose(2, 0, 1)

    stack = displayed(case[contrast]).astype(np.float64)
    outline = displayed(case[label]) if label else np.zeros(stack.shape, bool)
    return Study(name=name, source=source, stack=stack, tumour=np.asarray(outline.any(axis=(1, 2)), bool))


def upright(affine: NDArray[np.generic]) -> NDArray[np.float64]:
    """The affine of a stack that is tilted a little, without its tilt: slices are shown as they were acquired."""
    straight = np.eye(4)
    straight[:3, :3] = np.round(affine[:3, :3].astype(float) / np.linalg.norm(affine[:3, :3].astype(float), axis=0))
    return straight


def study_scores(model: SliceClassifier, study: Study) -> list[StudyScore]:
    """By the rule of `pipeline.study_findings`: the whole stack, and the part of it at least two slices away from any
    tumour, standing in for a study without, where that part is large enough for the rule."""
    tissue = np.count_nonzero(study.stack > 20, axis=(1, 2))
    worth = np.flatnonzero(tissue >= LEAST_BRAIN_SHARE * tissue.max())
    count = min(SLICE_COUNT, len(worth))
    chosen = worth[((np.arange(count) + 0.5) / count * len(worth)).astype(int)]
    near = np.convolve(study.tumour, np.ones(5), mode="same") > 0
    tumour = model.predict(np.stack([model_slice(study.stack[k], model.input_size) for k in chosen]))[:, 1]
    scores: list[StudyScore] = []
    for part, present in ((tumour, bool(study.tumour.any())), (tumour[~near[chosen]], False)):
        if len(part) > HIGHEST_SLICES and not (len(scores) == 1 and not scores[0].tumour):
            scores.append(
                StudyScore(name=study.name, source=study.source, tumour=present, probability=study_probability(part))
            )
    return scores


def choose_threshold(scores: Sequence[StudyScore]) -> StudyThreshold:
    """The threshold with the best mean of sensitivity and specificity, every source counting alike; the middle of
    equally good ones.

    Raises:
        ValueError: there is no score.
    """
    if not scores:
        raise ValueError("a threshold needs the scores of at least one study")
    values = np.unique([0.0, 1.0, *(score.probability for score in scores)])
    middles = (values[:-1] + values[1:]) / 2
    balance = np.array([_balance(scores, threshold) for threshold in middles])
    best = middles[np.flatnonzero(balance >= balance.max() - 1e-9)]
    threshold = float(round(best[len(best) // 2], 3))
    sources = list(dict.fromkeys(score.source for score in scores))
    return StudyThreshold(
        threshold=threshold, by_source={source: _counts(scores, source, threshold) for source in sources}
    )


def _counts(scores: Sequence[StudyScore], source: str, threshold: float) -> tuple[int, int, int, int]:
    of_source = [score for score in scores if score.source == source]
    tumours = [score.probability >= threshold for score in of_source if score.tumour]
    clear = [score.probability < threshold for score in of_source if not score.tumour]
    return sum(tumours), len(tumours), sum(clear), len(clear)


def _balance(scores: Sequence[StudyScore], threshold: float) -> float:
    shares = []
    for source in {score.source for score in scores}:
        found, tumours, passed, clear = _counts(scores, source, threshold)
        shares += [found / tumours] if tumours else []
        shares += [passed / clear] if clear else []
    return float(np.mean(shares))
