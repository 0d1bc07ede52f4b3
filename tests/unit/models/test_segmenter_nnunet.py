from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.errors import ModelUnusable
from pipeline.models.manifest import ManifestEntry, file_sha256
from pipeline.models.segmenter_loading import load_segmenter
from pipeline.models.segmenter_nnunet_network import build_nnunet
from pipeline.models.segmenter_windowed import WindowedSegmenter
from pipeline.volume import Grid, SeriesRole
from tests.segmenter_samples import LABEL_DATASET, REGION_DATASET, manifest_entry, nnunet_plans, write_nnunet

CHECKPOINT = "checkpoint_final.pth"


def _entry(folder: Path, part: dict[str, Any], **changes: Any) -> ManifestEntry:
    values = manifest_entry(part, **changes)
    return ManifestEntry.from_json(values | {"sha256": file_sha256(folder / values["file"])})


def _load(folder: Path, part: dict[str, Any], **changes: Any) -> WindowedSegmenter:
    return load_segmenter(_entry(folder, part, **changes), folder)


def _image(shape: tuple[int, int, int] = (16, 16, 16)) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(4, *shape)).astype(np.float32)


def _grid(shape: tuple[int, int, int] = (16, 16, 16)) -> Grid:
    return Grid(shape=shape, affine=np.eye(4))


def _own_logits(folder: Path, image: np.ndarray, heads: int, folds: int) -> np.ndarray:
    """What the checkpoints say, read and run without the loader."""
    results = next(folder.glob("nnUNetTrainer*"))
    architecture = json.loads((results / "plans.json").read_text())["configurations"]["3d_fullres"]["architecture"]
    answers = []
    for fold in range(folds):
        checkpoint = torch.load(results / f"fold_{fold}" / CHECKPOINT, weights_only=False)
        network = build_nnunet(architecture["network_class_name"], architecture["arch_kwargs"], 4, heads).eval()
        network.load_state_dict(checkpoint["network_weights"], strict=True)
        with torch.inference_mode():
            answers.append(network(torch.from_numpy(image.copy())[None])[0].numpy())
    return np.mean(answers, axis=0)


@pytest.mark.parametrize("class_name", ["PlainConvUNet", "ResidualEncoderUNet"])
def test_regions_of_two_folds_on_arrays_as_simpleitk_lays_them(tmp_path: Path, class_name: str) -> None:
    segmenter = _load(tmp_path, write_nnunet(tmp_path, plans=nnunet_plans(class_name)))
    image = _image()
    # A BraTS file runs to the left, back and top; SimpleITK's array starts with the last of these.
    seen = np.flip(image.transpose(0, 3, 2, 1), (2, 3))
    logits = np.flip(_own_logits(tmp_path, seen, 3, 2), (2, 3)).transpose(0, 3, 2, 1)
    np.testing.assert_allclose(segmenter.segment(image, _grid()), 1 / (1 + np.exp(-logits)), atol=1e-5)
    assert segmenter.intensities == "brain-zscore"
    assert "2 folds" in segmenter.runtime_detail


def test_labels_by_softmax_and_the_orientation_of_the_entry(tmp_path: Path) -> None:
    part = write_nnunet(tmp_path, dataset=LABEL_DATASET, heads=4, folds=1)
    segmenter = _load(tmp_path, part, orientation="RAS")
    image = _image()
    shares = np.exp(_own_logits(tmp_path, image, 4, 1))
    ncr, ed, et = (shares / shares.sum(axis=0))[1:]
    np.testing.assert_allclose(segmenter.segment(image, _grid()), [ncr + ed + et, ncr + et, et], atol=1e-5)


def test_channels_in_the_datasets_order(tmp_path: Path) -> None:
    dataset = REGION_DATASET | {"channel_names": {"0": "FLAIR", "1": "t1n", "2": "t2w", "3": "T1Gd"}}
    segmenter = _load(tmp_path, write_nnunet(tmp_path, dataset=dataset, folds=1), orientation="RAS")
    image = _image()
    logits = _own_logits(tmp_path, image[[3, 0, 2, 1]], 3, 1)
    np.testing.assert_allclose(segmenter.segment(image, _grid()), 1 / (1 + np.exp(-logits)), atol=1e-5)


def test_names_that_say_nothing_are_declared(tmp_path: Path) -> None:
    dataset = LABEL_DATASET | {
        "channel_names": {str(number): "MRI" for number in range(4)},
        "labels": {"background": 0, "a": 1, "b": 2, "c": 3},
    }
    part = write_nnunet(tmp_path, dataset=dataset, heads=4, folds=1)
    with pytest.raises(ModelUnusable, match="do not tell which series"):
        _load(tmp_path, part)
    channels = [role.value for role in SeriesRole]
    with pytest.raises(ModelUnusable, match="declare label_map"):
        _load(tmp_path, part, channels=channels)
    assert _load(tmp_path, part, channels=channels, label_map={"1": "ED", "2": "NCR", "3": "ET"})


