from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from pipeline.models.training.volume_cache import cached_cases
from pipeline.models.training.volume_calibration import (
    CaseVoxels,
    calibrated,
    calibration_figures,
    expected_calibration_error,
    fit_temperature,
    fold_temperatures,
)
from pipeline.models.training.volume_cases import TrainingCase
from pipeline.models.training.volume_mirror import midline_sum, mirrored_cases
from pipeline.models.training.volume_mixing import carve_into, with_fluid_core, without_enhancement
from pipeline.models.training.volume_stacks import load_stack, stack_folders, stack_grid
from pipeline.models.unet3d_network import build_unet3d
from pipeline.models.unet3d_plan import NetworkPlan
from pipeline.volume import SeriesRole

SIDE = 24


def _case(tumour: slice, kind: str = "full") -> TrainingCase:
    """A brain symmetric about voxel 11.5, brighter to the front, with a cube of tumour."""
    brain = np.zeros((SIDE, SIDE, SIDE), np.bool_)
    brain[2:22, 4:20, 4:20] = True
    distance = np.abs(np.arange(SIDE) - 11.5)[:, None, None] / 10
    values = np.where(brain, 1.0 + distance + np.arange(SIDE)[None, :, None] / 50, 0.0)
    image = np.stack([values] * 4).astype(np.float16)
    regions = np.zeros((3, SIDE, SIDE, SIDE), np.uint8)
    regions[:, tumour, 8:14, 8:14] = 1
    image[3][regions[0] > 0] = 5
    return TrainingCase(
        name="case",
        kind=kind,
        image=image,
        present=np.ones(4, np.bool_),
        regions=regions,
        known=np.ones(3, np.bool_),
        spacing_mm=(1.0, 1.0, 1.0),
    )


def test_the_midline_is_where_the_brain_is_symmetric() -> None:
    assert abs(midline_sum(_case(slice(4, 6)).image) - 23) <= 1


def test_a_one_sided_tumour_gives_a_brain_without_one() -> None:
    (made,) = mirrored_cases([_case(slice(4, 9))], seed=1)
    assert (made.kind, made.name) == ("mirrored", "case-mirrored")
    assert not made.regions.any()
    # The tumour's place now shows the healthy side, shaded by some tenths.
    assert made.image[3].max() < 4
    assert (made.image[0, 4:9, 8:14, 8:14] != 0).all()


def test_a_tumour_over_the_midline_gives_none() -> None:
    assert mirrored_cases([_case(slice(9, 15))], seed=1) == []


def _patch(value: float) -> tuple[torch.Tensor, torch.Tensor]:
    image = torch.full((4, SIDE, SIDE, SIDE), value)
    image[:, :4] = 0
    return image, torch.zeros((3, SIDE, SIDE, SIDE))


def test_a_carved_tumour_brings_its_labels_and_keeps_to_the_brain() -> None:
    image, regions = _patch(1.0)
    donor, donor_regions = _patch(-2.0)
    donor_regions[0, 2:12, 8:14, 8:14] = 1
    mixed, labels = carve_into(image, regions, donor, donor_regions)
    assert (mixed[:, 6, 10, 10] == -2).all()
    assert (mixed[:, 20, 20, 20] == 1).all()
    assert not mixed[:, :4].any()
    assert labels[0, 6, 10, 10] == 1
    assert not labels[0, :4].any()


def test_enhancement_taken_away_leaves_core_that_looks_like_t1() -> None:
    random = np.random.default_rng(0)
    texture = torch.from_numpy(random.normal(size=(SIDE, SIDE, SIDE)).astype(np.float32))
    image = torch.stack([texture, texture.clone(), texture, texture])
    regions = torch.zeros((3, SIDE, SIDE, SIDE))
    regions[:, 8:14, 8:14, 8:14] = 1
    image[1, 8:14, 8:14, 8:14] += 4
    plain, labels = without_enhancement(image, regions, random)
    assert abs(float((plain[1] - plain[0])[8:14, 8:14, 8:14].mean())) < 0.5
    assert torch.equal(plain[0], image[0])
    assert not labels[2].any()
    assert torch.equal(labels[:2], regions[:2])


