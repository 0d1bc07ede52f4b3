"""Where the web asks for results in other formats. The node implements it; the web knows no format itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class NothingToExport(Exception):
    """The scan has nothing in this format; the text says why, without patient data."""


@dataclass(frozen=True, kw_only=True)
class ExportKind:
    """One format: what it holds, and the media type of a single file of it."""

    text: str
    media_type: str


class ScanExporter(Protocol):
    """Writes a scan's present result."""

    @property
    def kinds(self) -> Mapping[str, ExportKind]:
        """The formats by name."""
        ...

    def write(self, scan_id: str, kind: str, folder: Path) -> list[Path]:
        """Write the files into an empty folder that is there. Raises NothingToExport, OSError."""
        ...