def test_plans_of_before_the_architecture_key_mean_the_same(tmp_path: Path) -> None:
    plans = nnunet_plans()
    part = write_nnunet(tmp_path, plans=plans, folds=1)
    before = _load(tmp_path, part).segment(_image(), _grid())
    configuration = plans["configurations"]["3d_fullres"]
    del configuration["architecture"]
    configuration |= {
        "UNet_class_name": "PlainConvUNet",
        "UNet_base_num_features": 2,
        "unet_max_num_features": 320,
        "n_conv_per_stage_encoder": [2, 2, 2],
        "n_conv_per_stage_decoder": [1, 1],
        "pool_op_kernel_sizes": [[1, 1, 1], [2, 2, 2], [2, 2, 2]],
        "conv_kernel_sizes": [[3, 3, 3]] * 3,
    }
    (tmp_path / part["file"] / "plans.json").write_text(json.dumps(plans))
    np.testing.assert_array_equal(_load(tmp_path, part).segment(_image(), _grid()), before)


def test_thick_slices_are_resampled_inside(tmp_path: Path) -> None:
    plans = nnunet_plans(spacing=[3.0, 1.0, 1.0])
    segmenter = _load(tmp_path, write_nnunet(tmp_path, plans=plans, folds=1))
    assert segmenter.spacing_mm == 1.0
    answer = segmenter.segment(_image((20, 18, 30)), _grid((20, 18, 30)))
    assert answer.shape == (3, 20, 18, 30)
    # Three voxels along the patient's axis were one for the network.
    assert (
        np.abs(np.diff(answer[:, 8:12, 8:12, 8:22], n=2, axis=3)).mean()
        < np.abs(np.diff(answer[:, 8:12, 8:22, 8:12], n=2, axis=2)).mean()
    )


@pytest.mark.parametrize(
    ("scheme", "masked", "given", "expected"),
    [
        ("ZScoreNormalization", False, "head", lambda c: (c - c.mean()) / c.std()),
        ("RescaleTo01Normalization", False, "head", lambda c: (c - c.min()) / (c.max() - c.min())),
        ("NoNormalization", True, "head", lambda c: c),
        ("CTNormalization", False, "head", lambda c: (np.clip(c, -1.0, 1.0) - 0.5) / 2.0),
    ],
)
def test_other_normalisations_start_from_the_head_as_scanned(
    tmp_path: Path, scheme: str, masked: bool, given: str, expected: Callable[[np.ndarray], np.ndarray]
) -> None:
    plans = nnunet_plans(normalization_schemes=[scheme] * 4, use_mask_for_norm=[masked] * 4)
    statistics = {"mean": 0.5, "std": 2.0, "percentile_00_5": -1.0, "percentile_99_5": 1.0}
    plans["foreground_intensity_properties_per_channel"] = {str(number): statistics for number in range(4)}
    part = write_nnunet(tmp_path, plans=plans, folds=1)
    segmenter = _load(tmp_path, part, orientation="RAS")
    assert segmenter.intensities == given
    assert _load(tmp_path, part, intensities="brain").intensities == "brain"
    image = _image()
    logits = _own_logits(tmp_path, np.stack([expected(channel) for channel in image]).astype(np.float32), 3, 1)
    np.testing.assert_allclose(segmenter.segment(image, _grid()), 1 / (1 + np.exp(-logits)), atol=1e-4)


def test_mirroring_as_the_checkpoint_allows_it(tmp_path: Path) -> None:
    part = write_nnunet(tmp_path, folds=1)
    plain, mirrored = _load(tmp_path, part), _load(tmp_path, part, mirror=True)
    assert not np.allclose(plain.segment(_image(), _grid()), mirrored.segment(_image(), _grid()))
    path = tmp_path / part["file"] / "fold_0" / CHECKPOINT
    torch.save(torch.load(path, weights_only=False) | {"inference_allowed_mirroring_axes": None}, path)
    with pytest.raises(ModelUnusable, match=f"mirror is set, but fold_0/{CHECKPOINT}"):
        _load(tmp_path, part, mirror=True)


def test_one_fold_may_be_chosen(tmp_path: Path) -> None:
    part = write_nnunet(tmp_path)
    one = _load(tmp_path, part, architecture={"folds": [1]}, orientation="RAS")
    image = _image()
    network_one = 2 * _own_logits(tmp_path, image, 3, 2) - _own_logits(tmp_path, image, 3, 1)
    np.testing.assert_allclose(one.segment(image, _grid()), 1 / (1 + np.exp(-network_one)), atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input_size": [16, 16, 32]}, r"input_size is \[16, 16, 32\], the patch_size of its plans \[16, 16, 16\]"),
        ({"spacing_mm": 1.5}, "spacing_mm is 1.5, the smallest of its plans 1.0"),
        ({"channels": ["T1CE", "T1", "T2", "FLAIR"]}, "dataset.json says .'T1', 'T1ce', 'T2', 'Flair'."),
        ({"regions": ["TC", "WT", "ET"]}, "dataset.json says .'whole tumor', 'tumor core', 'enhancing tumor'."),
        ({"architecture": {"configuration": "2d"}}, "configuration '2d' is not 3D"),
        ({"architecture": {"configuration": "3d_lowres"}}, "no configuration '3d_lowres', only 2d, 3d_fullres"),
        ({"architecture": {"fold": 0}}, "unknown keys .'fold'."),
        ({"architecture": {"folds": [0, 4]}}, f"fold_4/{CHECKPOINT} is missing"),
        ({"architecture": {"checkpoint": "../x.pth"}}, "no checkpoint_"),
        ({"architecture": {"checkpoint": "best.pth"}}, "no checkpoint_"),
        ({"architecture": {"folds": ["../other"]}}, "no fold numbers"),
        ({"architecture": {"folds": 0}}, "no fold numbers"),
    ],
)
def test_an_entry_that_contradicts_its_folder(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelUnusable, match=message):
        _load(tmp_path, write_nnunet(tmp_path, folds=1), **changes)


