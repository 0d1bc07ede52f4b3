"""From what a segmentation network gives to probabilities of WT, TC and ET: heads for regions, or exclusive labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.report import REGION_LABELS, Label, Region
from pipeline.volume import FloatArray

#: What a label of a foreign map may be called, and the regions it counts to.
LABEL_REGIONS: Mapping[str, tuple[Region, ...]] = {
    "background": (),
    **{label.name: tuple(region for region in Region if label in REGION_LABELS[region]) for label in Label},
    "WT": (Region.WT,),
    "TC": (Region.WT, Region.TC),
}
_SMALLEST = np.float32(1e-6)


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What the channels of an answer mean.

    regions: the region of each channel (independent sigmoids), or empty; then labels: for each label value the regions
    it counts to (a softmax over as many channels, or bare label values). kind: 'logits', 'probabilities', or 'labels'.
    temperature: divides the logits.
    """

    kind: str
    regions: tuple[Region, ...] = ()
    labels: Mapping[int, tuple[Region, ...]]
    temperature: float = 1.0

    @classmethod
    def of_regions(cls, regions: Sequence[str], *, kind: str, temperature: float = 1.0) -> Outputs:
        """Heads for WT, TC and ET in the order of `regions`.

        Raises:
            ValueError: they are not these three.
        """
        wanted = [region.value for region in Region]
        if sorted(regions) != sorted(wanted):
            raise ValueError(f"its regions {list(regions)} are not {wanted} in some order")
        if kind == "labels":
            raise ValueError("its outputs are 'labels': give a label_map, not regions")
        return cls(kind=kind, regions=tuple(Region(region) for region in regions), labels={}, temperature=temperature)

    @classmethod
    def of_labels(cls, label_map: Mapping[str, str], *, kind: str, temperature: float = 1.0) -> Outputs:
        """Exclusive labels 0 to n; 0 is background where `label_map` does not say otherwise.

        Raises:
            ValueError: an unknown name, a gap in the labels, or a region that no label counts to.
        """
        unknown = sorted(set(label_map.values()) - set(LABEL_REGIONS))
        if unknown:
            raise ValueError(f"its label_map names '{unknown[0]}', which is none of {', '.join(LABEL_REGIONS)}")
        named = {int(label): LABEL_REGIONS[name] for label, name in label_map.items()}
        labels: dict[int, tuple[Region, ...]] = dict(sorted({0: (), **named}.items()))
        if kind != "labels" and sorted(labels) != list(range(len(labels))):
            raise ValueError(f"its label_map has the labels {sorted(labels)}: channels are 0 to n without a gap")
        lost = [region.value for region in Region if not any(region in regions for regions in labels.values())]
        if lost:
            raise ValueError(f"no label of its label_map counts to {', '.join(lost)}")
        return cls(kind=kind, labels=labels, temperature=temperature)

    @property
    def channels(self) -> int:
        """How many channels an answer must have."""
        return 1 if self.kind == "labels" else len(self.regions or self.labels)

    def fault(self, answer: FloatArray, *, foreign: bool = False) -> str | None:
        """What is wrong with an answer (channels, I, J, K) that was to be of this kind; None where nothing is.

        foreign: only a manifest says that its numbers are logits, so numbers that look like probabilities are a fault.
        """
        if answer.ndim != 4 or answer.shape[0] != self.channels:
            return f"gives {answer.shape[0] if answer.ndim == 4 else answer.shape} channels, not {self.channels}"
        if not np.isfinite(answer).all():
            return "gives NaN or infinite values"
        if self.kind == "labels":
            seen = sorted(int(value) for value in np.unique(np.rint(answer)))
            if np.abs(answer - np.rint(answer)).max() > 1e-3 or not set(seen) <= set(self.labels):
                return f"gives {seen[:6]} where labels {sorted(self.labels)} were declared"
        elif self.kind == "probabilities":
            if answer.min() < -1e-3 or answer.max() > 1 + 1e-3:
                return f"gives {answer.min():.3g} to {answer.max():.3g}, no probabilities; are its outputs logits?"
            if self.labels and np.abs(answer.sum(axis=0) - 1).max() > 1e-2:
                return "gives probabilities that do not sum to 1 over the labels; are its outputs regions?"
        elif foreign and answer.min() >= 0 and answer.max() <= 1:
            return "gives only values in 0..1, which were declared as logits; are its outputs probabilities?"
        return None

    def blendable(self, answer: FloatArray) -> FloatArray:
        """What windows may be averaged in: bare labels as one channel for each label, all else as it is."""
        if self.kind != "labels":
            return answer
        values = np.rint(answer[0]).astype(np.int64)
        return np.stack([values == label for label in self.labels]).astype(np.float32)

    def region_probabilities(self, blended: FloatArray) -> FloatArray:
        """(3, I, J, K) calibrated probabilities of WT, TC, ET."""
        if self.regions:
            order = [self.regions.index(region) for region in Region]
            logits = blended[order]
            if self.kind == "probabilities":
                if self.temperature == 1.0:
                    return np.clip(logits, 0, 1)
                clipped = np.clip(logits, _SMALLEST, 1 - _SMALLEST)
                logits = np.log(clipped / (1 - clipped))
            return sigmoid(logits / np.float32(self.temperature))
        shares = self._shares(blended)
        return np.stack(
            [
                np.clip(sum((shares[n] for n, regions in enumerate(self.labels.values()) if region in regions)), 0, 1)
                for region in Region
            ]
        ).astype(np.float32)

    def _shares(self, blended: FloatArray) -> FloatArray:
        if self.kind == "labels" or (self.kind == "probabilities" and self.temperature == 1.0):
            return blended
        logits = np.log(np.clip(blended, _SMALLEST, 1)) if self.kind == "probabilities" else blended
        scaled = logits / np.float32(self.temperature)
        powers = np.exp(scaled - scaled.max(axis=0))
        shares: FloatArray = powers / powers.sum(axis=0)
        return shares


def sigmoid(logits: FloatArray) -> FloatArray:
    """1 / (1 + exp(-x)) without overflow, float32."""
    result: FloatArray = 0.5 * (1 + np.tanh(0.5 * logits.astype(np.float32)))
    return result
