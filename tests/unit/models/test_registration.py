"""`tumor-node models`: a file becomes a model of the node, or says why not and changes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dicom_node.cli import application
from pipeline.errors import ConversionFailed, ModelUnusable
from pipeline.models import optimise, registration
from pipeline.models.catalogue import load_models
from pipeline.models.manifest import file_sha256
from pipeline.models.optimise import manifest_values, optimised
from pipeline.models.registration import format_of, register_model
from pipeline.models.runtime_options import RuntimeOptions
from tests.tiny_onnx import tiny_onnx

VALUES = {"name": "ours", "task": "type", "version": "3", "format": "onnx-classifier", "input_size": 16}
VALUES |= {"classes": ["glioma", "meningioma", "notumor", "pituitary"]}


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)  # away from the repository's config.yaml
    tiny_onnx(tmp_path / "ours.onnx")
    return tmp_path / "ours.onnx"


def written(folder: Path) -> list[dict[str, Any]]:
    models: list[dict[str, Any]] = json.loads((folder / "manifest.json").read_text())["models"]
    return models


def test_a_file_is_copied_checked_and_entered(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    done = register_model(VALUES, folder, RuntimeOptions(), source=source)
    assert done.detail == "onnxruntime f32"
    assert done.values["file"] == "Classification/ours.onnx"
    assert written(folder)[0]["sha256"] == file_sha256(source)
    models, _ = load_models(folder)
    assert models.type_classifier is not None
    assert models.type_classifier.identity.name == "ours"


def test_a_file_below_the_models_folder_stays_where_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    (folder / "mine").mkdir(parents=True)
    tiny_onnx(folder / "mine" / "ours.onnx")
    assert register_model(VALUES, folder, RuntimeOptions(), source=folder / "mine" / "ours.onnx").values["file"] == (
        "mine/ours.onnx"
    )


@pytest.mark.parametrize(("change", "says"), [({"input_size": 20}, "takes"), ({"classes": ["a", "b"]}, "names 2")])
def test_a_file_that_does_not_fit_leaves_nothing_behind(
    source: Path, tmp_path: Path, change: dict[str, Any], says: str
) -> None:
    folder = tmp_path / "models"
    with pytest.raises(ModelUnusable, match=says):
        register_model(VALUES | change, folder, RuntimeOptions(), source=source)
    assert not [path for path in folder.rglob("*") if path.is_file()]


def test_another_file_of_the_same_name_is_not_overwritten(source: Path, tmp_path: Path) -> None:
    register_model(VALUES, tmp_path / "models", RuntimeOptions(), source=source)
    tiny_onnx(source, seed=2)
    with pytest.raises(FileExistsError):
        register_model(VALUES, tmp_path / "models", RuntimeOptions(), source=source)


def test_what_cannot_be_made_faster_is_entered_all_the_same(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> dict[str, Any]:
        raise ConversionFailed("ours", "an unknown layer")

    monkeypatch.setattr(registration, "optimised", fail)
    done = register_model(VALUES, tmp_path / "models", RuntimeOptions(), source=source)
    assert done.detail == "onnxruntime f32, nothing faster: an unknown layer"
    assert len(written(tmp_path / "models")) == 1


def test_what_an_optimiser_found_is_put_into_the_entry(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimise, "OPTIMISERS", {"onnx-classifier": f"{__name__}:find_runtime"})
    values = VALUES | {"file": source.name, "sha256": file_sha256(source)}
    assert optimised(values, source.parent, RuntimeOptions()) == values | {"runtime": "onnxruntime"}


def find_runtime(*_: Any) -> dict[str, Any]:
    return {"runtime": "onnxruntime"}


def test_an_unknown_name_is_told_the_known_ones(source: Path, tmp_path: Path) -> None:
    register_model(VALUES, tmp_path / "models", RuntimeOptions(), source=source)
    with pytest.raises(ModelUnusable, match=r"no entry of this name \(it has ours\)"):
        manifest_values(tmp_path / "models", "theirs")


@pytest.mark.parametrize(
    ("name", "task", "expected"),
    [
        ("a.keras", "type", "keras"),
        ("a.h5", "type", "keras-h5"),
        ("a.onnx", "detection", "onnx-classifier"),
        ("a.onnx", "segmentation", "onnx-segmenter"),
        ("a.pth", "segmentation", "torch-state-dict"),
        ("a.pt", "segmentation", "torchscript"),
        (".", "segmentation", "nnunet-v2"),
        ("a.bin", "type", ""),
    ],
)
def test_the_format_is_told_by_the_name(name: str, task: str, expected: str, tmp_path: Path) -> None:
    assert format_of(tmp_path / name, task) == expected


def run(*words: str) -> Any:
    return CliRunner().invoke(application(), ["models", *words])


def test_the_command_registers_lists_and_optimises(source: Path, tmp_path: Path) -> None:
    folder = str(tmp_path / "models")
    words = ["--task", "type", "--input-size", "16", "--classes", "pituitary,glioma,meningioma,notumor"]
    more = ["--set", 'output_classes=["glioma", "meningioma", "notumor", "pituitary"]', "--set", "layout=NHWC"]
    registered = run("register", str(source), *words, *more, "--models", folder)
    assert registered.exit_code == 0, registered.output
    assert "registered ours 1: onnxruntime f32" in registered.output
    (entry,) = written(tmp_path / "models")
    assert entry["classes"] == ["pituitary", "glioma", "meningioma", "notumor"]
    assert entry["output_classes"][0] == "glioma"
    assert entry["roles"] == ["T1CE", "FLAIR", "T1", "T2"]
    listed = run("list", "--load", "--models", folder)
    assert listed.exit_code == 0, listed.output
    assert "ours 1" in listed.output
    assert run("optimise", "--models", folder).output == "ours: runs as fast as it can\n"
    tiny_onnx(tmp_path / "models" / "Classification" / "ours.onnx", seed=2)
    broken = run("list", "--models", folder)
    assert broken.exit_code == 1
    assert "NOT USABLE" in broken.output
    assert run("register", "ours", "--version", "2", "--models", folder).exit_code == 0
    assert written(tmp_path / "models")[0]["version"] == "2"
    assert run("list", "--models", folder).exit_code == 0


def test_a_file_without_a_task_is_asked_for_it(source: Path, tmp_path: Path) -> None:
    done = run("register", str(source), "--models", str(tmp_path / "models"))
    assert "say with --task" in str(done.exception)
