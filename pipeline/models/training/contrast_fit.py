"""Fits the table by which `pipeline.input_contrast` tells the four contrasts apart, and measures it on other patients.

    python -m pipeline.models.training.contrast_fit --images IMAGES [--out pipeline/contrast_table.py]

IMAGES is made of the labelled cases by `contrast_images`. Two kinds of logistic regression: one of a series, one of
each pair of roles. Every figure is cross-validated: ten parts of the patients, each judged by a fit on the other nine.
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, optimize

from pipeline.input_contrast import ContrastNumbers, ContrastTable, contrast_findings, contrast_numbers
from pipeline.volume import CHANNEL_ORDER, FloatArray, SeriesRole

PARTS = 10
#: Strength of the pull of every weight to 0.
SINGLE_PULL, PAIR_PULL = 1e-2, 1e-2
PAIRS = tuple(combinations(CHANNEL_ORDER, 2))
_Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Study:
    """The images of one patient's study, by role, with the brain, on one grid of 3 mm."""

    name: str
    source: str
    images: dict[SeriesRole, FloatArray]
    brain: NDArray[np.bool_]


def load_studies(folder: Path) -> list[Study]:
    """Every study that `contrast_images` wrote: SOURCE__SPLIT__NAME.npz."""
    studies = []
    for path in sorted(folder.glob("*.npz")):
        source, _, name = path.stem.split("__")
        with np.load(path, allow_pickle=False) as stored:
            images = {role: stored[role.value] for role in CHANNEL_ORDER if role.value in stored}
            studies.append(Study(name=name, source=source, images=images, brain=stored["brain"]))
    return studies


def variants(study: Study, count: int, seed: int) -> list[Study]:
    """The study itself and `count` others of it: grey values bent and shaded, the brain's border moved by a voxel."""
    random = np.random.default_rng(seed)
    made = [study]
    for _ in range(count):
        moved = random.integers(-1, 2)
        brain = study.brain
        if moved:
            brain = (ndimage.binary_dilation if moved > 0 else ndimage.binary_erosion)(brain)
        images = {role: _bent(image, study.brain, random) for role, image in study.images.items()}
        made.append(Study(name=study.name, source=study.source, images=images, brain=brain))
    return made


def _bent(image: FloatArray, brain: NDArray[np.bool_], random: np.random.Generator) -> FloatArray:
    low, high = (float(v) for v in np.percentile(image[brain], (0.1, 99.9)))
    shares = np.clip((image - low) / max(high - low, 1e-6), 0, 1.2) ** random.uniform(0.8, 1.25)
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in image.shape], indexing="ij")
    shade = 1 + sum(random.uniform(-0.15, 0.15) * axis for axis in axes)
    noise = random.normal(0, random.uniform(0, 0.02), image.shape)
    bent: FloatArray = (shares * shade + noise).astype(np.float32)
    return bent


@dataclass(frozen=True, kw_only=True, eq=False)
class Samples:
    """Numbers of every series (n, f) and pair (m, g) of studies, with what they belong to."""

    series: _Array
    roles: NDArray[np.int64]
    sources: NDArray[np.str_]
    pairs: dict[tuple[SeriesRole, SeriesRole], tuple[_Array, NDArray[np.str_]]]


def samples_of(numbers: Sequence[tuple[str, ContrastNumbers[SeriesRole]]]) -> Samples:
    """The numbers of (source, study), to be fitted on."""
    series = [(source, role, row) for source, one in numbers for role, row in one.series.items()]
    pairs = {pair: [(source, one.pair(*pair)) for source, one in numbers if pair in one.joint] for pair in PAIRS}
    return Samples(
        series=np.array([row for _, _, row in series]),
        roles=np.array([CHANNEL_ORDER.index(role) for _, role, _ in series]),
        sources=np.array([source for source, _, _ in series]),
        pairs={
            pair: (np.array([row for _, row in rows]), np.array([source for source, _ in rows]))
            for pair, rows in pairs.items()
        },
    )


