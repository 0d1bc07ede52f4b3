"""TorchScript segmenters: one file with network and weights."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.errors import ModelUnusable
from pipeline.models.manifest import ManifestEntry, verified_file
from pipeline.models.segmenter_entry import foreign_plan
from pipeline.models.segmenter_formats import Opened, Reference
from pipeline.models.segmenter_windowed import REPLACE, SegmenterPlan

#: Operations of TorchScript that reach files. All else it can say are sums over tensors.
_FORBIDDEN = ("aten::save", "aten::load", "aten::from_file")
_NAMESPACES = ("aten", "prim", "quantized", "profiler")


def open_torchscript(entry: ManifestEntry, folder: Path, threads: int = 0) -> Opened:
    """See `segmenter_formats.open_segmenter`.

    Raises:
        ModelUnusable: the entry's declarations do not go together; missing file, other hash.
    """
    plan = foreign_plan(entry)
    path = verified_file(entry, folder)
    # Converted, it takes windows of this one size.
    design = "x".join(map(str, plan.tiling.window))
    return Opened(plan=plan, reference=partial(_reference, entry, path, plan, threads), design=design)


def _reference(entry: ManifestEntry, path: Path, plan: SegmenterPlan, threads: int) -> Reference:
    import torch

    load: Any = torch.jit.load  # not annotated there
    from pipeline.models.segmenter_torch import TorchReference

    try:
        with warnings.catch_warnings():
            # PyTorch advises against writing TorchScript from now on; hospitals' files are written.
            warnings.simplefilter("ignore", DeprecationWarning)
            script = load(str(path), map_location="cpu")
    except (RuntimeError, ValueError, OSError, EOFError) as error:
        raise ModelUnusable(entry.name, f"{entry.file} is damaged or no TorchScript file", REPLACE) from error
    reaching = sorted(set(_foreign_operations(script.inlined_graph)))
    if reaching:
        reason = f"{entry.file} does more than arithmetic ({', '.join(reaching[:3])})"
        raise ModelUnusable(entry.name, reason, "Save the network alone, without input or output of files")
    if not all(bool(torch.isfinite(value).all()) for value in script.state_dict().values()):
        raise ModelUnusable(entry.name, f"{entry.file} holds weights that are NaN or infinite", REPLACE)
    return TorchReference(
        network=script,
        channels=len(plan.channels),
        shape=plan.tiling.window,
        any_shape=False,
        kind="TorchScript",
        threads=threads,
    )


def _foreign_operations(graph: Any) -> Iterator[str]:
    for node in graph.nodes():
        kind = str(node.kind())
        if kind in _FORBIDDEN or kind.partition("::")[0] not in _NAMESPACES:
            yield kind
        for block in node.blocks():
            yield from _foreign_operations(block)
