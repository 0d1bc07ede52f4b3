"""Segmentation networks through OpenVINO on the CPU. Its telemetry is locked out before it is imported."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

from pipeline.models.segmenter_window import Run, Shape
from pipeline.volume import FloatArray

_TELEMETRY = "openvino_telemetry"


class OpenVinoRefused(RuntimeError):
    """OpenVINO came with its telemetry switched on, and is not used then."""


def openvino_module() -> Any:
    """The package, imported without its telemetry: this node looks up no host and tells nobody what it converts.

    OpenVINO falls back to a stub of its own where the telemetry package cannot be imported, which an entry of None in
    `sys.modules` brings about.

    Raises:
        OpenVinoRefused: other code imported the telemetry first.
    """
    if sys.modules.get(_TELEMETRY) is not None:
        raise OpenVinoRefused("OpenVINO's telemetry was imported by other code before it could be locked out")
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
    import openvino

    return openvino


def write_openvino(model: Any, path: Path) -> None:
    """An OpenVINO model as `path` (.xml) and the weights, in full precision, beside it (.bin)."""
    openvino_module().save_model(model, str(path), compress_to_fp16=False)


def torch_to_openvino(network: Any, channels: int, shape: Shape, any_shape: bool) -> Any:
    """A PyTorch module of (1, channels, i, j, k) as an OpenVINO model, traced with an image of `shape`.

    any_shape: the model takes every i, j, k that the module takes, else only `shape`.
    """
    import torch

    openvino = openvino_module()
    sides = [-1, -1, -1] if any_shape else list(shape)
    example = torch.zeros((1, channels, *shape))
    with warnings.catch_warnings():
        # OpenVINO traces by torch.jit, against which PyTorch advises, and which warns of each size that a layer checks.
        warnings.simplefilter("ignore")
        return openvino.convert_model(
            network, example_input=example, input=[openvino.PartialShape([1, channels, *sides])]
        )


def supports_bf16() -> bool:
    """Whether this CPU computes in bfloat16 itself."""
    openvino = openvino_module()
    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def openvino_run(path: Path, *, precision: str, threads: int = 0) -> Run:
    """The network of an .xml with its .bin, or of an .onnx, compiled once. precision: 'f32' or 'bf16'.

    The precision is always asked for: left to itself OpenVINO takes bfloat16 where the CPU has it.
    """
    openvino = openvino_module()
    settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    if threads:
        settings["INFERENCE_NUM_THREADS"] = threads
    compiled = openvino.Core().compile_model(str(path), "CPU", settings)

    def run(window: FloatArray) -> FloatArray:
        # OpenVINO owns the memory it answers in and uses it again.
        answer: FloatArray = compiled(window[None])[0][0].astype("float32", copy=True)
        return answer

    return run
