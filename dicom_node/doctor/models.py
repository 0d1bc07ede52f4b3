"""Whether each model of the manifest can be used, and why not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from dicom_node.config import NodeConfig
from dicom_node.doctor.findings import Fault, Finding, ok, wrong
from dicom_node.node import runtime_options
from pipeline.models.catalogue import ModelStatus, check_models, load_models


def examine_models(config: NodeConfig, *, load: bool) -> Iterator[Finding]:
    """load: also load each model and probe it, which takes seconds."""
    # An examination converts nothing: that takes a minute, and the worker does it at its start.
    options = replace(runtime_options(config), convert=False)
    statuses = load_models(config.models.folder, options)[1] if load else check_models(config.models.folder)
    if not statuses:
        yield wrong("models", Fault.MODEL_MISSING, f"the manifest in {config.models.folder} names none")
    for status in statuses:
        what = f"model {status.name}"
        yield ok(what, status.detail) if status.ok else wrong(what, _fault(status), status.detail)


def _fault(status: ModelStatus) -> Fault:
    if "is missing" in status.detail or "cannot be read" in status.detail:
        return Fault.MODEL_MISSING
    return Fault.MODEL_HASH_WRONG if "has SHA-256" in status.detail else Fault.MODEL_UNUSABLE