def test_regions_that_do_not_lie_in_each_other(tmp_path: Path) -> None:
    labels = {"background": 0, "whole tumor": [2, 3], "tumor core": [1, 2, 3], "enhancing tumor": [3]}
    with pytest.raises(ModelUnusable, match="do not lie in each other"):
        _load(tmp_path, write_nnunet(tmp_path, dataset=REGION_DATASET | {"labels": labels}, folds=1))


@pytest.mark.parametrize("missing", ["plans.json", "dataset.json", f"fold_1/{CHECKPOINT}"])
def test_a_part_that_is_missing_is_named(tmp_path: Path, missing: str) -> None:
    part = write_nnunet(tmp_path)
    (tmp_path / part["file"] / missing).unlink()
    with pytest.raises(ModelUnusable, match=f"{missing} is missing"):
        _load(tmp_path, part)


def test_a_fold_of_another_network_or_training_is_named(tmp_path: Path) -> None:
    part = write_nnunet(tmp_path)
    path = tmp_path / part["file"] / "fold_1" / CHECKPOINT
    mine = torch.load(path, weights_only=False)
    torch.save(mine | {"init_args": {"configuration": "3d_lowres"}}, path)
    with pytest.raises(ModelUnusable, match="was trained for '3d_lowres', not for '3d_fullres'"):
        _load(tmp_path, part)
    (tmp_path / "other").mkdir()
    other = write_nnunet(tmp_path / "other", plans=nnunet_plans("ResidualEncoderUNet"), folds=1)
    path.write_bytes((tmp_path / "other" / other["file"] / "fold_0" / CHECKPOINT).read_bytes())
    with pytest.raises(ModelUnusable, match=f"{CHECKPOINT} has other weights: .* is missing"):
        _load(tmp_path, part)
    torch.save({"state": 1}, path)
    with pytest.raises(ModelUnusable, match=f"fold_1/{CHECKPOINT} is no checkpoint of nnU-Net v2"):
        _load(tmp_path, part)


def test_one_weight_with_two_values_is_refused(tmp_path: Path) -> None:
    part = write_nnunet(tmp_path, folds=1)
    path = tmp_path / part["file"] / "fold_0" / CHECKPOINT
    content = torch.load(path, weights_only=False)
    name = "decoder.encoder.stages.0.0.convs.0.conv.weight"
    content["network_weights"][name] = content["network_weights"][name].clone() + 1
    torch.save(content, path)
    with pytest.raises(ModelUnusable, match=f"{name} are one weight and differ"):
        _load(tmp_path, part)


class _Payload:
    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, ...]:
        import os

        return os.mkdir, (self.folder,)


def test_a_checkpoint_that_carries_code_is_refused_and_nothing_runs(tmp_path: Path) -> None:
    part = write_nnunet(tmp_path, folds=1)
    path = tmp_path / part["file"] / "fold_0" / CHECKPOINT
    torch.save(torch.load(path, weights_only=False) | {"extra": _Payload(str(tmp_path / "ran"))}, path)
    with pytest.raises(ModelUnusable, match="more than weights"):
        _load(tmp_path, part)
    assert not (tmp_path / "ran").exists()


def test_the_folders_hash_is_what_coreutils_say(tmp_path: Path) -> None:
    import subprocess

    part = write_nnunet(tmp_path)
    command = f"cd {tmp_path / part['file']} && sha256sum dataset.json fold_*/checkpoint_*.pth plans.json | sha256sum"
    told = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True).stdout
    entry = _entry(tmp_path, part)
    assert told.split()[0] == entry.sha256
    (tmp_path / part["file"] / "progress.png").write_bytes(b"x")
    assert load_segmenter(entry, tmp_path).identity.weights_sha256 == entry.sha256
    swapped = replace(entry, architecture={"folds": [0]})
    (tmp_path / part["file"] / "fold_0" / CHECKPOINT).write_bytes(
        (tmp_path / part["file"] / "fold_1" / CHECKPOINT).read_bytes()
    )
    with pytest.raises(ModelUnusable, match="has SHA-256"):
        load_segmenter(swapped, tmp_path)
