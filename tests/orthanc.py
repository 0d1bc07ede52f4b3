"""A real Orthanc (Debian's) on loopback, for one test.

modalities = [Modality(name="node", ae_title="BTNODE", port=11112)]
with OrthancServer("/usr/sbin/Orthanc", tmp_path, modalities=modalities) as pacs:
    pacs.get("/instances")        # REST, parsed
    pacs.datasets("SEG")          # what is stored, as pydicom datasets
    pacs.dicomweb_url             # for a DICOMweb client

The port numbers are taken free at construction and stay the same over stop() and start(), so that a test can take the
PACS away and bring it back. The index is on disk in the folder: what was stored survives a restart.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydicom import Dataset, dcmread

DICOMWEB_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")

#: Sends every MR series of a stable study to the modality named "node", once (metadata 1024 remembers it).
ROUTE_MR_TO_NODE = """
function OnStableStudy(studyId, tags, metadata)
  for _, m in ipairs(ParseJson(RestApiGet('/studies/'..studyId..'/metadata'))) do if m == '1024' then return end end
  local send = {}
  for _, s in ipairs(ParseJson(RestApiGet('/studies/'..studyId)).Series) do
    if ParseJson(RestApiGet('/series/'..s)).MainDicomTags['Modality'] == 'MR' then table.insert(send, s) end
  end
  if #send > 0 then
    RestApiPut('/studies/'..studyId..'/metadata/1024', 'routed', false)
    RestApiPost('/modalities/node/store', DumpJson({Resources=send, Asynchronous=true}, true), false)
  end
