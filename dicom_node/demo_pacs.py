"""A receiving PACS for the demonstration and the self-test: C-ECHO and C-STORE, one file an object, loopback only."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

from pynetdicom import AE, evt
from pynetdicom.sop_class import Comprehensive3DSRStorage, SegmentationStorage, Verification


class DemoPacs:
    """Listens on a free loopback port while the context lasts and keeps what arrives in `folder`."""

    def __init__(self, folder: Path, ae_title: str = "DEMOPACS") -> None:
        self.folder = folder
        self.ae_title = ae_title
        self.port = free_port()
        self._arrived = threading.Condition()
        self._received: dict[str, Path] = {}
        self._server: Any = None

    def __enter__(self) -> DemoPacs:
        self.folder.mkdir(parents=True, exist_ok=True)
        ae = AE(ae_title=self.ae_title)
        for sop_class in (Verification, SegmentationStorage, Comprehensive3DSRStorage):
            ae.add_supported_context(sop_class)
        handlers = [(evt.EVT_C_STORE, self._store)]
        self._server = ae.start_server(("127.0.0.1", self.port), block=False, evt_handlers=handlers)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()

    def _store(self, event: evt.Event) -> int:
        dataset = event.dataset
        dataset.file_meta = event.file_meta
        path = self.folder / f"{dataset.Modality.lower()}-{dataset.SeriesNumber}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        with self._arrived:
            # The first of its modality: SEG and SR come before the regions and the viewers' SR.
            self._received.setdefault(f"{dataset.Modality}", path)
            self._arrived.notify_all()
        return 0x0000

    def wait_for(self, modalities: set[str], timeout_s: float) -> dict[str, Path]:
        """Modality to file, once every one of `modalities` is there or the time is over (then fewer)."""
        with self._arrived:
            self._arrived.wait_for(lambda: modalities <= self._received.keys(), timeout_s)
            return dict(self._received)


def free_port() -> int:
    """A loopback TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
