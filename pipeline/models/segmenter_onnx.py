"""ONNX segmenters through ONNX Runtime, which is imported when a model is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import ModelUnusable
from pipeline.models.classifier_onnx import check_onnx_file
from pipeline.models.manifest import ManifestEntry, verified_file
from pipeline.models.segmenter_entry import foreign_plan
from pipeline.models.segmenter_formats import Opened, Reference
from pipeline.models.segmenter_openvino import openvino_module
from pipeline.models.segmenter_window import Run
from pipeline.models.segmenter_windowed import SegmenterPlan
from pipeline.volume import FloatArray

_COPY = "Copy the file again or export it anew"
_FIX = "Correct its entry in manifest.json"
_KINDS = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}


def open_onnx(entry: ManifestEntry, folder: Path, threads: int = 0) -> Opened:
    """See `segmenter_formats.open_segmenter`.

    Raises:
        ModelUnusable: the entry's declarations do not go together; missing file, other hash, a damaged file, or one
            whose weights lie in other files.
    """
    plan = foreign_plan(entry)
    path = verified_file(entry, folder)
    check_onnx_file(entry, path)
    return Opened(plan=plan, reference=partial(_reference, entry, path, plan, threads))


@dataclass(frozen=True, kw_only=True)
class OnnxReference:
    """A session of ONNX Runtime; fits `segmenter_formats.Reference`."""

    path: Path
    session: Any
    kind: Any
    detail: str = "onnxruntime f32"

    def run(self) -> Run:
        """On the CPU. Of several outputs the first counts."""
        name = self.session.get_inputs()[0].name
        first = self.session.get_outputs()[0].name

        def run(window: FloatArray) -> FloatArray:
            answer = np.asarray(self.session.run([first], {name: window[None].astype(self.kind, copy=False)})[0])
            if answer.ndim not in (4, 5) or answer.shape[0] != 1:
                raise ValueError(f"its answer is {answer.shape}, not one image of channels")
            # Bare labels may come without an axis for channels.
            return (answer if answer.ndim == 4 else answer[0]).astype(np.float32)

        return run

    def to_openvino(self) -> Any:
        """OpenVINO reads ONNX itself; raises whatever it raises."""
        return openvino_module().Core().read_model(str(self.path))


def _reference(entry: ManifestEntry, path: Path, plan: SegmenterPlan, threads: int) -> Reference:
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors share no base class
        last = (str(error).strip().splitlines() or [""])[0][:200]
        reason = f"ONNX Runtime {onnxruntime.__version__} cannot load {entry.file} ({last})"
        raise ModelUnusable(entry.name, reason, _COPY) from error
    inputs = session.get_inputs()
    if len(inputs) != 1 or inputs[0].type not in _KINDS:
        found = ", ".join(f"{one.name} {one.type}" for one in inputs)
        raise ModelUnusable(entry.name, f"its network takes {found or 'nothing'}, not one image of floats", _COPY)
    wanted = (1, len(plan.channels), *plan.tiling.window)
    shape = tuple(inputs[0].shape)
    fits = len(shape) == len(wanted) and all(
        not isinstance(side, int) or side == due for side, due in zip(shape, wanted, strict=True)
    )
    if not fits:
        raise ModelUnusable(entry.name, f"its network takes {shape}, the entry declares {wanted}", _FIX)
    return OnnxReference(path=path, session=session, kind=_KINDS[inputs[0].type])