def fit(samples: Samples) -> ContrastTable:
    """The table of these samples; every role counts alike, and within it every source by the root of its number."""
    centre, scale = samples.series.mean(axis=0), samples.series.std(axis=0) + 1e-6
    scaled = np.clip((samples.series - centre) / scale, -4, 4)
    weights = np.zeros(len(samples.roles))
    for role in range(len(CHANNEL_ORDER)):
        own = samples.roles == role
        weights[own] = _by_source(samples.sources[own])
    single = _multinomial(scaled, samples.roles, weights / weights.sum(), SINGLE_PULL)
    pairs = {}
    for pair, (numbers, sources) in samples.pairs.items():
        spread = np.sqrt((numbers**2).mean(axis=0)) + 1e-6
        pairs[pair] = (spread, _antisymmetric(np.clip(numbers / spread, -4, 4), _by_source(sources), PAIR_PULL))
    return ContrastTable(centre=centre, scale=scale, single=single, pairs=pairs)


def _by_source(sources: NDArray[np.str_]) -> _Array:
    weights = np.array([1 / np.sqrt((sources == source).sum()) for source in sources])
    shares: _Array = weights / weights.sum()
    return shares


def _multinomial(rows: _Array, answers: NDArray[np.int64], weights: _Array, pull: float) -> _Array:
    classes, numbers = len(CHANNEL_ORDER), rows.shape[1]

    def loss(flat: _Array) -> tuple[float, _Array]:
        table = flat.reshape(classes, numbers + 1)
        scores = rows @ table[:, :-1].T + table[:, -1]
        scores -= scores.max(axis=1, keepdims=True)
        shares = np.exp(scores)
        shares /= shares.sum(axis=1, keepdims=True)
        value = -(weights * np.log(shares[np.arange(len(answers)), answers] + 1e-12)).sum()
        error = (shares - np.eye(classes)[answers]) * weights[:, None]
        slope = np.concatenate([error.T @ rows + pull * table[:, :-1], error.sum(axis=0)[:, None]], axis=1)
        return float(value + pull * (table[:, :-1] ** 2).sum() / 2), slope.ravel()

    found = optimize.minimize(loss, np.zeros(classes * (numbers + 1)), jac=True, method="L-BFGS-B")
    table: _Array = found.x.reshape(classes, numbers + 1)
    return table


