"""What is shipped to install the node with: checked as far as it goes without a container engine or a cluster."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from typer.main import get_command

from dicom_node.cli import application
from dicom_node.config import ENVIRONMENT_PREFIX, NodeConfig, load_config

DEPLOY = Path(__file__).resolve().parents[3] / "deploy"
MANIFESTS = list(yaml.safe_load_all((DEPLOY / "kubernetes/node.yaml").read_text()))
UNITS = ("tumor-node.service", "tumor-node@.service")


def commands() -> set[str]:
    return set(get_command(application()).commands)  # type: ignore[attr-defined]


def is_setting(name: str) -> bool:
    """True where BTN_A__B names a key of the configuration."""
    section, _, key = name.removeprefix(ENVIRONMENT_PREFIX).lower().partition("__")
    field = NodeConfig.model_fields.get(section)
    if field is None or not key:
        return field is not None
    return key in field.annotation.model_fields  # type: ignore[union-attr]


def pods() -> Iterator[dict[str, Any]]:
    for manifest in MANIFESTS:
        if manifest["kind"] in ("Deployment", "StatefulSet"):
            yield manifest["spec"]["template"]["spec"]


@pytest.mark.parametrize("path", [p for p in sorted(DEPLOY.rglob("*")) if p.is_file()], ids=lambda p: p.name)
def test_every_variable_is_a_setting(path: Path) -> None:
    assert {name for name in re.findall(r"\bBTN_[A-Z_]+", path.read_text()) if not is_setting(name)} == set()


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda m: f"{m['kind']}-{m['metadata']['name']}")
def test_manifests_follow_the_schema(manifest: dict[str, Any]) -> None:
    kubernetes_validate.validate(manifest, "1.32", strict=True)


def test_pods_run_commands_that_exist_without_privileges() -> None:
    names = []
    released = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())["project"]["version"]
    for pod in pods():
        (container,) = pod["containers"]
        names.append(container["args"][0])
        assert container["image"] == f"brain-tumor-node:{released}"
        assert pod["securityContext"]["runAsNonRoot"]
        assert not pod["automountServiceAccountToken"]
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"]
        assert not security["allowPrivilegeEscalation"]
        assert security["capabilities"] == {"drop": ["ALL"]}
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}
    assert names == ["receive", "work", "web"]
    assert set(names) <= commands()


def test_the_configuration_of_the_manifests_is_one_the_node_takes(tmp_path: Path) -> None:
    (config,) = (m["data"]["config.yaml"] for m in MANIFESTS if m["kind"] == "ConfigMap")
    (tmp_path / "config.yaml").write_text(config)
    loaded = load_config(tmp_path / "config.yaml")
    ports = {port["containerPort"] for pod in pods() for c in pod["containers"] for port in c.get("ports", [])}
    assert ports == {loaded.node.port, loaded.web.port}


def test_the_network_policy_lets_nothing_out_but_dns_rows_and_pacs() -> None:
    (policy,) = (m["spec"] for m in MANIFESTS if m["kind"] == "NetworkPolicy")
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    assert [[port["port"] for port in rule["ports"]] for rule in policy["egress"]] == [[53, 53], [5432], [104]]
    assert all("to" in rule for rule in policy["egress"][1:])


def test_compose_runs_the_three_parts_of_one_image_locked_down() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    for name in ("receive", "work", "web"):
        service = compose["services"][name]
        words = " ".join([*service.get("entrypoint", []), *service.get("command", [])])
        assert re.search(rf"\b{name} --config", words)
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
    assert compose["services"]["web"]["ports"] == ["127.0.0.1:8000:8000"]  # never plain HTTP to the network
    used = {volume.split(":")[0] for s in compose["services"].values() for volume in s.get("volumes", [])}
    assert {name for name in used if not name.startswith(".")} == set(compose["volumes"])
    destination = yaml.safe_load(compose["services"]["work"]["environment"]["BTN_DESTINATIONS"])
    assert NodeConfig(destinations=destination).destinations[0].ae_title == "ORTHANC"


def test_the_image_is_built_from_files_that_exist_and_runs_as_nobody_special() -> None:
    lines = re.sub(r"\\\n\s*", "", (DEPLOY / "Dockerfile").read_text()).splitlines()
    root = DEPLOY.parent
    ignored = set((root / ".dockerignore").read_text().split())
    for line in lines:
        if line.startswith("COPY") and "--from" not in line:
            for source in line.split()[1:-1]:
                assert (root / source).exists(), source
                assert source not in ignored
    users = [line.split()[1] for line in lines if line.startswith("USER")]
    assert users == ["10001:10001"]
    install = next(line for line in lines if "torch==" in line)
    assert "--constraint constraints.txt" in install
    assert re.search(r"torch==([\d.]+)", install)[1] in (root / "pyproject.toml").read_text()  # type: ignore[index]


@pytest.mark.parametrize("unit", UNITS)
def test_units_are_ones_systemd_takes(unit: str, tmp_path: Path, debian_tool: Callable[[str], str]) -> None:
    analyze = debian_tool("systemd-analyze")
    text = (DEPLOY / "systemd" / unit).read_text()
    # The program is not installed where the unit says; what else systemd has to object to is wanted here.
    (tmp_path / unit).write_text(text.replace("/opt/tumor-node/.venv/bin/tumor-node", "/bin/true"))
    name = unit.replace("@", "@receive")
    command = [analyze, "verify", "--man=no", f"./{name}" if "@" in name else unit]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    ours = [line for line in done.stderr.splitlines() if "tumor-node" in line]
    assert ours == []
    exposure = subprocess.run(
        [analyze, "security", "--offline=true", str(DEPLOY / "systemd" / unit)], capture_output=True, text=True
    )
    level = re.search(r"exposure level for .*: ([\d.]+)", exposure.stdout)
    assert level is not None
    assert float(level[1]) < 2.5
