"""Segmenting one 240 x 240 x 155 study: the node's way against plain PyTorch, each in a process of its own.

`python -m benchmarks.segmentation --data DATA [--case NAME] [--models models] [--threads 2]`

The study is a labelled case of DATA/mri3d/full put back into BraTS's full field of view. The node's way: channels on
the brain's own grid, OpenVINO, windows, label map on the study's grid; 'reference' is the same by PyTorch. Plain: the
same network by PyTorch eager at 1 mm (and, for comparison, at its own voxel size) over the whole field of view, windows
half over each other, Gaussian weights. Seconds are of that work alone, without imports, loading and the finding of the
brain; CPU seconds do not mind what else the machine does. Memory is each process's highest, all included.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry import resample, resample_array
from pipeline.grids import box_grid, field_of_view_mm
from pipeline.intensity import zscore_in_mask
from pipeline.label_map import labels_on_grid
from pipeline.models.manifest import ManifestEntry, read_manifest
from pipeline.models.protocols import no_progress
from pipeline.models.runtime_options import RuntimeOptions
from pipeline.models.segmenter_loading import load_segmenter
from pipeline.models.training.volume_cases import load_packed_case
from pipeline.preparation import prepare
from pipeline.process_memory import peak_memory_mb
from pipeline.report import REGION_LABELS, Region
from pipeline.stages import region_probabilities, segmentation_of
from pipeline.volume import CHANNEL_ORDER, FloatArray, Grid, LabelArray, SeriesRole, Volume

FULL = (240, 240, 155)
WAYS = ("node", "reference", "plain-1mm", "plain-own")


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with mri3d/full")
    parser.add_argument("--case", default="BraTS2021_00495")
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--cache", type=Path, default=None, help="of converted networks; by default made anew")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", choices=("f32", "bf16"), default=None, help="default: the manifest's")
    parser.add_argument("--skip", action="append", default=[], choices=WAYS, help="leave a way out")
    parser.add_argument("--way", choices=WAYS, default=None, help="one way alone, in this process")
    parser.add_argument("--out", type=Path, default=None, help="where --way writes its labels and figures")
    given = parser.parse_args(words)
    if given.way:
        _one_way(given)
        return
    with TemporaryDirectory() as temporary:
        cache = given.cache or Path(temporary) / "cache"
        found = {way: _apart(given, way, Path(temporary), cache) for way in WAYS if way not in given.skip}
    truth = _study(given.data, given.case)[1]
    print(f"{given.case}, {' x '.join(map(str, FULL))}, {given.threads} threads, {found['node'][0]['runtime']}")
    print(f"{'way':<10} {'s':>7} {'x':>6} {'CPU s':>7} {'x':>6} {'MB':>6}   Dice to truth WT / TC / ET   to the node's")
    ours, labels = found["node"]
    for way, (figures, answer) in found.items():
        print(
            f"{way:<10} {figures['seconds']:7.1f} {figures['seconds'] / ours['seconds']:6.1f} "
            f"{figures['cpu_seconds']:7.1f} {figures['cpu_seconds'] / ours['cpu_seconds']:6.1f} "
            f"{figures['peak_mb']:6.0f}   {_dices(answer, truth):<26}   {_dices(answer, labels)}"
        )


def _apart(given: argparse.Namespace, way: str, folder: Path, cache: Path) -> tuple[dict[str, Any], LabelArray]:
    out = folder / way
    command = [sys.executable, "-m", "benchmarks.segmentation", "--data", given.data, "--case", given.case]
    command += ["--models", given.models, "--threads", str(given.threads), "--cache", cache, "--way", way, "--out", out]
    command += ["--precision", given.precision] if given.precision else []
    subprocess.run(command, check=True)
    return json.loads(out.with_suffix(".json").read_text()), np.load(out.with_suffix(".npy"))


def _one_way(given: argparse.Namespace) -> None:
    volumes, _ = _study(given.data, given.case)
    values = next(entry for entry in read_manifest(given.models) if entry["task"] == "segmentation")
    entry = ManifestEntry.from_json(values)
    if given.way in ("node", "reference"):
        if given.precision:
            tried = {"weights_sha256": entry.sha256, "dice_difference": 0.0}
            entry = replace(entry, runtime_precision=given.precision, runtime_parity=tried)
        options = RuntimeOptions(cache=given.cache, threads=given.threads)
        runtime = "openvino" if given.way == "node" else "reference"
        segmenter = load_segmenter(replace(entry, runtime=runtime), given.models, options)
        study = prepare(volumes, no_progress)
        started = (time.perf_counter(), time.process_time())
        labels = segmentation_of(*region_probabilities(segmenter, study, no_progress), study, segmenter.identity).labels
        runtime = segmenter.runtime_detail
    else:
        assert entry.spacing_mm is not None
        network = _torch_network(entry, given.models, given.threads)
        started = (time.perf_counter(), time.process_time())
        labels = _plain(network, volumes, 1.0 if given.way == "plain-1mm" else entry.spacing_mm)
        runtime = "torch eager"
    figures = {
        "seconds": time.perf_counter() - started[0],
        "cpu_seconds": time.process_time() - started[1],
        "peak_mb": peak_memory_mb(),
        "runtime": runtime,
    }
    np.save(given.out.with_suffix(".npy"), labels)
    given.out.with_suffix(".json").write_text(json.dumps(figures))


def _study(data: Path, case: str) -> tuple[dict[SeriesRole, Volume], LabelArray]:
    """The case's four volumes and labels with air around them, as BraTS publishes them."""
    folder = data / "mri3d" / "full" / case
    arrays = load_packed_case(folder)
    affine = np.array(json.loads((folder / "meta.json").read_text())["affine"], np.float64)
    before = [(full - side) // 2 for full, side in zip(FULL, arrays["seg"].shape, strict=True)]
    affine[:3, 3] -= affine[:3, :3] @ before
    inside = tuple(slice(n, n + side) for n, side in zip(before, arrays["seg"].shape, strict=True))

    def put_back(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
        full = np.zeros(FULL, np.uint8)
        full[inside] = array
        return full

    grid = Grid(shape=FULL, affine=affine)
    volumes = {
        role: Volume(voxels=put_back(arrays[role.value.lower()]).astype(np.float32), grid=grid)
        for role in CHANNEL_ORDER
    }
    return volumes, put_back(arrays["seg"])


def _torch_network(entry: ManifestEntry, models: Path, threads: int) -> Any:
    import torch

    from pipeline.models.unet3d_network import build_unet3d
    from pipeline.models.unet3d_plan import NetworkPlan
    from pipeline.models.unet3d_weights import fill_network, read_weights

    torch.set_num_threads(threads)
    network = build_unet3d(NetworkPlan.from_mapping(entry.architecture)).eval()
    path = models / entry.file
    fill_network(entry, path, network, read_weights(entry, path))
    return network


def _plain(network: Any, volumes: dict[SeriesRole, Volume], spacing_mm: float) -> LabelArray:
    """The textbook way: the whole field of view in RAS, 128^3 windows half over each other."""
    import torch

    reference = volumes[SeriesRole.T1CE]
    low, high = field_of_view_mm(reference.grid)
    grid = box_grid(low, high, spacing_mm)
    brain = resample_array((reference.voxels > 0).astype(np.float32), reference.grid, grid) > 0.5
    image = np.stack([zscore_in_mask(resample(volumes[role], grid).voxels, brain) for role in CHANNEL_ORDER])
    shape = image.shape[1:]
    sides = [max(side, 128) for side in shape]
    padded = np.zeros((4, *sides), np.float32)
    padded[:, : shape[0], : shape[1], : shape[2]] = image
    axis = torch.exp(-0.5 * ((torch.arange(128) - 63.5) / 16) ** 2)
    weights = (axis[:, None, None] * axis[None, :, None] * axis[None, None, :]).clamp_min(1e-3)
    total, seen = torch.zeros((3, *sides)), torch.zeros(sides)
    starts = [[*range(0, side - 128, 64), side - 128] for side in sides]
    with torch.inference_mode():
        for i in starts[0]:
            for j in starts[1]:
                for k in starts[2]:
                    part = torch.from_numpy(padded[:, i : i + 128, j : j + 128, k : k + 128].copy())
                    total[:, i : i + 128, j : j + 128, k : k + 128] += network(part[None])[0] * weights
                    seen[i : i + 128, j : j + 128, k : k + 128] += weights
    inside = (slice(None), *(slice(0, side) for side in shape))
    probabilities: FloatArray = torch.sigmoid(total / seen)[inside].numpy()
    return labels_on_grid(probabilities, grid, reference.grid)


def _dices(answer: LabelArray, other: LabelArray) -> str:
    found = []
    for region in Region:
        one, two = (np.isin(labels, REGION_LABELS[region]) for labels in (answer, other))
        size = int(one.sum()) + int(two.sum())
        found.append(f"{2 * int((one & two).sum()) / size:.4f}" if size else "-")
    return " / ".join(found)


if __name__ == "__main__":
    main()
