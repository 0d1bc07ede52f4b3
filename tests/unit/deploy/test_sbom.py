"""The parts list names what is installed, by the versions that are locked."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dicom_node.cli import application
from dicom_node.sbom import bill_of_materials

REPOSITORY = Path(__file__).resolve().parents[3]
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def bill() -> dict[str, Any]:
    return bill_of_materials(REPOSITORY / "models", REPOSITORY / "web/static/vendor", NOW)


def locked() -> dict[str, str]:
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    pins = (line.partition("==") for line in lines if "==" in line and not line.startswith("#"))
    return {name.strip().lower().replace("_", "-").replace(".", "-"): version.strip() for name, _, version in pins}


def test_every_package_has_the_version_that_is_locked(bill: dict[str, Any]) -> None:
    packages = {one["name"]: one["version"] for one in bill["components"] if one["type"] == "library"}
    assert {"pydicom", "pynetdicom", "sqlalchemy", "torch", "fastapi"} <= packages.keys()
    assert "pytest" not in packages  # asked for by tests alone
    pins = locked()
    # Torch is chosen by the one who installs: CPU or CUDA, so its build tag is not locked.
    differing = {name: v for name, v in packages.items() if name in pins and pins[name] != v.partition("+")[0]}
    assert differing == {}
    assert {name for name in packages if name not in pins} <= {"torch", "setuptools", "wheel"}


def test_it_has_the_form_of_cyclonedx(bill: dict[str, Any]) -> None:
    assert (bill["bomFormat"], bill["specVersion"], bill["version"]) == ("CycloneDX", "1.6", 1)
    assert bill["metadata"]["component"]["name"] == "brain-tumor-node"
    refs = [one["bom-ref"] for one in bill["components"]]
    assert len(set(refs)) == len(refs)
    known = {*refs, bill["metadata"]["component"]["bom-ref"]}
    for one in bill["dependencies"]:
        assert one["ref"] in known
        assert known.issuperset(one["dependsOn"])
    for one in bill["components"]:
        assert one["type"] in ("library", "machine-learning-model", "file")
        for licence in one.get("licenses", ()):
            assert set(licence) in ({"expression"}, {"license"})


def test_models_and_scripts_have_their_hashes(bill: dict[str, Any]) -> None:
    hashed = {one["name"]: one["hashes"][0]["content"] for one in bill["components"] if one["type"] != "library"}
    manifest = json.loads((REPOSITORY / "models/manifest.json").read_text())["models"]
    assert hashed.items() >= {entry["name"]: entry["sha256"] for entry in manifest}.items()
    assert {"htmx.min.js", "niivue.umd.js"} <= hashed.keys()


def test_the_same_installation_gives_the_same_list(bill: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "sbom.json"
    done = CliRunner().invoke(application(), ["sbom", "--out", str(out), "--models", str(REPOSITORY / "models")])
    assert done.exit_code == 0, done.output
    again = json.loads(out.read_text())
    assert again["serialNumber"] == bill["serialNumber"]
    assert again["components"] == bill["components"]
