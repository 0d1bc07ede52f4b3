"""The parts list of this installation as CycloneDX 1.6: packages, model files, and scripts of the page."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Iterator
from datetime import datetime
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

PACKAGE = "brain-tumor-node"
_SPEC = "1.6"


def bill_of_materials(models: Path, vendored: Path, made_at: datetime) -> dict[str, Any]:
    """What the node is made of, as installed. models: the folder with manifest.json. vendored: of scripts in the page.

    The same installation gives the same components in the same order, and the same serial number.

    Raises:
        PackageNotFoundError: the node itself is not installed. OSError: a file cannot be read.
    """
    reached = dict(_reached(PACKAGE))
    found = {name: reached[name] for name in sorted(reached)}
    root = _component(found.pop(_key(PACKAGE)), "application")
    packages = {name: _component(one, "library") for name, one in found.items()}
    files = [*_models(models), *_scripts(vendored)]
    components = [*packages.values(), *files]
    refs = {name: component["bom-ref"] for name, component in packages.items()}
    dependencies = [
        {"ref": ref, "dependsOn": sorted(refs[key] for key in _needs(one) if key in refs)}
        for ref, one in [(root["bom-ref"], distribution(PACKAGE)), *((refs[name], one) for name, one in found.items())]
    ]
    dependencies[0]["dependsOn"] = sorted({*dependencies[0]["dependsOn"], *(file["bom-ref"] for file in files)})
    told = json.dumps([root, components], sort_keys=True)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": _SPEC,
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, hashlib.sha256(told.encode()).hexdigest())}",
        "version": 1,
        "metadata": {"timestamp": made_at.isoformat(), "component": root},
        "components": components,
        "dependencies": dependencies,
    }


def _reached(name: str) -> Iterator[tuple[str, Distribution]]:
    """Every installed package that `name` asks for, by whatever way; extras only where they are asked for."""
    waiting, seen = [Requirement(name)], set[tuple[str, str]]()
    while waiting:
        requirement = waiting.pop()
        try:
            one = distribution(requirement.name)
        except PackageNotFoundError:
            continue  # asked for by a marker of another platform, or optional
        for extra in ("", *requirement.extras):
            if (_key(requirement.name), extra) not in seen:
                seen.add((_key(requirement.name), extra))
                waiting += _requirements(one, extra)
        yield _key(requirement.name), one


def _requirements(one: Distribution, extra: str = "") -> list[Requirement]:
    asked = [Requirement(text) for text in one.requires or ()]
    return [each for each in asked if each.marker is None or each.marker.evaluate({"extra": extra})]


def _needs(one: Distribution) -> set[str]:
    return {_key(requirement.name) for requirement in _requirements(one)}


def _key(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _component(one: Distribution, kind: str) -> dict[str, Any]:
    name = _key(one.metadata["Name"])
    purl = f"pkg:pypi/{name}@{one.version}"
    made: dict[str, Any] = {"type": kind, "bom-ref": purl, "name": name, "version": one.version, "purl": purl}
    licences = _licences(one)
    return made | ({"licenses": licences} if licences else {})


def _licences(one: Distribution) -> list[dict[str, Any]]:
    """As the package declares it: an SPDX expression, else its classifiers, else the first line of its text."""
    if expression := _said(one, "License-Expression"):
        return [{"expression": expression}]
    classifiers = [text for text in one.metadata.get_all("Classifier") or () if text.startswith("License :: ")]
    if classifiers:
        return [{"license": {"name": text.rpartition(" :: ")[2]}} for text in classifiers]
    lines = _said(one, "License").strip().splitlines()
    return [{"license": {"name": lines[0][:100]}}] if lines else []


def _said(one: Distribution, key: str) -> str:
    return next(iter(one.metadata.get_all(key) or ()), "")


def _models(folder: Path) -> Iterator[dict[str, Any]]:
    for entry in json.loads((folder / "manifest.json").read_bytes())["models"]:
        yield {
            "type": "machine-learning-model",
            "bom-ref": f"model:{entry['name']}@{entry['version']}",
            "name": entry["name"],
            "version": entry["version"],
            "hashes": [{"alg": "SHA-256", "content": entry["sha256"]}],
        }


def _scripts(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob("*.js")):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        yield {
            "type": "file",
            "bom-ref": f"file:{path.name}",
            "name": path.name,
            "hashes": [{"alg": "SHA-256", "content": digest}],
        }
