"""Every key of a manifest entry: its default, its value, and the fault that is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import ModelUnusable
from pipeline.models.manifest import ManifestEntry, read_manifest
from pipeline.volume import CHANNEL_ORDER, SeriesRole

REPOSITORY = Path(__file__).resolve().parents[3]
PLAIN = {"name": "m", "task": "type", "file": "m.onnx", "sha256": "A" * 64, "version": "1", "format": "onnx-classifier"}
PLAIN |= {"input_size": 32, "classes": ["glioma", "notumor"]}


def entry(**changes: Any) -> ManifestEntry:
    return ManifestEntry.from_json(PLAIN | changes)


def test_an_entry_of_the_first_version_keeps_its_meaning() -> None:
    plain = entry()
    assert (plain.mode, plain.share, plain.ensemble, plain.acquisition) == ("active", 0.0, None, ())
    assert (plain.outputs, plain.layout, plain.channel_order) == ("probabilities", "NHWC", "grey")
    assert (plain.runtime, plain.runtime_file, plain.runtime_precision) == ("reference", None, "f32")
    assert plain.needs == CHANNEL_ORDER
    assert plain.own_classes == plain.mapped_classes == plain.classes
    assert plain.sha256 == "a" * 64


def test_the_shipped_manifest_is_read() -> None:
    for values in read_manifest(REPOSITORY / "models"):
        ManifestEntry.from_json(values)


def test_a_segmenter_needs_its_channels_unless_it_says_otherwise() -> None:
    assert entry(channels=["FLAIR", "T1CE"]).needs == (SeriesRole.T1CE, SeriesRole.FLAIR)
    assert entry(channels=["FLAIR", "T1CE"], needs=["FLAIR"]).needs == (SeriesRole.FLAIR,)


def test_classes_of_a_file_are_mapped_to_ours() -> None:
    found = entry(
        task="detection",
        classes=["notumor", "tumor"],
        output_classes=["glioma", "no", "meningioma"],
        class_map={"glioma": "tumor", "meningioma": "tumor", "no": "notumor"},
    )
    assert found.mapped_classes == ("tumor", "notumor", "tumor")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"mode": "maybe"}, "mode is 'maybe', not one of active, shadow, ab"),
        ({"mode": "ab"}, "share .* is not given"),
        ({"mode": "ab", "share": 1.5}, "share is 1.5"),
        ({"acquisition": ["4d"]}, "acquisition holds '4d', not 2d or 3d"),
        ({"acquisition": "2d"}, "acquisition is '2d', not a list"),
        ({"needs": []}, "needs is empty"),
        ({"needs": ["CT"]}, "'CT'"),
        ({"outputs": "votes"}, "outputs is 'votes'"),
        ({"layout": "HWC"}, "layout is 'HWC'"),
        ({"channel_order": "bgr"}, "channel_order is 'bgr'"),
        ({"label_map": {"one": "WT"}}, "label 'one'"),
        ({"label_map": {"1": 3}}, "label_map is no mapping"),
        ({"mean": [0.5]}, "mean has 1 values and std 0"),
        ({"mean": [0.5], "std": [0]}, "std is .0.0., not above 0"),
        ({"mean": ["a"], "std": [1]}, "wrong value"),
        ({"input_range": [0, 1, 2]}, "input_range has 3 values"),
        ({"input_size": None}, "input_size"),
        ({"allow_lambda_sha256": "12"}, "allow_lambda_sha256 is not 64 hex digits"),
        ({"runtime": "tensorrt"}, "runtime is 'tensorrt'"),
        ({"runtime_sha256": 5}, "runtime_sha256 is not"),
        ({"runtime_precision": "int8"}, "runtime_precision is 'int8'"),
        ({"runtime_parity": 3}, "wrong value"),
        ({"classes": "glioma"}, "classes is 'glioma', not a list"),
        ({"output_classes": ["a", "b"]}, "do not cover exactly"),
        ({"output_classes": ["glioma", "glioma", "notumor"]}, "do not cover exactly"),
        ({"class_map": ["glioma"]}, "class_map is no mapping"),
    ],
)
def test_a_fault_is_named(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ModelUnusable, match=f"model 'm': .*{says}"):
        entry(**change)
