"""The command line as a person or a script meets it: a process, its exit code, its words."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dicom_node.demo_pacs import DemoPacs
from tests.acceptance.nodes import REPOSITORY


def tumor_node(*arguments: str | Path, given: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dicom_node", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, input=given, cwd=REPOSITORY, timeout=280, check=False
    )


@pytest.fixture(scope="module")
def converted() -> None:
    """The shipped networks as a node's first start leaves them: commands take what is there and convert nothing."""
    load = "load_models(models_folder(None), runtime_options(configuration(None)))"
    names = {"dicom_node.commands.options": "configuration, models_folder", "dicom_node.node": "runtime_options"}
    names["pipeline.models.catalogue"] = "load_models"
    imports = "; ".join(f"from {module} import {what}" for module, what in names.items())
    code = f"{imports}; {load}"
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, timeout=280, check=True)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A case of two series, which is as many as the shipped segmenter needs: each further one has to be registered."""
    folder = tmp_path_factory.mktemp("cases")
    made = tumor_node("phantom", folder, "--nifti-cases", "1", "--seed", "4", "--spacing-mm", "2")
    assert made.returncode == 0, made.stderr
    (case,) = folder.iterdir()
    for role in ("t1", "t2"):
        (spare,) = case.glob(f"*_{role}.nii.gz")
        spare.unlink()
    return case


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"storage": {"root": str(tmp_path / "root")}}))
    return path


def test_help_names_every_command() -> None:
    told = tumor_node("--help").stdout
    for command in (
        "serve",
        "receive",
        "work",
        "web",
        "check",
        "doctor",
        "echo",
        "add-user",
        "phantom",
        "analyse",
        "evaluate",
    ):
        assert command in told


def test_a_wrong_key_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("node: {prot: 1}\n")
    ended = tumor_node("check", "--config", path)
    assert ended.returncode == 1
    assert "configuration-invalid" in ended.stderr
    assert "node.prot" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_wrong_usage_is_exit_code_2() -> None:
    assert tumor_node("analyse").returncode == 2


def test_check_lists_what_is_wrong_and_what_is_right(config: Path, tmp_path: Path) -> None:
    with DemoPacs(tmp_path / "pacs") as pacs:
        values = yaml.safe_load(config.read_text())
        there = {"name": "there", "ae_title": pacs.ae_title, "host": "127.0.0.1", "port": pacs.port}
        gone = {"name": "gone", "ae_title": "GONE", "host": "127.0.0.1", "port": 1}
        config.write_text(yaml.safe_dump({**values, "destinations": [there, gone]}))
        ended = tumor_node("check", "--quick", "--config", config)
        assert ended.returncode == 1
        lines = ended.stdout.splitlines()
        assert any(line.startswith("ok") and "destination there" in line for line in lines)
        assert any(line.startswith("WRONG") and "destination gone" in line for line in lines)
        assert any(line.startswith("ok") and "database" in line for line in lines)
        assert tumor_node("echo", "there", "--config", config).returncode == 0
        assert tumor_node("echo", "gone", "--config", config).returncode == 1
        unknown = tumor_node("echo", "nowhere", "--config", config)
        assert unknown.returncode == 1
        assert "configured: there, gone" in unknown.stderr


def test_add_user_once(config: Path) -> None:
    arguments = ("add-user", "ada", "--role", "admin", "--password-stdin", "--config", config)
    assert tumor_node(*arguments, given="correct horse battery\n").returncode == 0
    again = tumor_node(*arguments, given="correct horse battery\n")
    assert again.returncode == 1
    assert "has an account already" in again.stderr
    short = tumor_node("add-user", "bob", "--password-stdin", "--config", config, given="short\n")
    assert short.returncode == 1
    assert "account-refused" in short.stderr


@pytest.mark.usefixtures("converted")
def test_phantom_and_analyse_a_study_with_the_shipped_models(tmp_path: Path) -> None:
    made = tumor_node("phantom", tmp_path / "study", "--size", "small", "--seed", "3", "--vendor", "ge")
    assert made.returncode == 0, made.stderr
    ended = tumor_node("analyse", tmp_path / "study" / "dicom", "--out", tmp_path / "out")
    assert ended.returncode == 0, ended.stderr
    told = json.loads((tmp_path / "out" / "report.json").read_text())
    assert told["series_roles"]["missing"] == []
    assert not told["detection"]["skipped"]
    assert not told["segmentation"]["skipped"]
    assert (tmp_path / "out" / "sr.dcm").is_file()
    assert "For research" in ended.stdout


@pytest.mark.usefixtures("converted")
def test_analyse_nifti_named_by_role(case: Path, tmp_path: Path) -> None:
    ended = tumor_node("analyse", case, "--out", tmp_path / "out")
    assert ended.returncode == 0, ended.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "report.json",
        "report.html",
        "report.pdf",
        "segmentation.nii.gz",
    }


def test_analyse_says_what_an_empty_folder_lacks(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    ended = tumor_node("analyse", tmp_path / "empty", "--out", tmp_path / "out")
    assert ended.returncode == 1
    assert "input-unusable" in ended.stderr


@pytest.mark.usefixtures("converted")
def test_evaluate_volumes_on_labelled_cases(case: Path, tmp_path: Path) -> None:
    ended = tumor_node("evaluate", "volumes", case.parent, "--out", tmp_path / "out")
    assert ended.returncode == 0, ended.stderr
    figures = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert len(figures["cases"]) == 1
    assert "WT" in ended.stdout


@pytest.mark.usefixtures("converted")
def test_evaluate_slices_on_class_folders(tmp_path: Path, shared_data: Path) -> None:
    for name in ("glioma", "meningioma", "pituitary", "notumor", "tumor_unspecified"):
        (tmp_path / "slices" / name).mkdir(parents=True)
        for path in sorted((shared_data / "mri2d" / "val" / name).iterdir())[:4]:
            (tmp_path / "slices" / name / path.name).symlink_to(path)
    ended = tumor_node("evaluate", "slices", tmp_path / "slices", "--out", tmp_path / "out")
    assert ended.returncode == 0, ended.stderr
    assert "accuracy" in ended.stdout.lower()
    assert (tmp_path / "out" / "evaluation.json").is_file()