def _antisymmetric(rows: _Array, weights: _Array, pull: float) -> _Array:
    """Weights w so that w . row is high for rows as they stand and, of itself, low for exchanged ones."""

    def loss(table: _Array) -> tuple[float, _Array]:
        scores = rows @ table
        value = (weights * np.logaddexp(0, -scores)).sum() + pull * (table**2).sum() / 2
        share = 1 / (1 + np.exp(np.clip(scores, -50, 50)))
        return float(value), -(rows.T @ (weights * share)) + pull * table

    found: _Array = optimize.minimize(loss, np.zeros(rows.shape[1]), jac=True, method="L-BFGS-B").x
    return found


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One study with one assignment of roles. exchanged: the roles that were exchanged, () where all are right."""

    source: str
    exchanged: tuple[str, ...]
    flagged: tuple[str, ...]
    series: int


def exchanged(
    numbers: ContrastNumbers[SeriesRole], first: SeriesRole, second: SeriesRole
) -> ContrastNumbers[SeriesRole]:
    """The numbers of the same study with two roles the wrong way round."""
    name = {role: role for role in numbers.series} | {first: second, second: first}
    return ContrastNumbers(
        series={name[role]: row for role, row in numbers.series.items()},
        joint={(name[a], name[b]): row for (a, b), row in numbers.joint.items()},
    )


def outcomes(source: str, numbers: ContrastNumbers[SeriesRole], table: ContrastTable) -> list[Outcome]:
    """What the check says with the right roles, and with each pair of roles exchanged."""
    found = []
    for pair in ((), *[pair for pair in PAIRS if pair in numbers.joint]):
        findings = contrast_findings(exchanged(numbers, *pair) if pair else numbers, table)
        found.append(
            Outcome(
                source=source,
                exchanged=tuple(role.value for role in pair),
                flagged=tuple(sorted({role.value for finding in findings for role in finding.roles})),
                series=len(numbers.series),
            )
        )
    return found


def cross_validated(
    studies: Sequence[Study], numbers: Sequence[Sequence[ContrastNumbers[SeriesRole]]]
) -> list[Outcome]:
    """`outcomes` of every study by a table fitted on the patients of the other parts. numbers: of `variants`."""
    names = sorted({study.name for study in studies})
    np.random.default_rng(0).shuffle(names)
    part = {name: number % PARTS for number, name in enumerate(names)}
    found: list[Outcome] = []
    for held_out in range(PARTS):
        both = list(zip(studies, numbers, strict=True))
        kept = [(study.source, row) for study, rows in both if part[study.name] != held_out for row in rows]
        table = fit(samples_of(kept))
        for study, rows in both:
            if part[study.name] == held_out:
                found += outcomes(study.source, rows[0], table)
    return found


def summary(found: Sequence[Outcome]) -> str:
    """The figures as a Markdown table."""
    lines = [
        "| source | studies | series | flagged, roles right | found, two roles exchanged |",
        "|---|---|---|---|---|",
    ]
    for source in [*sorted({one.source for one in found}), "all"]:
        own = [one for one in found if source in (one.source, "all")]
        right = [one for one in own if not one.exchanged]
        wrong = [one for one in own if one.exchanged]
        series, flagged = sum(one.series for one in right), sum(len(one.flagged) for one in right)
        caught = sum(bool(set(one.exchanged) & set(one.flagged)) for one in wrong)
        share = f"{caught} of {len(wrong)} ({caught / len(wrong):.1%})" if wrong else "-"
        lines.append(f"| {source} | {len(right)} | {series} | {flagged} ({flagged / series:.1%}) | {share} |")
    lines += ["", "| exchanged | found |", "|---|---|"]
    for pair in PAIRS:
        wrong = [one for one in found if one.exchanged == tuple(role.value for role in pair)]
        caught = sum(bool(set(one.exchanged) & set(one.flagged)) for one in wrong)
        lines.append(f"| {pair[0]} and {pair[1]} | {caught} of {len(wrong)} ({caught / max(len(wrong), 1):.1%}) |")
    return "\n".join(lines)


def table_module(table: ContrastTable, provenance: str) -> str:
    """The table as a Python module."""

    def numbers(values: _Array) -> str:
        text = ", ".join(f"{value:.4g}" for value in values)
        return f"np.array([\n{textwrap.indent(textwrap.fill(text, 112), '    ')}\n])"

    single = ",\n".join(numbers(row) for row in table.single)
    pairs = ",\n".join(
        f"(SeriesRole.{a.name}, SeriesRole.{b.name}): (\n{numbers(scale)},\n{numbers(weights)},\n)"
        for (a, b), (scale, weights) in table.pairs.items()
    )
    return f'''"""The fitted numbers of `pipeline.input_contrast`, written by `pipeline.models.training.contrast_fit`.

{textwrap.fill(provenance, 116)}
"""

from __future__ import annotations

import numpy as np

from pipeline.input_contrast import ContrastTable
from pipeline.volume import SeriesRole

# fmt: off
TABLE = ContrastTable(
centre={numbers(table.centre)},
scale={numbers(table.scale)},
single=np.array([
{single},
]),
pairs={{
{pairs},
}},
)
# fmt: on
'''


def main() -> None:
    """Measure, fit on all, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, required=True, help="folder that contrast_images wrote")
    parser.add_argument("--out", type=Path, help="where the table goes; without it nothing is written")
    parser.add_argument("--copies", type=int, default=4, help="altered copies of each study to fit on")
    arguments = parser.parse_args()
    studies = load_studies(arguments.images)
    numbers = [
        [contrast_numbers(one.images, one.brain) for one in variants(study, arguments.copies, seed=number)]
        for number, study in enumerate(studies)
    ]
    print(summary(cross_validated(studies, numbers)), flush=True)
    if arguments.out is None:
        return
    table = fit(samples_of([(study.source, row) for study, rows in zip(studies, numbers, strict=True) for row in rows]))
    sources = ", ".join(
        f"{sum(study.source == source for study in studies)} {source}"
        for source in sorted({study.source for study in studies})
    )
    provenance = f"Fitted on {len(studies)} studies ({sources}); docs/input-check.md has the figures."
    arguments.out.write_text(table_module(table, provenance), encoding="utf-8")
    print(f"wrote {arguments.out}")


if __name__ == "__main__":
    main()
