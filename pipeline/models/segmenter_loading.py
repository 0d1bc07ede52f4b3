"""From a manifest entry to a `Segmenter`, whatever the file's format: open, choose what runs it, try it once."""

from __future__ import annotations

from pathlib import Path

from pipeline.errors import ConversionFailed
from pipeline.models.manifest import ManifestEntry
from pipeline.models.runtime_options import RuntimeOptions
from pipeline.models.segmenter_conversion import converted_file, read_parity
from pipeline.models.segmenter_formats import Opened, open_segmenter
from pipeline.models.segmenter_openvino import OpenVinoRefused, openvino_run, supports_bf16
from pipeline.models.segmenter_windowed import VolumeNetwork, WindowedSegmenter

#: A region's mean Dice may differ by this much from the reference's for a lower precision to be used.
DICE_TOLERANCE = 0.002


def load_segmenter(entry: ManifestEntry, folder: Path, options: RuntimeOptions = RuntimeOptions()) -> WindowedSegmenter:
    """The segmenter of a manifest entry whose file lies under `folder`. The file's hash is checked before it is read.

    Where the entry asks for OpenVINO and that cannot be had faithfully, the file's own framework serves, and
    `runtime_detail` says why.

    Raises:
        ModelUnusable: the file is missing, empty, truncated, of another hash or shape, or more than weights; the
            entry's declarations do not fit it; a probe input gives no answer of the kind declared.
    """
    opened = open_segmenter(entry, folder, options.threads)
    segmenter = WindowedSegmenter(entry, opened.plan, _network(entry, folder, opened, options))
    segmenter.try_probe()
    return segmenter


def _network(entry: ManifestEntry, folder: Path, opened: Opened, options: RuntimeOptions) -> VolumeNetwork:
    reason = ""
    if entry.runtime == "openvino":
        try:
            path = converted_file(entry, folder, opened, options)
            precision, why = _precision(entry)
            run = openvino_run(path, precision=precision, threads=options.threads)
            parity = read_parity(path)
            detail = (
                f"openvino {precision}{why} (outputs within {parity['max_difference']:.0e} of the reference, "
                f"{parity['same_decisions']:.3%} of decisions equal)"
            )
            return VolumeNetwork(run=run, detail=detail)
        except (ConversionFailed, OpenVinoRefused, OSError, ImportError, RuntimeError) as error:
            reason = error.reason if isinstance(error, ConversionFailed) else f"{type(error).__name__}: {error}"
    elif entry.runtime != "reference" and (entry.runtime, entry.format) != ("onnxruntime", "onnx-segmenter"):
        reason = f"runtime '{entry.runtime}' does not run the format '{entry.format}'"
    reference = opened.reference()
    detail = f"reference: {reference.detail}; {reason}" if reason else reference.detail
    return VolumeNetwork(run=reference.run(), detail=detail)


def _precision(entry: ManifestEntry) -> tuple[str, str]:
    """The precision to run at, and why not the one asked for."""
    if entry.runtime_precision != "bf16":
        return "f32", ""
    parity = entry.runtime_parity
    difference = parity.get("dice_difference")
    if parity.get("weights_sha256") != entry.sha256 or not isinstance(difference, int | float):
        return "f32", ", as bf16 was not tried on labelled cases with these weights"
    if not abs(difference) <= DICE_TOLERANCE:
        return "f32", f", as bf16 changes the Dice by {difference:.4f}"
    return ("bf16", "") if supports_bf16() else ("f32", ", as this CPU has no bf16")
