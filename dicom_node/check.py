"""`tumor-node check`: one list of what is wrong before the node is started for real."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from dicom_node.config import NodeConfig
from dicom_node.node import runtime_options
from dicom_node.outward import destinations_of, reach
from dicom_node.store import open_store
from dicom_node.web_secrets import web_secret
from pipeline.models.catalogue import check_models, load_models
from storage.errors import StorageError


@dataclass(frozen=True, kw_only=True)
class CheckLine:
    """One thing that was looked at. what: 'database', 'model NAME', 'destination NAME', ..."""

    what: str
    ok: bool
    detail: str


def check_node(config: NodeConfig, *, load: bool = True) -> Iterator[CheckLine]:
    """Look at everything the node needs. load: also load each model and probe it, which takes seconds."""
    try:
        web_secret(config)
        yield CheckLine(what="configuration", ok=True, detail="every key is known and in range")
    except Exception as error:
        yield CheckLine(what="configuration", ok=False, detail=str(error))
    try:
        store = open_store(config)
        yield CheckLine(what="database", ok=True, detail="reached, schema up to date")
        problems = store.files.check()
        detail = "; ".join(problems) or f"{store.files.root}: writable, {store.files.free_bytes() >> 20} MB free"
        yield CheckLine(what="files", ok=not problems, detail=detail)
        store.database.close()
    except StorageError as error:
        yield CheckLine(what="database", ok=False, detail=str(error))
    # A check converts nothing: that takes a minute, and the worker does it at its start.
    options = replace(runtime_options(config), convert=False)
    statuses = load_models(config.models.folder, options)[1] if load else check_models(config.models.folder)
    for status in statuses:
        yield CheckLine(what=f"model {status.name}", ok=status.ok, detail=status.detail)
    if not config.destinations:
        yield CheckLine(what="destinations", ok=False, detail="none is configured; results would go nowhere")
    for destination in destinations_of(config):
        answer = reach(destination, config.node.ae_title)
        yield CheckLine(what=f"destination {destination.name}", ok=answer.ok, detail=answer.text)
