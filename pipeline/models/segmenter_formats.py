"""The file formats of segmenters, by name: what opens each. A new format is one module and one row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from pipeline.models.manifest import ManifestEntry
from pipeline.models.segmenter_window import Run
from pipeline.models.segmenter_windowed import SegmenterPlan

#: Manifest 'format' to 'module:function' (entry, folder) -> Opened. By name, so that no framework is imported here.
FORMATS: Mapping[str, str] = {
    "torch-state-dict": "pipeline.models.unet3d:open_unet3d",
    "nnunet-v2": "pipeline.models.segmenter_nnunet:open_nnunet",
    "torchscript": "pipeline.models.segmenter_torchscript:open_torchscript",
    "onnx-segmenter": "pipeline.models.segmenter_onnx:open_onnx",
}


class Reference(Protocol):
    """A network in the framework its file was made for."""

    @property
    def detail(self) -> str:
        """What runs it: 'torch on cpu'."""

    def run(self) -> Run:
        """As a function of arrays."""

    def to_openvino(self) -> Any:
        """As an OpenVINO model; raises whatever OpenVINO raises."""


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A file whose hash and declarations are checked.

    reference: loads the weights, strictly; costly, called when needed. design: what shapes the network besides the
    file, for the name of a conversion.
    """

    plan: SegmenterPlan
    reference: Callable[[], Reference]
    design: str = ""


def open_segmenter(entry: ManifestEntry, folder: Path, threads: int = 0) -> Opened:
    """The entry's file, verified, and what it is to be given. `threads`: of the reference, 0 for all.

    Raises:
        ModelUnusable: the file is missing or has another hash; the entry's declarations do not fit it or each other.
    """
    module, _, function = FORMATS[entry.format].partition(":")
    opened: Opened = getattr(import_module(module), function)(entry, folder, threads)
    return opened
