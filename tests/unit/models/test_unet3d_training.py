from __future__ import annotations

import argparse
import csv
import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.errors import InvalidVolume
from pipeline.models.manifest import ManifestEntry, read_manifest
from pipeline.models.training.release import register
from pipeline.models.training.volume_card import render_card
from pipeline.models.training.volume_cases import (
    TrainingCase,
    load_packed_case,
    load_training_case,
    load_training_cases,
    ras_spacing,
    regions_of,
    to_ras,
)
from pipeline.models.training.volume_extra import load_extra_case, masked_case
from pipeline.models.training.volume_loss import deep_loss, region_loss
from pipeline.models.training.volume_patches import PatchSampler
from pipeline.models.training.volume_release import export_weights
from pipeline.models.training.volume_training import (
    Trainer,
    averaged_network,
    command_line,
    parse_arguments,
    parse_shares,
)
from pipeline.models.unet3d import load_torch_segmenter
from pipeline.models.unet3d_network import build_unet3d
from pipeline.models.unet3d_plan import NetworkPlan
from pipeline.volume import Grid, SeriesRole, Volume

SIDE = 20


def _pack(folder: Path, arrays: dict[str, np.ndarray], affine: list[list[float]]) -> Path:
    folder.mkdir(parents=True)
    i, j, k = next(iter(arrays.values())).shape
    columns = 4
    for name, array in arrays.items():
        mosaic = np.zeros((-(-k // columns) * i, columns * j), np.uint8)
        for number in range(k):
            row, column = divmod(number, columns)
            mosaic[row * i : (row + 1) * i, column * j : (column + 1) * j] = array[:, :, number]
        suffix = "png" if name.startswith("seg") else "webp"
        Image.fromarray(mosaic).save(folder / f"{name}.{suffix}", lossless=True)
    labels = {name: [0, 1] for name in arrays if name.startswith("seg")}
    modalities = [name for name in arrays if not name.startswith("seg")]
    meta = {"shape": [i, j, k], "tiles": [-(-k // columns), columns], "affine": affine, "modalities": modalities}
    (folder / "meta.json").write_text(json.dumps(meta | ({"labels": labels} if labels else {})))
    return folder


def _arrays(seed: int = 0, modalities: tuple[str, ...] = ("t1", "t1ce", "t2", "flair")) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    arrays = {}
    for name in modalities:
        arrays[name] = np.zeros((SIDE, SIDE, SIDE), np.uint8)
        arrays[name][3:17, 3:17, 3:17] = random.integers(40, 200, (14, 14, 14))
    arrays["seg"] = np.zeros((SIDE, SIDE, SIDE), np.uint8)
    arrays["seg"][5:10, 5:10, 5:10] = 2
    arrays["seg"][6:9, 6:9, 6:9] = 1
    arrays["seg"][7, 7, 6:9] = 4
    return arrays


LPS = [[-1.0, 0, 0, 50], [0, -1.0, 0, 80], [0, 0, 1.0, -10], [0, 0, 0, 1]]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    full = tmp_path / "data" / "mri3d" / "full"
    _pack(full / "case_a", _arrays(0), LPS)
    _pack(full / "BraTS2021_00003", _arrays(1), LPS)
    partial = tmp_path / "data" / "mri3d" / "partial"
    _pack(partial / "PARTIAL_two", _arrays(2, ("t1ce", "flair")), LPS)
    _pack(partial / "NOSEG_c", {name: a for name, a in _arrays(3).items() if name != "seg"}, LPS)
    return tmp_path / "data"


def _case(data: Path) -> TrainingCase:
    case = load_training_case(data / "mri3d" / "full" / "case_a")
    assert case is not None
    return case


def test_packed_case_is_read_voxel_by_voxel(data: Path) -> None:
    arrays = load_packed_case(data / "mri3d" / "full" / "case_a")
    for name, array in _arrays(0).items():
        assert np.array_equal(arrays[name], array)


def test_axes_are_turned_to_right_front_up(data: Path) -> None:
    regions = _case(data).regions
    assert np.array_equal(regions, regions_of(_arrays(0)["seg"])[:, ::-1, ::-1])


def test_turning_exchanges_axes_and_their_spacing() -> None:
    affine = np.array([[0, 0, 3.0, 0], [-1.0, 0, 0, 0], [0, 2.0, 0, 0], [0, 0, 0, 1]])
    array = np.arange(24).reshape(1, 2, 3, 4)
    turned = to_ras(array, affine)
    assert turned.shape == (1, 4, 2, 3)
    assert turned[0, 3, 0, 1] == array[0, 1, 1, 3]
    assert ras_spacing(affine) == (3.0, 1.0, 2.0)


def test_image_is_standardised_inside_the_brain(data: Path) -> None:
    image = _case(data).image.astype(np.float32)
    inside = image[:, 3:17, 3:17, 3:17].reshape(4, -1)
    assert np.allclose(inside.mean(axis=1), 0, atol=2e-3)
    assert np.allclose(inside.std(axis=1), 1, atol=2e-3)
    assert not image[:, :3].any()


def test_a_three_is_core() -> None:
    assert regions_of(np.array([[[0, 1, 2, 3, 4]]], np.uint8))[:, 0, 0].tolist() == [
        [0, 1, 1, 1, 1],
        [0, 1, 0, 1, 1],
        [0, 0, 0, 0, 1],
    ]


def test_validation_cases_are_held_out_and_unlabelled_ones_left_out(data: Path) -> None:
    training, validation = load_training_cases(data)
    assert sorted(case.name for case in training) == ["PARTIAL_two", "case_a"]
    assert [case.name for case in validation] == ["BraTS2021_00003"]


def test_data_without_a_full_case_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="four modalities"):
        load_training_cases(tmp_path)


def test_patches_repeat_with_the_seed_and_differ_without(data: Path) -> None:
    cases, _ = load_training_cases(data)
    first, again, other = (PatchSampler(cases, 16, np.random.default_rng(seed)) for seed in (1, 1, 2))
    drawn = [[sampler.draw(1.0) for _ in range(6)] for sampler in (first, again, other)]
    assert all(
        torch.equal(a.image, b.image) and torch.equal(a.regions, b.regions) for a, b in zip(*drawn[:2], strict=True)
    )
    assert not all(torch.equal(a.image, b.image) for a, b in zip(drawn[0], drawn[2], strict=True))
    for patch in drawn[0]:
        assert patch.image.shape == (4, 16, 16, 16)
        assert torch.isfinite(patch.image).all()
        assert set(patch.regions.unique().tolist()) <= {0.0, 1.0}
        whole, core, enhancing = patch.regions
        assert (whole >= core).all()
        assert (core >= enhancing).all()


def test_a_plain_cut_is_the_case_itself(data: Path) -> None:
    class Plain(np.random.Generator):
        def random(self, *args: object, **kwargs: object) -> object:  # every augmentation's chance is missed
            return np.float64(0.99) if not args else np.full(args[0], 0.99)

    case = _case(data)
    sampler = PatchSampler([case], SIDE, Plain(np.random.PCG64(0)))
    image, regions = sampler._cut(case, np.full(3, (SIDE - 1) / 2), 1.0)
    assert torch.allclose(image, torch.from_numpy(case.image.astype(np.float32)), atol=1e-3)
    assert torch.equal(regions, torch.from_numpy(case.regions).float())


def test_patches_of_thick_slices_stay_within_the_head(data: Path) -> None:
    thick = replace(_case(data), spacing_mm=(1.0, 1.0, 8.0))
    sampler = PatchSampler([thick], 64, np.random.default_rng(4))
    for _ in range(300):
        centre = sampler._centre(0, 1.0)
        assert (centre >= 0).all()
        assert (centre <= np.array(thick.image.shape[1:]) - 1).all()
    assert all(sampler.draw(1.0).image.shape == (4, 64, 64, 64) for _ in range(20))


def test_unknown_regions_give_no_gradient() -> None:
    logits = torch.zeros((1, 3, 4, 4, 4), requires_grad=True)
    truth = torch.ones((1, 3, 4, 4, 4))
    region_loss(logits, truth, torch.tensor([[1.0, 0.0, 0.0]])).backward()
    assert logits.grad is not None
    assert logits.grad[:, 0].abs().sum() > 0
    assert logits.grad[:, 1:].abs().sum() == 0


def test_loss_falls_from_wrong_to_right_and_ends_at_nothing() -> None:
    truth = torch.zeros((1, 3, 8, 8, 8))
    truth[:, :, 2:5, 2:5, 2:5] = 1
    weights = torch.ones((1, 3))
    right, wrong = (truth - 0.5) * 40, (0.5 - truth) * 40
    assert region_loss(right, truth, weights) < 1e-3
    assert region_loss(wrong, truth, weights) > 10
    assert deep_loss([right, torch.nn.functional.avg_pool3d(right, 2)], truth, weights) < deep_loss(
        [wrong, torch.nn.functional.avg_pool3d(wrong, 2)], truth, weights
    )


def test_a_sure_false_piece_costs_more_than_its_share_of_a_patch_without_a_tumour() -> None:
    logits = torch.full((1, 3, 16, 16, 16), -20.0)
    logits[:, 0, :2, :2, :2] = 20.0
    logits.requires_grad_()
    nothing = torch.zeros((1, 3, 16, 16, 16))
    known = torch.tensor([[1.0, 0.0, 0.0]])
    loss = region_loss(logits, nothing, known)
    # 8 of 4096 voxels, each wrong by 20: 0.04 on average, and 8 of the 20 worst at a weight of 0.3.
    assert float(loss.detach()) == pytest.approx(20 * 8 / 4096 + 0.3 * 20 * 8 / 20, rel=1e-3)
    loss.backward()
    assert logits.grad is not None
    assert logits.grad[:, 1:].abs().sum() == 0


def test_shares_change_what_patches_come_from(data: Path) -> None:
    cases, _ = load_training_cases(data)
    sampler = PatchSampler(cases, 16, np.random.default_rng(0), {"full": 0.01, "two-channel": 0.99})
    two = [case.kind == "two-channel" for case in cases]
    assert sampler._probabilities[two].sum() == pytest.approx(0.99)


def test_shares_are_read_and_repeated_in_the_command() -> None:
    words = ["--data", "d", "--out", "o", "--schedule", "cosine", "--shares", "stack=0.3,mirrored=0.1"]
    arguments = parse_arguments(words)
    assert arguments.shares == {"stack": 0.3, "mirrored": 0.1}
    assert command_line(arguments).endswith("--schedule cosine --shares stack=0.3,mirrored=0.1")


@pytest.mark.parametrize("text", ["stick=0.3", "stack", "stack=2"])
def test_shares_that_cannot_be_meant_are_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=text):
        parse_shares(text)


def test_cosine_rate_falls_to_nothing(data: Path, tmp_path: Path) -> None:
    words = f"--data {data} --out {tmp_path / 'r'} --base 2 --stages 3 --patch 16 --batch 1 --float32".split()
    trainer = Trainer(parse_arguments([*words, "--steps", "4", "--schedule", "cosine"]))
    rates = []
    for step in range(5):
        trainer.step = step
        rates.append(trainer._decay())
    assert rates == pytest.approx([1.0, 0.85355, 0.5, 0.14645, 0.0], abs=1e-4)


def test_training_runs_resumes_and_its_weights_are_released(data: Path, tmp_path: Path) -> None:
    out, models = tmp_path / "run", tmp_path / "models"
    words = f"--data {data} --out {out} --base 2 --stages 3 --patch 16 --batch 1 --spacing-mm 1 --float32".split()
    Trainer(parse_arguments([*words, "--steps", "2"])).run()
    resumed = Trainer(parse_arguments([*words, "--steps", "3", "--resume"]))
    assert resumed.step == 2
    resumed.run()
    with (out / "curves.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["2", "3"]
    assert (out / "curves.png").stat().st_size > 0
    export_weights(averaged_network(out / "checkpoint.pt"), models / "tiny.pth")
    entry = {
        "name": "tiny",
        "task": "segmentation",
        "file": "tiny.pth",
        "version": "1",
        "format": "torch-state-dict",
        "input_size": [16, 16, 16],
        "regions": ["WT", "TC", "ET"],
        "channels": ["T1", "T1CE", "T2", "FLAIR"],
        "spacing_mm": 1.0,
        "architecture": {"base": 2, "stages": 3},
    }
    register(models, entry)
    load_torch_segmenter(ManifestEntry.from_json(read_manifest(models)[0]), models)


def test_two_runs_of_one_seed_are_equal(data: Path, tmp_path: Path) -> None:
    weights = []
    for name in ("one", "two"):
        words = f"--data {data} --out {tmp_path / name} --base 2 --stages 3 --patch 16 --steps 2 --float32".split()
        Trainer(parse_arguments(words)).run()
        weights.append(averaged_network(tmp_path / name / "checkpoint.pt").state_dict())
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_weights_too_large_for_half_precision_are_not_exported(tmp_path: Path) -> None:
    network = build_unet3d(NetworkPlan(base=2, stages=2))
    with torch.no_grad():
        network.heads[0].bias.fill_(1e6)
    with pytest.raises(ValueError, match="half precision"):
        export_weights(network, tmp_path / "a.pth")


def _nifti_case(folder: Path, label_shift_mm: float = 0.0) -> Path:
    folder.mkdir()
    side = 80
    axes = np.indices((side, side, side)) * 2.0
    ball = np.linalg.norm(axes - 80.0, axis=0) < 60
    labels = np.zeros(ball.shape, np.uint8)
    labels[30:36, 30:36, 30:36] = 2
    labels[32:34, 32:34, 32:34] = 4
    affine = np.diag([-2.0, -2.0, 2.0, 1.0])
    for number, word in enumerate(("t1", "t1ce", "t2", "flair")):
        image = np.where(ball, 300 + 50 * number + 100 * (labels == 2) + axes[0] / 10, 0).astype(np.int16)
        nib.save(nib.Nifti1Image(image, affine), folder / f"x_{word}.nii")
    affine[0, 3] = label_shift_mm
    nib.save(nib.Nifti1Image(labels, affine), folder / "x_seg.nii")
    return folder


def test_extra_case_is_cropped_to_the_brain_and_turned(tmp_path: Path) -> None:
    case = load_extra_case(_nifti_case(tmp_path / "x"))
    assert (case.kind, case.spacing_mm, case.known.all()) == ("extra", (2.0, 2.0, 2.0), True)
    assert case.image.shape[1] < 80
    assert [int(region.sum()) for region in case.regions] == [216, 8, 8]
    centre = np.argwhere(case.regions[0]).mean(axis=0) - (np.array(case.regions.shape[1:]) - 1) / 2
    assert (centre[:2] > 5).all()
    assert centre[2] < -5


def test_extra_labels_on_another_grid_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidVolume, match="not on the grid"):
        load_extra_case(_nifti_case(tmp_path / "x", label_shift_mm=4.0))


def test_a_run_can_begin_with_the_weights_of_another(data: Path, tmp_path: Path) -> None:
    words = f"--data {data} --base 2 --stages 3 --patch 16 --batch 1 --spacing-mm 1 --float32".split()
    Trainer(parse_arguments([*words, "--out", str(tmp_path / "a"), "--steps", "2"])).run()
    start = tmp_path / "a" / "checkpoint.pt"
    begun = Trainer(parse_arguments([*words, "--out", str(tmp_path / "b"), "--start-from", str(start), "--steps", "4"]))
    assert (begun.step, begun.seconds, begun.best) == (2, 0.0, -1.0)
    earlier = torch.load(start, weights_only=True)["network"]
    assert all(torch.equal(value, earlier[name]) for name, value in begun.network.state_dict().items())


def test_a_run_can_begin_with_released_weights(data: Path, tmp_path: Path) -> None:
    network = build_unet3d(NetworkPlan(base=2, stages=3))
    export_weights(network, tmp_path / "released.pth")
    words = f"--data {data} --out {tmp_path / 'b'} --base 2 --stages 3 --patch 16 --batch 1 --spacing-mm 1 --float32"
    begun = Trainer(parse_arguments([*words.split(), "--start-from", str(tmp_path / "released.pth"), "--steps", "1"]))
    for one in (begun.network, begun.average):
        for name, value in network.state_dict().items():
            assert torch.equal(one.state_dict()[name], value.half().float())
    assert (begun.step, begun.best) == (0, -1.0)
    begun.run()
    assert begun.step == 1


def test_training_sees_the_brain_mask_that_the_node_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = Grid(shape=(12, 12, 12), affine=np.diag([2.0, 2.0, 2.0, 1.0]))
    random = np.random.default_rng(0)
    volumes = {
        role: Volume(voxels=random.uniform(1, 2, grid.shape).astype(np.float32), grid=grid)
        for role in (SeriesRole.T1CE, SeriesRole.FLAIR)
    }
    asked = []

    def best(series: object) -> np.ndarray:
        asked.extend(series)  # type: ignore[call-overload]
        mask = np.zeros(grid.shape, np.uint8)
        mask[2:10, 2:10, 2:10] = 1
        return mask

    monkeypatch.setattr("pipeline.models.training.volume_extra.best_brain_mask", best)
    labels = np.zeros(grid.shape, np.uint8)
    labels[4:6, 4:6, 4:6] = 2
    case = masked_case("a", "stack", volumes, labels, core_known=False)
    assert asked == [volumes[SeriesRole.FLAIR], volumes[SeriesRole.T1CE]]
    assert case.image.shape == (4, 8, 8, 8)


def test_card_names_what_is_weak() -> None:
    good = {"dice": 0.95, "hd95_mm": 2.0, "volume_error_ml": 1.0, "volume_error_percent": 3.0, "volume_ml": 10.0}
    good |= {"truth_volume_ml": 11.0, "false_volume_ml": None}
    weak = good | {"dice": 0.3}
    mean = {**good, "cases": 1, "cases_without": 0}
    volumes = {
        "cases": [{"case": "c1", "regions": {"WT": good, "TC": weak, "ET": good}, "answer": None, "not_scored": None}],
        "mean": {"WT": mean, "TC": mean | {"dice": 0.3}, "ET": mean},
    }
    patient = {"case": "p1", "roles": ["FLAIR"], "dice": 0.7, "volume_ml": 1.0, "truth_volume_ml": 2.0}
    stack = {"cases": [patient], "patients": 1, "mean_dice": 0.7, "median_dice": 0.7}
    head = {"case": "h1", "seen": "never seen", "roles": ["T1"], "false_volume_ml": 0.31}
    calibration = {
        "temperature": 1.2,
        "cross_entropy_before": 0.3,
        "cross_entropy": 0.2,
        "ece_before": 0.05,
        "ece": 0.021,
        "ece_brain": 0.001,
        "dice_at": {"0.5": 0.9},
    }
    figures = {
        "volumes": volumes,
        "stacks": {"val": stack},
        "heads": {"cases": [head], "clean": {"never seen": {"heads": 1, "clean": 0}}},
        "calibration": {"WT": calibration},
    }
    architecture = {"in_channels": 4, "base": 16, "stages": 5, "max_channels": 320}
    entry = {"name": "n", "version": "1", "date": "2026-11-23", "architecture": architecture, "spacing_mm": 1.5}
    entry["channels"] = ["T1", "T1CE", "T2", "FLAIR"]
    state = {"step": 10, "cases": {"phantoms": 2}, "command": "run it"}
    card = render_card(entry, figures, state, size_mb=11.3)
    assert "- c1: TC 0.30." in card
    assert "TC: mean Dice 0.300" in card
    assert "WT: mean Dice" not in card
    assert "Stacks, val: mean WT Dice 0.700, aimed at 0.80." in card
    assert "| h1 | never seen | T1 | 0.31 |" in card
    assert "0 of 1 clean, aimed at 95 %" in card
    assert "| WT | 1.200 | 0.300 | 0.200 | 0.050 | 0.021 | 0.001 | 0.900 |" in card
    assert "run it" in card
