"""How a run of the 2D network goes: size of the pictures, learning rate and strength of the augmentation over time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

#: Side in pixels and number of epochs of each stage.
STAGES = "112x6,144x9"
BATCH = 16
SLICES_AN_EPOCH = 4096
PEAK_RATE = 6e-4
WARM_UP_EPOCHS = 1
#: Share of the steps at the full rate, before it falls.
FLAT_SHARE = 0.4
#: Augmentation at the end, as a share of that at the start: the last epochs see pictures nearer to real ones.
LEAST_STRENGTH = 0.4


@dataclass(frozen=True, kw_only=True)
class Plan:
    """sizes: the side in pixels of each epoch's pictures. slices: how many are drawn in an epoch. peak: the highest
    learning rate. flat: share of the run before it falls. minutes: where not 0, the length of the run, of which each
    of `sizes` has an even part. serves_at: side at which the network is validated and will answer, where not 0: one a
    little larger than in training often gives more, for little time."""

    sizes: tuple[int, ...]
    slices: int = SLICES_AN_EPOCH
    peak: float = PEAK_RATE
    flat: float = FLAT_SHARE
    minutes: float = 0.0
    serves_at: int = 0

    @classmethod
    def parse(cls, text: str, **others: Any) -> Plan:
        """From '96x24,224x6': 24 epochs at 96 pixels, then 6 at 224. others: the other fields."""
        pairs = [part.split("x") for part in text.split(",")]
        return cls(sizes=tuple(int(size) for size, epochs in pairs for _ in range(int(epochs))), **others)

    def spent(self, step: int, seconds: float = 0.0) -> float:
        """Share of the run that is over, 0..1, after so many steps and seconds."""
        over = seconds / (60 * self.minutes) if self.minutes else step / (len(self.sizes) * self.steps)
        return min(1.0, over)

    def size(self, epoch: int, seconds: float = 0.0) -> int | None:
        """Side of the pictures of the epoch that begins; None where the run is over."""
        place = int(self.spent(epoch * self.steps, seconds) * len(self.sizes)) if self.minutes else epoch
        return self.sizes[place] if place < len(self.sizes) else None

    @property
    def steps(self) -> int:
        """Of an epoch."""
        return self.slices // BATCH

    def rate(self, step: int, seconds: float = 0.0) -> float:
        """Learning rate of a step: a linear rise, then flat, then half a cosine down to a hundredth."""
        rise = WARM_UP_EPOCHS * self.steps
        if step < rise:
            return self.peak * (step + 1) / rise
        return self.peak * (0.01 + 0.99 * self._height(step, seconds))

    def strength(self, step: int, seconds: float = 0.0) -> float:
        """Of augmentation: whole while the rate is, falling with it to `LEAST_STRENGTH`."""
        return LEAST_STRENGTH + (1 - LEAST_STRENGTH) * self._height(step, seconds)

    def _height(self, step: int, seconds: float) -> float:
        rise = 0.0 if self.minutes else WARM_UP_EPOCHS / len(self.sizes)
        fall = max(rise, self.flat)
        done = min(1.0, max(0.0, (self.spent(step, seconds) - fall) / max(1e-9, 1 - fall)))
        return 0.5 * (1 + math.cos(math.pi * done))
