"""A segmenter's network for OpenVINO: converted once in a process of its own, held against the reference, cached."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import ConversionFailed
from pipeline.models.manifest import ManifestEntry
from pipeline.models.runtime_cache import cached_runtime_file
from pipeline.models.runtime_options import RuntimeOptions
from pipeline.models.runtime_process import main_of, run_apart
from pipeline.models.segmenter_formats import Opened, open_segmenter
from pipeline.models.segmenter_openvino import openvino_run, write_openvino
from pipeline.models.segmenter_windowed import probe_image

#: What a converted network may differ by: the largest difference of an output, and the share of equal decisions.
PARITY = 1e-2
SAME_DECISIONS = 0.9999
#: Least side of the noise image on which both are compared.
_PROBE_SIDE = 64
_VERSION = 1
_PARITY_FILE = "parity.json"


def converted_file(entry: ManifestEntry, folder: Path, opened: Opened, options: RuntimeOptions) -> Path:
    """The .xml of the entry's network from the cache or, the first time, converted and checked (under a minute).

    Raises:
        ConversionFailed: there is no cache folder, it is not converted and must not be now, the conversion failed, or
            its answers differ from the reference's.
        ModelUnusable: the reference itself cannot be used.
        OSError: the cache folder cannot be written.
    """

    def build(path: Path) -> None:
        if not options.convert:
            raise ConversionFailed(entry.name, "it is not converted yet (`tumor-node models optimise` does it)")
        run_apart(__name__, entry, folder, path)

    if options.cache is None:
        raise ConversionFailed(entry.name, "no cache folder is given for its conversion")
    design = hashlib.sha256(f"{entry.format} {opened.design}".encode()).hexdigest()[:8]
    tag = f"segmenter-{design}-{_VERSION}.xml"
    return cached_runtime_file(options.cache, entry.sha256, tag, build)


def read_parity(path: Path) -> dict[str, Any]:
    """What a conversion in the cache was found to differ by: weights_sha256, voxels, max_difference, same_decisions."""
    parity: dict[str, Any] = json.loads((path.parent / _PARITY_FILE).read_text(encoding="utf-8"))
    return parity


def convert(entry: ManifestEntry, folder: Path, path: Path) -> None:
    """Write the entry's network to `path` for OpenVINO and the parity beside it.

    Raises:
        ModelUnusable: the reference cannot be used.
        ConversionFailed: the converter fails, or the answers differ by more than `PARITY` and `SAME_DECISIONS` allow.
    """
    opened = open_segmenter(entry, folder)
    reference = opened.reference()
    probe = probe_image(opened.plan, _PROBE_SIDE)
    try:
        write_openvino(reference.to_openvino(), path)
        converted = openvino_run(path, precision="f32")(probe)
    except Exception as error:  # an operation the converter does not know: OpenVINO's errors share no base class
        last = (str(error).strip().splitlines() or [""])[-1][:200]
        raise ConversionFailed(
            entry.name, f"it cannot be converted for OpenVINO ({type(error).__name__}: {last})"
        ) from error
    expected = reference.run()(probe)
    if converted.shape != expected.shape:
        raise ConversionFailed(entry.name, f"converted, it answers {converted.shape}, not {expected.shape}")
    outputs = opened.plan.outputs
    decisions = [outputs.region_probabilities(outputs.blendable(answer)) > 0.5 for answer in (converted, expected)]
    difference = float(np.abs(converted - expected).max())
    same = float((decisions[0] == decisions[1]).mean())
    # Written so that NaN fails too.
    if not (difference <= PARITY and same >= SAME_DECISIONS):
        raise ConversionFailed(
            entry.name,
            f"converted, its outputs differ by {difference:.1e} and {same:.4%} of its decisions agree; "
            f"{PARITY:.0e} and {SAME_DECISIONS:.2%} are asked for",
        )
    parity = {
        "weights_sha256": entry.sha256,
        "voxels": int(np.prod(expected.shape[1:])),
        "max_difference": float(f"{difference:.2g}"),
        "same_decisions": round(same, 6),
    }
    (path.parent / _PARITY_FILE).write_text(json.dumps(parity) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main_of(convert))