def test_fluid_keeps_to_the_core_that_does_not_enhance() -> None:
    image, regions = _patch(0.5)
    regions[:2, 8:18, 8:18, 8:18] = 1
    regions[2, 8:18, 8:18, 14:18] = 1
    wet = with_fluid_core(image, regions, np.random.default_rng(3))
    core = (regions[1] > 0) & (regions[2] == 0)
    assert wet[2][core].mean() > image[2][core].mean()
    assert wet[0][core].mean() < image[0][core].mean()
    assert torch.equal(wet[:, ~core & (regions[2] > 0)], image[:, ~core & (regions[2] > 0)])
    assert not wet[:, :4].any()


def test_stacks_lie_as_their_rule_says(tmp_path: Path) -> None:
    folder = tmp_path / "lgg_stacks" / "train" / "patient"
    folder.mkdir(parents=True)
    mosaic = np.zeros((2 * 16, 2 * 16), np.uint8)
    mosaic[3, 5] = 200
    Image.fromarray(mosaic).save(folder / "flair.webp", lossless=True)
    Image.fromarray((mosaic > 0).astype(np.uint8)).save(folder / "wt.png")
    meta = {"shape": [16, 16, 4], "tiles": [2, 2], "modalities": ["flair"], "labels": {"wt": [0, 1]}}
    (folder / "meta.json").write_text(json.dumps(meta))
    assert stack_folders(tmp_path, "train") == [folder]
    volumes, tumour = load_stack(folder)
    assert volumes[SeriesRole.FLAIR].voxels[3, 5, 0] == 200
    assert np.argwhere(tumour).tolist() == [[3, 5, 0]]
    grid = stack_grid((128, 128, 32))
    assert np.allclose(grid.spacing_mm, (1.875, 1.875, 5.0))
    # A row further is further back, a column further is further to the left, a slice further is higher.
    assert np.allclose(grid.affine[:3, :3] @ [1, 1, 1], (-1.875, -1.875, 5.0))


def test_prepared_cases_are_kept_as_they_are(tmp_path: Path) -> None:
    made = [_case(slice(4, 9)), _case(slice(5, 6), "extra")]
    path = tmp_path / "prepared.npz"
    first = cached_cases(path, lambda: made)
    again = cached_cases(path, lambda: [])
    for cases in (first, again):
        assert [case.kind for case in cases] == ["full", "extra"]
        assert np.array_equal(cases[0].image, made[0].image)
        assert cases[1].spacing_mm == (1.0, 1.0, 1.0)


def _voxels(seed: int, temperature: float) -> CaseVoxels:
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (3, 20000))
    truth = random.random(logits.shape) < 1 / (1 + np.exp(-logits))
    told = (1 / (1 + np.exp(-logits * temperature))).astype(np.float32)
    return CaseVoxels(name=str(seed), probabilities=told, truth=truth, near=np.ones(20000, np.bool_))


def test_calibration_finds_the_temperature_and_mends_the_error() -> None:
    cases = [_voxels(seed, 2.0) for seed in (1, 2)]
    assert abs(fit_temperature(cases, 0) - 2.0) < 0.1
    assert expected_calibration_error(cases[0].probabilities[0], cases[0].truth[0]) > 0.04
    assert expected_calibration_error(calibrated(cases[0].probabilities[0], 2.0), cases[0].truth[0]) < 0.015
    figures = calibration_figures(cases)["WT"]
    assert float(str(figures["ece"])) < float(str(figures["ece_before"]))


def test_folded_temperatures_divide_the_logits() -> None:
    torch.manual_seed(0)
    network = build_unet3d(NetworkPlan(base=2, stages=2)).eval()
    torch.nn.init.normal_(network.heads[0].bias)
    image = torch.randn((1, 4, 8, 8, 8))
    with torch.inference_mode():
        before = network(image)
        fold_temperatures(network, {"WT": 2.0, "TC": 1.0, "ET": 0.5})
        after = network(image)
    assert torch.allclose(after[0, 0], before[0, 0] / 2, atol=1e-5)
    assert torch.allclose(after[0, 1], before[0, 1], atol=1e-5)
    assert torch.allclose(after[0, 2], before[0, 2] * 2, atol=1e-5)
