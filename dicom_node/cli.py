"""The command line `tumor-node`. Exit codes: 0 done, 1 something is wrong (said on standard error), 2 wrong usage."""

from __future__ import annotations

import importlib
import sys
import traceback

import typer

from dicom_node.errors import DicomNodeError
from pipeline.errors import PipelineError
from storage.errors import StorageError

_NODE_PROCESSES = ("serve", "receive", "work", "web")
_OTHER_MODULES = (
    "inspect",
    "models",
    "accounts",
    "audit",
    "backup",
    "scrub",
    "erasure",
    "support",
    "sbom",
    "reanalyse",
    "phantom",
    "analyse",
    "evaluate",
    "export",
    "demo",
    "conformance",
)


def application(command: str = "") -> typer.Typer:
    """The commands; where `command` is one of the node's processes, those alone.

    They run for months and would keep in memory whatever the other commands import.
    """
    app = typer.Typer(
        name="tumor-node",
        help="Finds, types, segments and measures brain tumours on MRI. For research and decision support only.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    for module in ("serve", *(() if command in _NODE_PROCESSES else _OTHER_MODULES)):
        importlib.import_module(f"dicom_node.commands.{module}").register(app)
    return app


def main() -> None:
    """Entry point: a known error is one line on standard error and exit code 1."""
    try:
        application(sys.argv[1] if len(sys.argv) > 1 else "")()
    except (DicomNodeError, PipelineError, StorageError) as error:
        print(f"tumor-node: {getattr(error, 'code', 'error')}: {error}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        print(f"tumor-node: {error.strerror or error}: {error.filename or ''}", file=sys.stderr)
        sys.exit(1)
    except Exception:
        traceback.print_exc()
        print("tumor-node: this is a fault in the program; the lines above say where", file=sys.stderr)
        sys.exit(1)
