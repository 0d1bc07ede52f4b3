"""OHIF's published build in a headless browser, over an Orthanc's DICOMweb.

The build is fetched by `tests/install-peers.sh` from npm into a cache folder outside the repository. One small server
gives the browser the build, a configuration, and Orthanc under the same origin; nothing leaves loopback.
"""

from __future__ import annotations

import json
import mimetypes
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

VERSION = "3.12.10"
_FLAGS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
_TIMEOUT_MS = 240_000
_SOURCE = {
    "friendlyName": "Orthanc",
    "name": "orthanc",
    "wadoUriRoot": "/dicom-web",
    "qidoRoot": "/dicom-web",
    "wadoRoot": "/dicom-web",
    "imageRendering": "wadors",
    "thumbnailRendering": "wadors",
    "enableStudyLazyLoad": True,
    "supportsWildcard": True,
    "singlepart": "bulkdata,video",
}
_CONFIG = {
    "routerBasename": None,
    "extensions": [],
    "modes": [],
    "customizationService": {},
    "showStudyList": True,
    "maxNumberOfWebWorkers": 2,
    "disableConfirmationPrompts": True,
    "investigationalUseDialog": {"option": "never"},
    "defaultDataSourceName": "dicomweb",
    "dataSources": [
        {
            "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
            "sourceName": "dicomweb",
            "configuration": _SOURCE,
        }
    ],
}
_VIEWPORTS = "window.services.cornerstoneViewportService.getRenderingEngine()"


def dist() -> Path | None:
    """The folder of the build, None where it was not fetched."""
    cache = Path(os.environ.get("BTN_OHIF", Path.home() / ".cache" / "brain-tumor-node" / f"ohif-{VERSION}"))
    folder = cache / "package" / "dist"
    return folder if (folder / "index.html").is_file() else None


@contextmanager
def ohif_server(build: Path, orthanc_url: str) -> Iterator[str]:
    """Serve the build and Orthanc's DICOMweb on one loopback port; yields the root URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: Any) -> None:
            pass

        def _answer(self, code: int, kind: str, data: bytes) -> None:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self) -> None:
            path = self.path.split("?")[0]
            if path.startswith("/dicom-web"):
                headers = {"Accept": self.headers.get("Accept", "*/*"), "Forwarded": f"host={self.headers['Host']}"}
                try:
                    with urllib.request.urlopen(
                        urllib.request.Request(orthanc_url + self.path, headers=headers)
                    ) as got:
                        self._answer(got.status, got.headers["Content-Type"], got.read())
                except urllib.error.HTTPError as error:
                    self._answer(error.code, "text/plain", error.read())
                return
            if path == "/app-config.js":
                self._answer(200, "text/javascript", f"window.config = {json.dumps(_CONFIG)};".encode())
                return
            file = build / path.lstrip("/")
            file = file if file.is_file() else build / "index.html"
            kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
            self._answer(200, kind, file.read_bytes())

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


class Viewer:
    """One page of OHIF with one study."""

    def __init__(self, page: Any) -> None:
        self._page = page

    def open(self, root: str, study_uid: str, *, mpr: bool) -> None:
        """Open the study, in three planes or as it comes, and wait for its pictures."""
        self._page.goto(f"{root}/viewer?StudyInstanceUIDs={study_uid}{'&hangingProtocolId=mpr' if mpr else ''}")
        count = 3 if mpr else 1
        self._page.wait_for_function(
            f"window.services && {_VIEWPORTS} && {_VIEWPORTS}.getViewports().length == {count} && "
            f"{_VIEWPORTS}.getViewports().every(v => v.getImageData && v.getImageData())"
        )

    def load(self, description: str) -> None:
        """Double-click a series in the list."""
        self._page.get_by_text(description).first.dblclick()

    def segment_labels(self) -> list[str]:
        """The segments that OHIF lists, once there is a segmentation."""
        service = "window.services.segmentationService.getSegmentations()"
        self._page.wait_for_function(f"{service}.length > 0")
        self._page.wait_for_timeout(1500)
        return list(self._page.evaluate(f"Object.values({service}[0].segments).map(s => s.label)"))

    def measurements(self) -> list[dict[str, Any]]:
        """What OHIF's measurement service holds, once there is something in it."""
        service = "window.services.measurementService.getMeasurements()"
        self._page.wait_for_function(f"{service}.length > 0")
        return list(
            self._page.evaluate(f"{service}.map(m => ({{tool: m.toolName, text: m.displayText, points: m.points}}))")
        )

    def text(self) -> str:
        """All text on the page."""
        return str(self._page.inner_text("body"))

    def show(self, plane: str, point_lps: list[float]) -> None:
        """Turn the viewport of a plane to the slice through a point."""
        self._page.evaluate(
            f"([plane, point]) => {{ const v = {_VIEWPORTS}.getViewports().find(v => v.id.includes(plane));"
            " v.jumpToWorld(point); v.render(); }",
            [plane, point_lps],
        )
        self._page.wait_for_timeout(1500)

    def places(self, plane: str, points_lps: list[list[float]]) -> np.ndarray:
        """(n, 2): where points in the patient lie on the page, in its pixels."""
        found = self._page.evaluate(
            f"([plane, points]) => {{ const v = {_VIEWPORTS}.getViewports().find(v => v.id.includes(plane));"
            " const box = v.canvas.getBoundingClientRect();"
            " return points.map(p => { const c = v.worldToCanvas(p); return [c[0] + box.left, c[1] + box.top]; }); }",
            [plane, points_lps],
        )
        return np.asarray(found)

    def picture(self, path: Path | None = None) -> np.ndarray:
        """The page as it looks: int (H, W, 3)."""
        data = self._page.screenshot()
        if path is not None:
            path.write_bytes(data)
        return np.asarray(Image.open(BytesIO(data)).convert("RGB")).astype(int)


@contextmanager
def viewer(chromium: str) -> Iterator[Viewer]:
    """A headless Chromium with one page, its tour already seen."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=_FLAGS)
        page = browser.new_page(viewport={"width": 1000, "height": 600})
        page.set_default_timeout(_TIMEOUT_MS)
        page.add_init_script("localStorage.setItem('shownTours', '[\"basicViewerTour\"]')")
        try:
            yield Viewer(page)
        finally:
            browser.close()
