"""ONNX classifiers of slices through ONNX Runtime, which is imported when a model is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import ModelUnusable
from pipeline.models.classifier import NetworkSliceClassifier, SliceNetwork, as_classifier
from pipeline.models.manifest import ManifestEntry, verified_file
from pipeline.models.runtime_options import RuntimeOptions
from pipeline.volume import FloatArray

_COPY = "Copy the file again or export it anew."
_KINDS = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}


def load_onnx_classifier(
    entry: ManifestEntry, folder: Path, options: RuntimeOptions = RuntimeOptions()
) -> NetworkSliceClassifier:
    """The entry's `.onnx` file, checked and tried once with probe pictures.

    Raises:
        ModelUnusable: missing, empty or other bytes than the manifest's; corrupt; with weights in further files;
            another input shape, number of classes or kind of output.
    """
    path = verified_file(entry, folder)
    check_onnx_file(entry, path)
    return as_classifier(entry, onnx_network(entry, path, options.threads))


def onnx_network(entry: ManifestEntry, path: Path, threads: int) -> SliceNetwork:
    """The network of an ONNX file, one input and one output, run on `threads` CPU threads (0: all).

    Raises:
        ModelUnusable: ONNX Runtime cannot read the file, or its inputs and outputs are not one of each, of floats.
    """
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 3
    # Threads that spin while they wait cost as much again as the network and gain nothing on so small a one.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors share no base class
        reason = f"ONNX Runtime {onnxruntime.__version__} cannot load '{path.name}' ({_first_line(error)})"
        raise ModelUnusable(entry.name, reason, _COPY) from error
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(outputs) != 1:
        found = f"{len(inputs)} inputs and {len(outputs)} outputs"
        raise ModelUnusable(entry.name, f"its network has {found}, not one of each", _COPY)
    if inputs[0].type not in _KINDS or outputs[0].type not in _KINDS:
        found = f"{inputs[0].type} to {outputs[0].type}"
        raise ModelUnusable(entry.name, f"its network goes from {found}, not from floats to floats", _COPY)
    name, kind = inputs[0].name, _KINDS[inputs[0].type]
    batch, *shape = (side if isinstance(side, int) else None for side in inputs[0].shape or (None,))
    if batch not in (None, 1):
        raise ModelUnusable(entry.name, f"its network takes {batch} pictures at a time, no other number", _COPY)

    def forward(images: FloatArray) -> FloatArray:
        groups = [images] if batch is None else [images[n : n + 1] for n in range(len(images))]
        answers = [session.run(None, {name: group.astype(kind, copy=False)})[0] for group in groups]
        return np.concatenate(answers).astype(np.float32, copy=False)

    return SliceNetwork(
        forward=forward,
        input_shape=tuple(shape),
        output_shape=tuple(side if isinstance(side, int) else None for side in outputs[0].shape[1:]),
        detail="onnxruntime f32",
    )


def check_onnx_file(entry: ManifestEntry, path: Path) -> None:
    """Refuse a damaged file, and one whose weights lie in other files, which no hash of the manifest covers.

    Raises:
        ModelUnusable: it is one of these.
    """
    import onnx

    try:
        graph = onnx.load(path, load_external_data=False).graph
    except Exception as error:  # protobuf's and onnx's errors share no base class
        reason = f"'{entry.file}' is no complete ONNX file (truncated or corrupt)"
        raise ModelUnusable(entry.name, reason, _COPY) from error
    if not graph.node:
        raise ModelUnusable(entry.name, f"'{entry.file}' holds no network", _COPY)
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in _tensors(graph)):
        reason = f"'{entry.file}' keeps weights in other files"
        raise ModelUnusable(entry.name, reason, "Save it as one file: onnx.save_model(onnx.load(OLD), NEW).")


def _tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield attribute.t
            yield from attribute.tensors
            for inner in (attribute.g, *attribute.graphs):
                if inner.node:
                    yield from _tensors(inner)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0][:200]
