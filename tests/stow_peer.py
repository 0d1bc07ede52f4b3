"""A small STOW-RS service on loopback that stores, refuses or misbehaves as a test says."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from types import TracebackType
from typing import Any, Self

from pydicom import dcmread


class StowPeer:
    """Keeps the parts of each POST and the headers of each request.

    failure: from a SOP Instance UID to the reason it is refused with, None to store it. status: answers every request
    with this HTTP status and no body. answer: replaces the body of the answer. certificate: (certificate, key) files
    for https.
    """

    def __init__(
        self,
        *,
        failure: Callable[[str], int | None] = lambda uid: None,
        status: int | None = None,
        answer: dict[str, Any] | None = None,
        certificate: tuple[str, str] | None = None,
    ) -> None:
        self.parts: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        peer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: object) -> None:
                pass

            def do_POST(self) -> None:
                peer.headers.append(dict(self.headers))
                body = self._body()
                if status is not None:
                    self.send_response(status)
                    self.send_header("Location", "http://127.0.0.1:9/elsewhere")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                message = BytesParser().parsebytes(
                    b"Content-Type: " + self.headers["Content-Type"].encode() + b"\r\n\r\n" + body
                )
                stored, failed = [], []
                for part in message.get_payload():
                    data = part.get_payload(decode=True)
                    dataset = dcmread(BytesIO(data))
                    item = {
                        "00081150": {"vr": "UI", "Value": [str(dataset.SOPClassUID)]},
                        "00081155": {"vr": "UI", "Value": [str(dataset.SOPInstanceUID)]},
                    }
                    reason = failure(str(dataset.SOPInstanceUID))
                    if reason is None:
                        peer.parts.append(data)
                        stored.append(item)
                    else:
                        failed.append({**item, "00081197": {"vr": "US", "Value": [reason]}})
                told = {
                    tag: {"vr": "SQ", "Value": items}
                    for tag, items in (("00081199", stored), ("00081198", failed))
                    if items
                }
                content = json.dumps(told if answer is None else answer).encode()
                self.send_response(200 if not failed else 202 if stored else 409)
                self.send_header("Content-Type", "application/dicom+json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def _body(self) -> bytes:
                if "chunked" not in self.headers.get("Transfer-Encoding", ""):
                    return self.rfile.read(int(self.headers["Content-Length"]))
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            scheme = "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_address[1]}/dicom-web"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
