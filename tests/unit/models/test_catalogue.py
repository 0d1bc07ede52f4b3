"""The catalogue: what is usable is loaded, what is not says why, and no framework is imported to check files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import ModelUnusable
from pipeline.models import catalogue
from pipeline.models.catalogue import check_models, load_models
from pipeline.models.manifest import ManifestEntry
from pipeline.models.runtime_options import RuntimeOptions
from pipeline.models.training.release import register
from pipeline.report import ModelIdentity

DETECTOR = {
    "name": "d",
    "task": "detection",
    "file": "d.bin",
    "version": "1",
    "format": "fake",
    "input_size": 224,
    "classes": ["notumor", "tumor"],
    "roles": ["T1CE", "FLAIR"],
}
KINDS = DETECTOR | {"name": "k", "task": "type", "file": "k.bin", "classes": ["glioma", "notumor"]}


class FakeClassifier:
    """A model without a framework: what a loader returns."""

    roles = ()
    input_size = 224
    threshold = 0.5

    def __init__(self, entry: ManifestEntry) -> None:
        self.identity = ModelIdentity(
            name=entry.name, version=entry.version, task=entry.task, weights_sha256=entry.sha256
        )
        self.classes = entry.classes

    def predict(self, slices: np.ndarray) -> np.ndarray:
        return np.full((len(slices), len(self.classes)), 1 / len(self.classes), np.float32)


def load_fake(entry: ManifestEntry, folder: Path, options: RuntimeOptions) -> FakeClassifier:
    content = (folder / entry.file).read_bytes()
    if content == b"bad":
        raise ModelUnusable(entry.name, "its bytes are bad", "Copy it again.")
    if content == b"crash":
        raise RuntimeError("the framework fell over")
    return FakeClassifier(entry)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(catalogue, "LOADERS", {**catalogue.LOADERS, "fake": f"{__name__}:load_fake"})
    return tmp_path


def add(folder: Path, values: dict[str, Any], content: bytes = b"good") -> None:
    (folder / values["file"]).write_bytes(content)
    register(folder, values)


def test_each_task_gets_its_model(folder: Path) -> None:
    add(folder, DETECTOR)
    add(folder, KINDS)
    models, statuses = load_models(folder)
    assert models.detector is not None
    assert models.detector.identity.name == "d"
    assert models.type_classifier is not None
    assert models.segmenter is None
    assert models.unavailable == {"segmentation": "manifest.json names no model for segmentation"}
    assert [(status.name, status.ok) for status in statuses] == [("d", True), ("k", True)]


@pytest.mark.parametrize(("content", "says"), [(b"bad", "its bytes are bad"), (b"crash", "RuntimeError: the frame")])
def test_a_model_that_fails_leaves_the_others_alone(folder: Path, content: bytes, says: str) -> None:
    add(folder, DETECTOR, content)
    add(folder, KINDS)
    models, statuses = load_models(folder)
    assert models.detector is None
    assert says in models.unavailable["detection"]
    assert models.type_classifier is not None
    assert [status.ok for status in statuses] == [False, True]
    assert statuses[0].detail == models.unavailable["detection"]


def test_the_second_of_a_task_serves_where_the_first_cannot(folder: Path) -> None:
    add(folder, DETECTOR, b"bad")
    add(folder, DETECTOR | {"name": "d2", "file": "d2.bin"})
    add(folder, DETECTOR | {"name": "d3", "file": "d3.bin"})
    models, statuses = load_models(folder)
    assert models.detector is not None
    assert models.detector.identity.name == "d2"
    assert "detection" not in models.unavailable
    assert [status.ok for status in statuses] == [False, True, True]
    assert "stands before it" in statuses[2].detail
    assert [installed.model.identity.name for installed in models.detectors] == ["d2", "d3"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"classes": ["tumor", "notumor"]}, "in this order"),
        ({"format": "onnx"}, "none this node reads"),
        ({"file": "../elsewhere.bin"}, "outside the models folder"),
        ({"temperature": 0}, "temperature"),
        ({"threshold": 1.5}, "threshold"),
        ({"roles": ["CT"]}, "'CT'"),
        ({"sha256": "12"}, "64 hex digits"),
        ({"sha256": "0" * 64}, "SHA-256"),
        ({"input_size": []}, "input_size"),
        ({"task": "cure"}, "not one of"),
        ({"version": None}, "lacks version"),
    ],
)
def test_each_fault_of_an_entry_is_named_alike_by_both_checks(folder: Path, change: dict[str, Any], says: str) -> None:
    add(folder, DETECTOR)
    written = json.loads((folder / "manifest.json").read_text())
    written["models"][0] |= change
    written["models"][0] = {key: value for key, value in written["models"][0].items() if value is not None}
    (folder / "manifest.json").write_text(json.dumps(written))
    models, loaded = load_models(folder)
    assert models.detector is None
    assert says in loaded[0].detail
    assert says in check_models(folder)[0].detail
    assert not loaded[0].ok


@pytest.mark.parametrize(("content", "says"), [(None, "there is no"), ("{", "cannot be read"), ("[]", "cannot be")])
def test_without_a_manifest_every_task_says_so(folder: Path, content: str | None, says: str) -> None:
    if content is not None:
        (folder / "manifest.json").write_text(content)
    models, statuses = load_models(folder)
    assert set(models.unavailable) == {"detection", "type", "segmentation"}
    assert all(says in reason for reason in models.unavailable.values())
    assert statuses == check_models(folder)
    assert not statuses[0].ok


def test_a_changed_file_is_noticed_although_hashes_are_remembered(folder: Path) -> None:
    add(folder, DETECTOR)
    assert check_models(folder)[0].ok
    (folder / "d.bin").write_bytes(b"other bytes")
    assert "SHA-256" in check_models(folder)[0].detail


def test_register_replaces_by_name_and_keeps_the_rest(folder: Path) -> None:
    add(folder, DETECTOR)
    add(folder, KINDS)
    add(folder, DETECTOR | {"version": "2"}, b"new")
    models = json.loads((folder / "manifest.json").read_text())["models"]
    assert [(model["name"], model["version"]) for model in models] == [("d", "2"), ("k", "1")]


def test_checking_and_importing_the_catalogue_loads_no_framework(folder: Path) -> None:
    add(folder, DETECTOR | {"format": "keras"})
    code = (
        "import sys, pathlib; from pipeline.models.catalogue import check_models; "
        f"assert check_models(pathlib.Path({str(folder)!r}))[0].ok; "
        "assert not {'tensorflow', 'keras', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
