"""Series to volume, against dcm2niix on the same files."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from benchmarks.rows import Row, in_turn
from dicom_node.inbound.conversion import load_series

DCM2NIIX = "/usr/bin/dcm2niix"


def conversion_rows(paths: list[Path], folder: Path, rounds: int) -> list[Row]:
    """Ours reads, decodes, converts and checks against our own affine; dcm2niix converts and writes a file."""
    out = folder / "niix"

    def theirs() -> None:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        subprocess.run([DCM2NIIX, "-o", out, paths[0].parent], check=True, capture_output=True)

    return [in_turn(f"convert {len(paths)} slices", "dcm2niix", lambda: load_series(paths), theirs, rounds)]
