"""PyTorch networks as functions of arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pipeline.models.segmenter_openvino import torch_to_openvino
from pipeline.models.segmenter_window import Run, Shape
from pipeline.volume import FloatArray


def best_device() -> torch.device:
    """The GPU that PyTorch finds, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def network_run(network: Any, device: torch.device, threads: int = 0) -> Run:
    """`network`, which maps a batch of images to one of answers, as a function of one image.

    Of several answers (deep supervision) the first counts. threads: of PyTorch in the whole process; 0 leaves them.
    """

    def run(window: FloatArray) -> FloatArray:
        if threads:
            torch.set_num_threads(threads)
        with torch.inference_mode():
            answer = network(torch.from_numpy(window)[None].to(device))
            if isinstance(answer, list | tuple):
                answer = answer[0]
            if not isinstance(answer, Tensor) or answer.ndim not in (4, 5) or answer.shape[0] != 1:
                found = tuple(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__
                raise ValueError(f"its answer is {found}, not one image of channels")
            # Bare labels may come without an axis for channels.
            channels = answer if answer.ndim == 4 else answer[0]
            result: FloatArray = channels.float().cpu().numpy()
        return result

    return run


@dataclass(frozen=True, kw_only=True)
class TorchReference:
    """A module in evaluation mode; fits `segmenter_formats.Reference`.

    shape: of an input it surely takes. any_shape: it takes others as well. kind: for the health page.
    """

    network: Any
    channels: int
    shape: Shape
    any_shape: bool
    kind: str = "torch"
    threads: int = 0

    @property
    def detail(self) -> str:
        """What runs it."""
        return f"{self.kind} on {best_device().type}"

    def run(self) -> Run:
        """On the GPU where there is one."""
        device = best_device()
        return network_run(self.network.eval().to(device), device, self.threads)

    def to_openvino(self) -> Any:
        """Traced; raises whatever OpenVINO raises."""
        return torch_to_openvino(self.network.eval(), self.channels, self.shape, self.any_shape)
