"""A Keras classifier as an ONNX file: converted in a process of its own, held against the reference, kept in the cache.

The process is this module (`python -m`), so that the worker neither imports TensorFlow nor keeps what it leaves behind.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import ConversionFailed
from pipeline.models.classifier import as_classifier, probe_slices
from pipeline.models.manifest import ManifestEntry
from pipeline.models.runtime_cache import cached_runtime_file
from pipeline.models.runtime_options import RuntimeOptions
from pipeline.models.runtime_process import main_of, run_apart
from pipeline.volume import FloatArray

#: Largest difference of a probability from the reference's that a converted network may show.
PARITY = 1e-3
_VERSION = 1
_OPSET = 18
_PARITY_FILE = "parity.json"


def converted_file(entry: ManifestEntry, folder: Path, options: RuntimeOptions) -> Path:
    """The ONNX file of the entry's network, from the cache or, the first time, converted and checked (half a minute).

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
    tag = f"classifier-{'x'.join(str(side) for side in entry.input_size)}-{_VERSION}.onnx"
    return cached_runtime_file(options.cache, entry.sha256, tag, build)


def read_parity(path: Path) -> dict[str, Any]:
    """What the conversion of a file in the cache was found to differ by: weights_sha256, slices, max_difference."""
    parity: dict[str, Any] = json.loads((path.parent / _PARITY_FILE).read_text(encoding="utf-8"))
    return parity


def parity_slices(size: int) -> FloatArray:
    """(18, size, size) in 0..1, always the same: the probe's ramps, noise fine and coarse, and empty and full ones."""
    random = np.random.default_rng(2026)
    fine = random.random((7, size, size), dtype=np.float32)
    blocks = -(-size // 8)
    coarse = np.kron(random.random((7, blocks, blocks)), np.ones((8, 8)))[:, :size, :size].astype(np.float32)
    flat = np.stack([np.zeros((size, size), np.float32), np.ones((size, size), np.float32)])
    return np.concatenate([probe_slices(size), fine, coarse, flat])


def convert(entry: ManifestEntry, folder: Path, path: Path) -> None:
    """Write the entry's network to `path` as ONNX and the parity beside it. Imports TensorFlow.

    Raises:
        ModelUnusable: the reference cannot be used.
        ConversionFailed: the converter fails, or an answer differs from the reference's by more than `PARITY`.
    """
    from pipeline.models.classifier_keras import reference_network
    from pipeline.models.classifier_onnx import onnx_network

    network, graph = reference_network(entry, folder, 0)
    reference = as_classifier(entry, network)
    try:
        import tf2onnx

        tf2onnx.convert.from_function(graph, input_signature=graph.input_signature, opset=_OPSET, output_path=str(path))
        converted = as_classifier(entry, onnx_network(entry, path, 0))
    except Exception as error:  # a layer the converter does not know, or a file ONNX Runtime does not take
        reason = f"it cannot be converted to ONNX ({type(error).__name__}: {str(error)[:200]})"
        raise ConversionFailed(entry.name, reason) from error
    slices = parity_slices(entry.input_size[0])
    difference = float(np.abs(converted.predict(slices) - reference.predict(slices)).max())
    if not difference <= PARITY:
        raise ConversionFailed(
            entry.name, f"converted, its probabilities differ by {difference:.1e}, more than {PARITY:.0e}"
        )
    parity = {"weights_sha256": entry.sha256, "slices": len(slices), "max_difference": float(f"{difference:.2g}")}
    (path.parent / _PARITY_FILE).write_text(json.dumps(parity) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main_of(convert))