end
"""


#: Below the range from which the kernel takes the near ends of connections.
_SERVER_PORTS = range(15_000, 32_000)


def free_port() -> int:
    """A TCP port that nothing listens on at this moment, nor is given to a connection while its server is away."""
    while True:
        port = secrets.choice(_SERVER_PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@dataclass(frozen=True, kw_only=True)
class Modality:
    """A peer that Orthanc knows: it may store to us, and we may send to it under `name`."""

    name: str
    ae_title: str
    port: int
    host: str = "127.0.0.1"


class OrthancServer:
    """One Orthanc process with the DICOMweb plugin; a context manager that starts it and stops it by its pid.

    folder: storage, index, configuration and log go below it. lua: the text of a script (see ROUTE_MR_TO_NODE).
    check_called_ae_title: refuse associations called otherwise than `ae_title`. always_allow_store: accept C-STORE from
    AE titles that are not among `modalities`. options: further keys of Orthanc's configuration.
    """

    def __init__(
        self,
        executable: str,
        folder: Path,
        *,
        ae_title: str = "TESTPACS",
        modalities: Sequence[Modality] = (),
        lua: str | None = None,
        check_called_ae_title: bool = True,
        always_allow_store: bool = True,
        stable_age_s: int = 2,
        options: Mapping[str, object] | None = None,
    ) -> None:
        self.executable = executable
        self.folder = folder / f"orthanc-{ae_title.lower()}"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.ae_title = ae_title
        self.host = "127.0.0.1"
        self.dicom_port = free_port()
        self.http_port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        scripts: list[str] = []
        if lua is not None:
            (self.folder / "route.lua").write_text(lua)
            scripts.append(str(self.folder / "route.lua"))
        allowed = {f"Allow{verb}": True for verb in ("Echo", "Store", "Find", "Move", "Get", "StorageCommitment")}
        self.configuration: dict[str, object] = {
            "Name": ae_title,
            "StorageDirectory": str(self.folder / "storage"),
            "IndexDirectory": str(self.folder / "storage"),
            "Plugins": [str(DICOMWEB_PLUGIN)],
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "HttpPort": self.http_port,
            "DicomAet": ae_title,
            "DicomPort": self.dicom_port,
            "DicomCheckCalledAet": check_called_ae_title,
            "DicomAlwaysAllowStore": always_allow_store,
            "StableAge": stable_age_s,
            "LuaScripts": scripts,
            "DicomModalities": {
                m.name: {"AET": m.ae_title, "Host": m.host, "Port": m.port, **allowed} for m in modalities
            },
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": True, "WadoRoot": "/wado"},
            **(options or {}),
        }

    @property
    def dicomweb_url(self) -> str:
        """Root for a DICOMweb client (dicomweb_client.DICOMwebClient(url))."""
        return f"http://{self.host}:{self.http_port}/dicom-web"

    def start(self, timeout_s: float = 20.0) -> None:
        """Start the process and return when both its ports answer.

        Raises:
            RuntimeError: it ended or did not answer in time; the end of its log is in the message.
        """
        configuration = self.folder / "orthanc.json"
        configuration.write_text(json.dumps(self.configuration, indent=1))
        with (self.folder / "orthanc.log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.executable, str(configuration)],
                stdout=log,
                stderr=log,
                # Without it Nagle's algorithm costs 90 ms an instance between Orthanc and its peers.
                env={**os.environ, "TCP_NODELAY": "1"},
            )
        deadline = time.monotonic() + timeout_s
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError("Orthanc did not start:\n" + self.log()[-2000:])
            time.sleep(0.03)

    def stop(self, *, hard: bool = False) -> None:
        """End the process (this one only) and wait for it; harmless when it is not running.

        hard: by SIGKILL. An orderly end takes Orthanc three seconds.
        """
        if self.process is None:
            return
        if self.process.poll() is None:
            if hard:
                self.process.kill()
            else:
                self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
        self.process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(hard=True)

    def log(self) -> str:
        """What the process wrote to its log, over all its starts."""
        path = self.folder / "orthanc.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def get(self, path: str) -> Any:
        """GET on the REST API, JSON parsed."""
        return json.loads(self.get_bytes(path))

    def get_bytes(self, path: str) -> bytes:
        """GET on the REST API or the DICOMweb root, the body as it is."""
        return self._request("GET", path, None)

    def post(self, path: str, body: object) -> Any:
        """POST on the REST API: bytes as they are (a DICOM file to /instances), anything else as JSON."""
        return json.loads(self._request("POST", path, body if isinstance(body, bytes) else json.dumps(body).encode()))

    def store(self, paths: Sequence[Path]) -> None:
        """Put DICOM files into Orthanc over REST."""
        for path in paths:
            self.post("/instances", path.read_bytes())

    def qido_series(self, study_instance_uid: str) -> list[dict[str, Any]]:
        """QIDO-RS: the series of one study as DICOM JSON; an empty list where the study is not there."""
        body = self.get_bytes(f"/dicom-web/studies/{study_instance_uid}/series")
        return list(json.loads(body)) if body.strip() else []

    def instances(self, modality: str | None = None) -> list[str]:
        """Orthanc's own ids of every instance, of one Modality if named."""
        if modality is None:
            return list(self.get("/instances"))
        query = {"Level": "Instance", "Query": {"Modality": modality}}
        return list(self.post("/tools/find", query))

    def dataset(self, orthanc_id: str) -> Dataset:
        """One stored instance, the bytes that came."""
        return dcmread(BytesIO(self.get_bytes(f"/instances/{orthanc_id}/file")))

    def datasets(self, modality: str) -> list[Dataset]:
        """Every stored instance of one Modality."""
        return [self.dataset(orthanc_id) for orthanc_id in self.instances(modality)]

    def wait_for(self, condition: Callable[[OrthancServer], bool], timeout_s: float = 60.0) -> None:
        """Poll until `condition(self)` is true.

        Raises:
            TimeoutError: it stayed false.
        """
        deadline = time.monotonic() + timeout_s
        while not condition(self):
            if time.monotonic() > deadline:
                raise TimeoutError(f"Orthanc {self.ae_title}: the awaited condition did not come in {timeout_s} s")
            time.sleep(0.1)

    def _answers(self) -> bool:
        try:
            self.get("/system")
            with socket.create_connection((self.host, self.dicom_port), 1):
                return True
        except (OSError, urllib.error.URLError):
            return False

    def _request(self, method: str, path: str, body: bytes | None) -> bytes:
        request = urllib.request.Request(f"http://{self.host}:{self.http_port}{path}", data=body, method=method)
        with urllib.request.urlopen(request, timeout=30) as response:
            return bytes(response.read())
