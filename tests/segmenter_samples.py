"""Tiny segmenters of every format a node reads, written to a folder, each with its part of a manifest entry."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

WINDOW = [16, 16, 16]
ROLES = ["T1", "T1CE", "T2", "FLAIR"]
#: Weight of each channel (rows: WT, TC, ET) in the sample networks that are one convolution of a voxel.
MIX = np.array([[0.2, -0.4, 0.6, 1.0], [0.5, 1.0, -0.5, 0.1], [-0.3, 1.2, 0.2, 0.3]], np.float32)


def write_torch(folder: Path) -> dict[str, Any]:
    import torch

    from pipeline.models.unet3d_network import build_unet3d
    from pipeline.models.unet3d_plan import NetworkPlan

    torch.manual_seed(0)
    architecture = {"base": 2, "stages": 3, "convolutions": 1}
    torch.save(build_unet3d(NetworkPlan(**architecture)).state_dict(), folder / "tiny.pth")
    return {"file": "tiny.pth", "format": "torch-state-dict", "architecture": architecture}


def nnunet_plans(class_name: str = "PlainConvUNet", **changes: Any) -> dict[str, Any]:
    """A plans.json as nnU-Net 2.5 writes it, of a network with three stages; `changes` to the 3D configuration."""
    depth = {"n_conv_per_stage": [2, 2, 2]} if class_name == "PlainConvUNet" else {"n_blocks_per_stage": [1, 2, 2]}
    configuration = {
        "data_identifier": "nnUNetPlans_3d_fullres",
        "batch_size": 2,
        "patch_size": WINDOW,
        "spacing": [1.0, 1.0, 1.0],
        "normalization_schemes": ["ZScoreNormalization"] * 4,
        "use_mask_for_norm": [True] * 4,
        "architecture": {
            "network_class_name": f"dynamic_network_architectures.architectures.unet.{class_name}",
            "arch_kwargs": {
                "n_stages": 3,
                "features_per_stage": [2, 4, 8],
                "conv_op": "torch.nn.modules.conv.Conv3d",
                "kernel_sizes": [[3, 3, 3]] * 3,
                "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2]],
                **depth,
                "n_conv_per_stage_decoder": [1, 1],
                "conv_bias": True,
                "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
                "norm_op_kwargs": {"eps": 1e-05, "affine": True},
                "dropout_op": None,
                "dropout_op_kwargs": None,
                "nonlin": "torch.nn.LeakyReLU",
                "nonlin_kwargs": {"inplace": True},
            },
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
    }
    return {
        "dataset_name": "Dataset137_BraTS",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {
            "2d": {"patch_size": [192, 160], "spacing": [1.0, 1.0]},
            "3d_fullres": configuration | changes,
        },
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {},
    }


REGION_DATASET = {
    "channel_names": {"0": "T1", "1": "T1ce", "2": "T2", "3": "Flair"},
    "labels": {"background": 0, "whole tumor": [1, 2, 3], "tumor core": [2, 3], "enhancing tumor": [3]},
    "regions_class_order": [1, 2, 3],
    "numTraining": 2,
    "file_ending": ".nii.gz",
}
LABEL_DATASET = REGION_DATASET | {"labels": {"background": 0, "NCR": 1, "ED": 2, "ET": 3}}


def write_nnunet(
    folder: Path,
    *,
    plans: Mapping[str, Any] | None = None,
    dataset: Mapping[str, Any] = REGION_DATASET,
    heads: int = 3,
    folds: int = 2,
    name: str = "nnUNetTrainer__nnUNetPlans__3d_fullres",
) -> dict[str, Any]:
    """A results folder with checkpoints as a trainer leaves them: figures of NumPy, the device, the optimiser."""
    import torch

    from pipeline.models.segmenter_nnunet_network import build_nnunet

    plans = plans or nnunet_plans()
    results = folder / name
    results.mkdir()
    (results / "plans.json").write_text(json.dumps(plans))
    (results / "dataset.json").write_text(json.dumps(dataset))
    architecture = plans["configurations"]["3d_fullres"]["architecture"]
    for fold in range(folds):
        torch.manual_seed(fold)
        network = build_nnunet(architecture["network_class_name"], architecture["arch_kwargs"], 4, heads)
        checkpoint = {
            "network_weights": network.state_dict(),
            "optimizer_state": {"state": {0: {"momentum_buffer": torch.zeros(2)}}, "param_groups": [{"lr": 0.01}]},
            "grad_scaler_state": {"scale": 65536.0},
            "logging": {"mean_fg_dice": [np.float64(0.5)], "train_losses": [np.float32(0.1)], "epoch": [1]},
            "_best_ema": np.float64(0.7),
            "current_epoch": 1000,
            "init_args": {"plans": plans, "configuration": "3d_fullres", "device": torch.device("cuda")},
            "trainer_name": "nnUNetTrainer",
            "inference_allowed_mirroring_axes": (0, 1, 2),
        }
        (results / f"fold_{fold}").mkdir()
        torch.save(checkpoint, results / f"fold_{fold}" / "checkpoint_final.pth")
    return {"file": name, "format": "nnunet-v2", "architecture": {}, "channels": [], "regions": [], "spacing_mm": None}


def save_torchscript(network: Any, path: Path) -> None:
    """Traced with a window of `WINDOW`, as an older PyTorch wrote it without a word of deprecation."""
    import torch

    trace: Any = torch.jit.trace
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        trace(network.eval(), torch.zeros((1, 4, *WINDOW))).save(str(path))


def write_torchscript(folder: Path, *, activated: bool = True) -> dict[str, Any]:
    """A traced convolution of one voxel, `MIX`, with its sigmoid."""
    import torch

    convolution = torch.nn.Conv3d(4, 3, 1, bias=False)
    with torch.no_grad():
        convolution.weight.copy_(torch.from_numpy(MIX)[:, :, None, None, None])
    network: Any = torch.nn.Sequential(convolution, torch.nn.Sigmoid()) if activated else convolution
    save_torchscript(network, folder / "tiny.pt")
    outputs = "sigmoid" if activated else "logits"
    return {"file": "tiny.pt", "format": "torchscript", "outputs": outputs, "architecture": {}}


def write_onnx(folder: Path, *, last: str = "Sigmoid", channels: int = 4) -> dict[str, Any]:
    """The same convolution as ONNX, ending in Sigmoid, Softmax or ArgMax ('' for bare logits)."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = MIX if last in ("Sigmoid", "") else np.concatenate([np.zeros((1, 4), np.float32), MIX])
    weights = weights[:, :channels]
    nodes = [helper.make_node("Conv", ["image", "weights"], ["logits" if last else "answer"])]
    if last:
        extra = {"axis": 1} | ({"keepdims": 0} if last == "ArgMax" else {}) if last != "Sigmoid" else {}
        nodes.append(helper.make_node(last, ["logits"], ["answer"], **extra))
    kind = TensorProto.INT64 if last == "ArgMax" else TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, channels, "i", "j", "k"])],
        [helper.make_tensor_value_info("answer", kind, None)],
        [numpy_helper.from_array(np.ascontiguousarray(weights[:, :, None, None, None]), "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save_model(model, folder / "tiny.onnx")
    part: dict[str, Any] = {"file": "tiny.onnx", "format": "onnx-segmenter", "architecture": {}}
    if last in ("Softmax", "ArgMax"):
        part |= {"regions": [], "label_map": {"1": "ED", "2": "NCR", "3": "ET"}}
    return part | {"outputs": {"": "logits", "Sigmoid": "sigmoid", "Softmax": "softmax", "ArgMax": "labels"}[last]}


#: One line for each kind of file: its name here, and what writes a tiny segmenter of that kind.
SAMPLES: Mapping[str, Callable[[Path], dict[str, Any]]] = {
    "torch-state-dict": write_torch,
    "nnunet-v2, regions": write_nnunet,
    "nnunet-v2, labels": lambda folder: write_nnunet(folder, dataset=LABEL_DATASET, heads=4, folds=1),
    "torchscript": write_torchscript,
    "onnx, sigmoid": write_onnx,
    "onnx, softmax": lambda folder: write_onnx(folder, last="Softmax"),
    "onnx, labels": lambda folder: write_onnx(folder, last="ArgMax"),
}


def manifest_entry(part: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """A manifest entry, without its sha256, of what a writer above returned."""
    common: dict[str, Any] = {
        "name": "sample",
        "task": "segmentation",
        "version": "3",
        "input_size": WINDOW,
        "channels": ROLES,
        "regions": ["WT", "TC", "ET"],
        "spacing_mm": 1.0,
    }
    return {key: value for key, value in (common | dict(part) | changes).items() if value is not None}
