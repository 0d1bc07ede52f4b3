"""The size of a 3D U-Net, as a manifest declares it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class NetworkPlan:
    """Size of a network. Stage s has min(base * 2**s, max_channels) channels at 1 / 2**s of the input's resolution.

    Raises:
        ValueError: a number below its least sensible value.
    """

    in_channels: int = 4
    out_channels: int = 3
    stages: int = 5
    base: int = 16
    max_channels: int = 320
    convolutions: int = 2

    def __post_init__(self) -> None:
        least = {"in_channels": 1, "out_channels": 1, "stages": 2, "base": 1, "max_channels": 1, "convolutions": 1}
        for name, low in least.items():
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < low:
                raise ValueError(f"architecture.{name} must be a whole number of at least {low}, not {value!r}")

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, object]) -> NetworkPlan:
        """The plan that a manifest's `architecture` object declares; missing keys take their defaults.

        Raises:
            ValueError: an unknown key or a number that is too small.
        """
        unknown = sorted(set(mapping) - set(cls.__dataclass_fields__))
        if unknown:
            raise ValueError(f"architecture has unknown keys {unknown}; known are {sorted(cls.__dataclass_fields__)}")
        return cls(**mapping)  # type: ignore[arg-type]  # checked in __post_init__

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of each stage, finest first."""
        return tuple(min(self.base * 2**stage, self.max_channels) for stage in range(self.stages))

    @property
    def divisor(self) -> int:
        """Each side of an input must be a multiple of this."""
        return int(2 ** (self.stages - 1))
