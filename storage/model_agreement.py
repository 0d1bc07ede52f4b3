"""How far two versions of a model agree, from pairs of answers to the same studies. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class Version:
    """A model of a task in one version, known by the hash of its weights."""

    task: str
    name: str
    version: str
    sha256: str

    @property
    def order(self) -> tuple[str, str, str, str]:
        """What lists are sorted by."""
        return self.task, self.name, self.version, self.sha256


@dataclass(frozen=True, kw_only=True)
class AnswerPair:
    """Two answers to one study: `version` beside `reference`, whose answer was sent.

    dice and volume_difference_ml (`version` minus `reference`): region to number, of segmentations; a Dice is None
    where neither has the region.
    """

    version: Version
    reference: Version
    value: str
    reference_value: str
    at: datetime
    dice: Mapping[str, float | None] = field(default_factory=dict)
    volume_difference_ml: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Of one version with another, over `n` studies.

    share: of the studies with the same value. kappa: Cohen's, None where both gave one and the same value throughout.
    mean_dice: over the studies where either has the region, None where none has.
    """

    version: Version
    reference: Version
    n: int
    share: float
    kappa: float | None
    mean_dice: Mapping[str, float | None]
    mean_volume_difference_ml: Mapping[str, float]
    first_at: datetime
    last_at: datetime


def agreements(pairs: Iterable[AnswerPair]) -> list[Agreement]:
    """One line for each two versions, by task and name."""
    groups: dict[tuple[Version, Version], list[AnswerPair]] = {}
    for pair in pairs:
        groups.setdefault((pair.version, pair.reference), []).append(pair)
    keys = sorted(groups, key=lambda key: (*key[0].order, *key[1].order))
    return [_agreement(*key, groups[key]) for key in keys]


def cohens_kappa(values: Sequence[tuple[str, str]]) -> float | None:
    """Agreement beyond chance of pairs of classes: 1 full, 0 what chance gives; None where chance alone gives 1."""
    n = len(values)
    if n == 0:
        return None
    first, second = Counter(a for a, _ in values), Counter(b for _, b in values)
    by_chance = sum(first[name] * second[name] for name in first) / n**2
    if by_chance >= 1:
        return None
    return (sum(a == b for a, b in values) / n - by_chance) / (1 - by_chance)


def _agreement(version: Version, reference: Version, pairs: Sequence[AnswerPair]) -> Agreement:
    regions = list(dict.fromkeys(region for pair in pairs for region in pair.dice))
    dice = {r: [value for pair in pairs if (value := pair.dice.get(r)) is not None] for r in regions}
    volumes = {r: [pair.volume_difference_ml[r] for pair in pairs if r in pair.volume_difference_ml] for r in regions}
    return Agreement(
        version=version,
        reference=reference,
        n=len(pairs),
        share=sum(pair.value == pair.reference_value for pair in pairs) / len(pairs),
        kappa=cohens_kappa([(pair.value, pair.reference_value) for pair in pairs]),
        mean_dice={r: _mean(found) for r, found in dice.items()},
        mean_volume_difference_ml={r: sum(found) / len(found) for r, found in volumes.items() if found},
        first_at=min(pair.at for pair in pairs),
        last_at=max(pair.at for pair in pairs),
    )


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
