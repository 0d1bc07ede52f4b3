"""`serve`, `receive`, `work`, `web`: the node's processes."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Annotated

import typer

from dicom_node.commands.options import ConfigOption, configuration
from dicom_node.config import NodeConfig
from dicom_node.lean_process import be_lean
from dicom_node.log_files import LogFiles
from dicom_node.logs import configure_logging
from dicom_node.supervisor import Child, supervise


def serve(config: ConfigOption = None) -> None:
    """Run receiver, worker and web page until stopped."""
    from dicom_node.store import open_store

    loaded = configuration(config)
    configure_logging(loaded.logging.level, "serve", log_files(loaded))
    open_store(loaded).database.close()  # a node that cannot start says so here, once
    arguments = [] if config is None else ["--config", str(config)]
    names = ("receive", "work", "web")
    children = [Child(name=name, command=[sys.executable, "-m", "dicom_node", name, *arguments]) for name in names]
    raise typer.Exit(supervise(children))


def receive(config: ConfigOption = None) -> None:
    """Run the DICOM listener alone."""
    be_lean()
    from dicom_node.receiver import build_receiver
    from dicom_node.store import open_store

    loaded = configuration(config)
    configure_logging(loaded.logging.level, "receive", log_files(loaded))
    store = open_store(loaded)
    server = build_receiver(loaded, store)
    # What is here by now stays: no collection has to walk it again, of which there is one every few objects.
    gc.collect()
    gc.freeze()
    _run(server.start, server.stop)
    store.database.close()


def work(
    config: ConfigOption = None,
    gpu: Annotated[
        int | None, typer.Option(min=0, help="The CUDA device of this worker alone; one worker a device.")
    ] = None,
) -> None:
    """Run a worker alone: completeness, analysis, delivery."""
    from dicom_node.node import build_worker
    from dicom_node.store import open_store

    loaded = configuration(config)
    if gpu is not None:
        loaded = on_device(loaded, gpu)
    configure_logging(loaded.logging.level, f"work-{loaded.engine.executor_id}", log_files(loaded))
    store = open_store(loaded)
    with store.files.lock(f"worker-{loaded.engine.executor_id}"):
        worker = build_worker(loaded, store)
        _run(worker.start, worker.stop)
        store.database.close()
        # An analysis under way would hold the interpreter until it ends; its run resumes at the next start instead.
        sys.stderr.flush()
        os._exit(0)


def log_files(config: NodeConfig) -> LogFiles | None:
    """Where the log goes; None for standard error."""
    section = config.logging
    if section.folder is None:
        return None
    return LogFiles(folder=section.folder, max_bytes=section.max_mb << 20, keep=section.keep)


def on_device(config: NodeConfig, gpu: int) -> NodeConfig:
    """The configuration of a worker that sees one device. Workers of one machine need executor ids of their own."""
    os.environ["CUDA_VISIBLE_DEVICES"] = str(gpu)  # read when a framework is first imported, which has not happened yet
    engine = config.engine.model_copy(update={"executor_id": f"{config.engine.executor_id}-gpu{gpu}"})
    return config.model_copy(update={"engine": engine})


def web(config: ConfigOption = None) -> None:
    """Run the dashboard and its API alone."""
    import uvicorn

    from dicom_node.node import build_web, web_tls
    from dicom_node.store import open_store

    loaded = configuration(config)
    configure_logging(loaded.logging.level, "web", log_files(loaded))
    store = open_store(loaded)
    application = build_web(loaded, store)
    tls = web_tls(loaded)
    uvicorn.run(
        application,
        host=loaded.web.host,
        port=loaded.web.port,
        log_level="warning",
        # The node's own access lines name routes, never paths or addresses.
        access_log=False,
        server_header=False,
        # Open event streams would otherwise hold the process up.
        timeout_graceful_shutdown=5,
        ssl_context_factory=None if tls is None else lambda *_: tls,
    )
    store.database.close()


def _run(start: Callable[[], None], stop: Callable[[], None]) -> None:
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    start()
    # In short waits: a signal that another thread happens to take does not end one that is under way.
    while not stopping.wait(1.0):
        pass
    stop()


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (serve, receive, work, web):
        app.command()(command)
