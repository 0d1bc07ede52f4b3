"""What a node grants its models when they are loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class RuntimeOptions:
    """cache: folder for networks converted to a faster runtime; None: nothing is converted and the reference serves.
    convert: whether a network that is not in the cache yet is converted when it is loaded, which takes up to a minute;
    else the reference serves it. threads: CPU threads a model may use, 0 for all."""

    cache: Path | None = None
    convert: bool = True
    threads: int = 0
