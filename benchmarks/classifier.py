"""One slice through the detector as the node serves it, against `model.predict` of Keras on the same file.

`python -m benchmarks.classifier` prints these rows alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.rows import Row, in_turn
from pipeline.models.classifier_keras import load_keras_network
from pipeline.models.manifest import ManifestEntry, read_manifest
from pipeline.models.resnet50 import load_keras_classifier
from pipeline.models.runtime_options import RuntimeOptions

MODELS = Path("models")
SLICES = 20
#: VmHWM, not getrusage: a new process inherits the latter from the one that made it.
_MEMORY = """
import re, sys
from pathlib import Path
from benchmarks.classifier import {function}
{function}(Path(sys.argv[1]), Path(sys.argv[2]))()
print(int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024)
"""
_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3"}


def classifier_rows(folder: Path, rounds: int) -> list[Row]:
    """Both in this process, in turn. folder: a temporary one, for the converted network."""
    what = f"detect on {SLICES} slices, one by one"
    return [in_turn(what, "Keras model.predict", served(MODELS, folder), predicted(MODELS, folder), rounds)]


def classifier_memory(folder: Path) -> list[str]:
    """Peak memory of a process that does nothing but this, for each of the two."""
    found = []
    for function, name in ((served, "onnxruntime"), (predicted, "Keras model.predict")):
        command = [sys.executable, "-c", _MEMORY.format(function=function.__name__), str(MODELS), str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | _QUIET)
        found.append(f"peak memory of {SLICES} slices through {name}: {done.stdout.strip()} MB")
    return found


def served(models: Path, cache: Path) -> Callable[[], object]:
    """The detector as a worker loads it, as a function that reads the slices one by one."""
    model = load_keras_classifier(_detector(models), models, RuntimeOptions(cache=cache))
    assert model.runtime_detail == "onnxruntime f32", model.runtime_detail
    pictures = slices(model.input_size)
    return lambda: [model.predict(one[None]) for one in pictures]


def predicted(models: Path, cache: Path) -> Callable[[], object]:
    """The same file through Keras, as its examples do it."""
    entry = _detector(models)
    network = load_keras_network(entry, models)
    channels = network.inputs[0].shape[-1]
    pictures = [np.repeat(one[None, ..., None], channels, -1) for one in slices(entry.input_size[0])]
    return lambda: [network.predict(picture, verbose=0) for picture in pictures]


def slices(size: int) -> np.ndarray:
    """(SLICES, size, size) in 0..1."""
    return np.random.default_rng(1).random((SLICES, size, size), dtype=np.float32)


def _detector(models: Path) -> ManifestEntry:
    values = next(values for values in read_manifest(models) if values["task"] == "detection")
    return ManifestEntry.from_json({**values, "runtime": "onnxruntime"})


def main() -> None:
    """Print the rows of this module alone."""
    with tempfile.TemporaryDirectory() as folder:
        for row in classifier_rows(Path(folder), 5):
            faster = 1 / row.ratio
            print(f"{row.what}: ours {row.ours_s:.3f} s, {row.peer} {row.peer_s:.3f} s, {faster:.1f} times as fast")
        for line in classifier_memory(Path(folder)):
            print(line)


if __name__ == "__main__":
    os.environ.update(_QUIET)
    main()
