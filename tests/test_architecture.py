"""The import table of docs/architecture.md, held to the code."""

from __future__ import annotations

import ast
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGES = ("dicom_node", "pipeline", "storage", "web")
COMPOSITION = (
    "node",
    "worker",
    "intake",
    "engine",
    "cli",
    "config",
    "supervisor",
    "demo",
    "offline",
    "doctor",
    "commands",
)

#: Folder or module -> what of ours it may import besides itself (prefixes). The most specific entry counts.
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "pipeline": (),
    "storage": (),
    "web": (
        "storage",
        "pipeline.report",
        "pipeline.anatomy",
        "pipeline.followup",
        "pipeline.followup_json",
        "pipeline.volume",
        "pipeline.overlay",
        "pipeline.nifti",
        "pipeline.errors",
    ),
    "dicom_node.errors": (),
    "dicom_node.result_kinds": (),
    "dicom_node.uids": (),
    "dicom_node.log_files": (),
    "dicom_node.logs": ("dicom_node.log_files",),
    "dicom_node.lean_process": (),
    "dicom_node.commitment": ("storage", "dicom_node.errors"),
    "dicom_node.inbound": (
        "storage",
        "pipeline.volume",
        "dicom_node.errors",
        "dicom_node.uids",
        "dicom_node.commitment",
        "dicom_node.lean_process",
    ),
    "dicom_node.results": (
        "pipeline.report",
        "pipeline.anatomy",
        "pipeline.followup",
        "pipeline.volume",
        "pipeline.overlay",
        "dicom_node.errors",
        "dicom_node.uids",
        "dicom_node.result_kinds",
        "dicom_node.follow_up_notes",
    ),
    "dicom_node.outbound": ("storage", "dicom_node.errors", "dicom_node.uids", "dicom_node.commitment"),
    "dicom_node.phantom": ("pipeline.volume", "dicom_node.errors", "dicom_node.uids"),
    "dicom_node": ("dicom_node", "pipeline", "storage", "web"),
}

#: Third-party package -> the only modules (prefixes) that may import it.
OWNED: dict[str, tuple[str, ...]] = {
    "torch": ("pipeline.models.unet3d", "pipeline.models.segmenter_", "pipeline.models.training"),
    "openvino": ("pipeline.models.segmenter_openvino",),
    "tensorflow": ("pipeline.models.classifier", "pipeline.models.resnet50", "pipeline.models.training"),
    "keras": ("pipeline.models.classifier", "pipeline.models.resnet50", "pipeline.models.training"),
    "tf_keras": ("pipeline.models.classifier",),
    "tf2onnx": ("pipeline.models.classifier",),
    "onnx": ("pipeline.models.classifier", "pipeline.models.unet3d", "pipeline.models.segmenter"),
    "onnxruntime": ("pipeline.models.classifier", "pipeline.models.segmenter"),
    "sqlalchemy": ("storage", "dicom_node.engine"),
    "alembic": ("storage",),
    "fastapi": ("web",),
    "jwt": ("web",),
    "bcrypt": ("web",),
    "dbos": ("dicom_node.engine",),
    "highdicom": ("dicom_node.results",),
    "reportlab": ("dicom_node.results",),
    "jinja2": ("dicom_node.results", "web"),
    "dicom2nifti": ("dicom_node.inbound",),
    "dicomweb_client": ("dicom_node.outbound",),
    "requests": ("dicom_node.outbound",),
    "SimpleITK": ("pipeline",),
    "trimesh": ("dicom_node.exports",),
    "fhir": ("dicom_node.exports",),
    "pyarrow": ("dicom_node.exports",),
}


def modules() -> Iterator[tuple[str, Path]]:
    for package in PACKAGES:
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            parts = path.relative_to(REPOSITORY).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


MODULES = dict(modules())


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def under(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


def owner(name: str) -> str:
    return max((key for key in MAY_IMPORT if under(name, (key,))), key=len)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_its_floor_allows(module: str) -> None:
    key = owner(module)
    for imported in imports(MODULES[module]):
        if imported.split(".")[0] in PACKAGES:
            assert under(imported, (*MAY_IMPORT[key], key)), f"{module} may not import {imported}"
        third = imported.split(".")[0]
        if third in OWNED:
            # unet3d* and resnet50* are families of files, so a name prefix counts there.
            assert module.startswith(OWNED[third]), f"{module} may not import {third}"


def test_there_is_no_circle_among_the_modules() -> None:
    graph: dict[str, set[str]] = {}
    for module, path in MODULES.items():
        graph[module] = set()
        for imported in imports(path):
            target = imported if imported in MODULES else imported.rpartition(".")[0]
            if target in MODULES and target != module:
                graph[module].add(target)
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, "circle: " + " -> ".join((*trail[trail.index(module) :], module))
        if module not in done:
            for imported in sorted(graph[module]):
                visit(imported, (*trail, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def test_no_log_line_names_a_field_event() -> None:
    """structlog's own name for the text: giving it again raises, and only when the line is written."""
    for path in MODULES.values():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _is_log(node.func.value):
                assert "event" not in {keyword.arg for keyword in node.keywords}, f"{path}:{node.lineno}"


def _is_log(value: ast.expr) -> bool:
    return isinstance(value, ast.Name) and value.id in ("log", "_log")


def test_the_median_module_is_short() -> None:
    lengths = [
        len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES.values() if path.name != "__init__.py"
    ]
    assert statistics.median(lengths) < 150
    assert max(lengths) <= 400


def test_a_receiver_needs_no_array_library() -> None:
    code = (
        "import sys; from dicom_node.lean_process import be_lean; be_lean();"
        "import dicom_node.receiver, dicom_node.inbound.fast.index_process;"
        "from dicom_node.cli import application; application('receive');"
        "print(sys.modules['numpy'], 'web' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, check=True)
    assert result.stdout.split() == ["None", "False"]


@pytest.mark.parametrize(
    "loading",
    [
        "import dicom_node.node",
        "from dicom_node.cli import application; application()",
        "import web.app",
        "import dicom_node.inbound.scp",
    ],
)
def test_the_listener_and_the_web_load_no_framework(loading: str) -> None:
    frameworks = {"tensorflow", "keras", "torch", "onnxruntime", "openvino"}
    code = f"import sys; {loading}; print(sorted(sys.modules.keys() & {frameworks}))"
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, cwd=REPOSITORY, check=True
    )
    assert result.stdout.strip() == "[]"


def test_every_configuration_key_is_in_the_commented_file() -> None:
    import yaml

    from dicom_node.config import NodeConfig, load_config

    text = (REPOSITORY / "config.yaml").read_text(encoding="utf-8")
    written = yaml.safe_load(text)
    defaults = NodeConfig().model_dump(mode="json")
    for section, values in defaults.items():
        if isinstance(values, dict):
            for name in ("secret", "inbox_token"):
                values.pop(name, None)
            assert written[section].keys() == values.keys(), section
    assert load_config(REPOSITORY / "config.yaml") == NodeConfig()
