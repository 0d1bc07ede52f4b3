"""The command line `tumor-node`. Exit codes: 0 done, 1 something is wrong (said on standard error), 2 wrong usage."""

from __future__ import annotations

import sys
import traceback

import typer

from dicom_node.commands import (
    accounts,
    analyse,
    audit,
    backup,
    conformance,
    demo,
    erasure,
    evaluate,
    export,
    inspect,
    models,
    phantom,
    reanalyse,
    sbom,
    scrub,
    serve,
    support,
)
from dicom_node.errors import DicomNodeError
from pipeline.errors import PipelineError
from storage.errors import StorageError

app = typer.Typer(
    name="tumor-node",
    help="Finds, types, segments and measures brain tumours on MRI. For research and decision support only.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for module in (
    serve,
    inspect,
    models,
    accounts,
    audit,
    backup,
    scrub,
    erasure,
    support,
    sbom,
    reanalyse,
    phantom,
    analyse,
    evaluate,
    export,
    demo,
    conformance,
):
    module.register(app)


def main() -> None:
    """Entry point: a known error is one line on standard error and exit code 1."""
    try:
        app()
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
