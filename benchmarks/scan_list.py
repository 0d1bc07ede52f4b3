"""The list of scans over 100,000 of them, on SQLite and PostgreSQL, beside Orthanc's `/studies?expand` in the same run.

python -m benchmarks.scan_list [--scans 100000] [--seconds 5] [--rounds 3] [--without-postgres]

Everything is on loopback, signed in, 50 rows a page. Latencies are one client's; the rate is that of 16 connections.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from sqlalchemy import insert

from benchmarks.scan_list_server import NAME, PASSWORD
from storage.database import Database, upgrade
from storage.tables import Scan
from tests.orthanc import OrthancServer, free_port
from tests.unit.storage.postgres_server import empty_database, postgres_server

_CLIENTS = 16
_PAGE = 50
_STUDIES = 500


@dataclass(frozen=True, kw_only=True)
class Target:
    """A page to ask for: the request as sent, its host and port."""

    port: int
    path: str
    token: str = ""

    def request(self) -> bytes:
        """The bytes of one request that keeps the connection."""
        bearer = f"Authorization: Bearer {self.token}\r\n" if self.token else ""
        return f"GET {self.path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{bearer}\r\n".encode()


class _Client:
    """One connection that is kept; opened anew where the server closed it while this machine was busy elsewhere."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._request = target.request()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self) -> bytes:
        for _ in range(3):
            try:
                return await self._asked()
            except (asyncio.IncompleteReadError, ConnectionError):
                self.close()
        raise RuntimeError(f"the server on port {self._target.port} closes every connection")

    async def _asked(self) -> bytes:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._target.port)
        reader, writer = self._streams
        writer.write(self._request)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(head.decode("latin-1").partition("\r\n")[0])
        length = next(
            int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
        )
        return await reader.readexactly(length)

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def latencies_ms(targets: list[Target], count: int) -> list[list[float]]:
    """One client asking each target in turn, `count` times; milliseconds, a list for each target."""
    found: list[list[float]] = [[] for _ in targets]
    clients = [_Client(target) for target in targets]
    for turn in range(count + 20):
        for number, client in enumerate(clients):
            started = time.perf_counter()
            await client.ask()
            if turn >= 20:
                found[number].append(1000 * (time.perf_counter() - started))
    for client in clients:
        client.close()
    return found


@dataclass(frozen=True, kw_only=True)
class Load:
    """What a server did for 16 connections. cpu_ms: its processor time for each answer."""

    answers_a_second: float
    cpu_ms: float


async def rate(target: Target, seconds: float, pid: int) -> Load:
    """16 connections, each asking again as soon as it is answered."""
    started, cpu = time.perf_counter(), _cpu_s(pid)
    answers = 0

    async def client() -> None:
        nonlocal answers
        one = _Client(target)
        while time.perf_counter() < started + seconds:
            await one.ask()
            answers += 1
        one.close()

    await asyncio.gather(*(client() for _ in range(_CLIENTS)))
    taken = time.perf_counter() - started
    return Load(answers_a_second=answers / taken, cpu_ms=1000 * (_cpu_s(pid) - cpu) / answers)


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def fill(url: str, count: int) -> None:
    """Put `count` delivered scans into a new database, a minute apart."""
    upgrade(url)
    database = Database(url)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    values = [
        {
            "id": f"{number:08x}-0000-4000-8000-{number:012x}",
            "patient_id": f"P{number % 30_000:06d}",
            "patient_name": f"PHANTOM^{number:06d}",
            "scan_date": "2026-01-01",
            "modalities": ["T1", "T1CE", "T2", "FLAIR"],
            "source": "cstore",
            "status": "delivered",
            "progress": 100,
            "pipeline_step": "",
            "waiting_for": "",
            "finding": "tumour 97 %, glioma 88 %, 34.2 mL",
            "results": {"schema_version": 1, "notes": "x" * 2000},
            "run": 1,
            "late": False,
            "created_at": start + timedelta(minutes=number),
            "updated_at": start + timedelta(minutes=number),
        }
        for number in range(count)
    ]
    for first in range(0, count, 5000):
        with database.write() as session:
            session.execute(insert(Scan), values[first : first + 5000])
    database.close()


@contextmanager
def node(url: str, folder: Path) -> Iterator[tuple[int, str, int]]:
    """The web application in a process of its own, as `tumor-node web` runs it: its port, a bearer token, its pid."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.scan_list_server", url, str(folder), str(port)]
    process = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"})
    try:
        yield port, token(port), process.pid
    finally:
        process.terminate()
        process.wait(30)


def token(port: int) -> str:
    body = f"username={NAME}&password={PASSWORD.replace(' ', '+')}".encode()
    for _ in range(600):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/auth/login", body, timeout=30) as answer:
                return str(answer.read().decode().split('"access_token":"')[1].split('"')[0])
        except OSError:
            time.sleep(0.1)
    raise RuntimeError("the web application did not start")


def deepest_cursor(port: int, token: str, count: int) -> str:
    """The cursor of the last page, found by asking for the oldest scans first."""

    def page(query: str) -> dict[str, str]:
        request = urllib.request.Request(f"http://127.0.0.1:{port}/api/scans?{query}")
        request.add_header("Authorization", f"Bearer {token}")
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())  # type: ignore[no-any-return]

    cursor = ""
    for _ in range(count // 200 + 2):
        found = page(f"limit=200{'&cursor=' + cursor if cursor else ''}")
        if not found["nextCursor"]:
            return cursor
        cursor = found["nextCursor"]
    return cursor


def orthanc_studies(pacs: OrthancServer, count: int) -> None:
    """Store `count` studies of one small MR object each."""
    for number in range(count):
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
        dataset.PatientID, dataset.PatientName = f"P{number:06d}", f"PHANTOM^{number:06d}"
        dataset.StudyDate, dataset.Modality, dataset.StudyDescription = "20260101", "MR", "BRAIN"
        written = BytesIO()
        dataset.save_as(written, enforce_file_format=True)
        request = urllib.request.Request(f"http://127.0.0.1:{pacs.http_port}/instances", written.getvalue())
        with urllib.request.urlopen(request, timeout=30):
            pass


def report(name: str, first: list[float], last: list[float] | None, loads: list[Load]) -> None:
    """Print one line."""
    first.sort()
    p50, p99 = statistics.median(first), first[int(len(first) * 0.99) - 1]
    deep = "" if last is None else f"   deepest/first {statistics.median(last) / p50:5.2f}"
    per_second = statistics.median(load.answers_a_second for load in loads)
    cpu = statistics.median(load.cpu_ms for load in loads)
    timed = f"p50 {p50:7.2f} ms   p99 {p99:7.2f} ms   {per_second:7.0f} /s with 16   {cpu:5.2f} CPU ms an answer"
    print(f"{name:<20} {timed}{deep}", flush=True)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scans", type=int, default=100_000)
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without-postgres", action="store_true")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, OrthancServer("/usr/sbin/Orthanc", Path(folder)) as pacs:
        orthanc_studies(pacs, _STUDIES)
        peer = Target(port=pacs.http_port, path=f"/studies?expand&limit={_PAGE}&since=0")
        root = Path(folder)

        def measure(name: str, url: str) -> None:
            fill(url, chosen.scans)
            assert pacs.process is not None
            their_pid = pacs.process.pid
            with node(url, root / name) as (port, token, pid):
                first = Target(port=port, path=f"/api/scans?limit={_PAGE}", token=token)
                cursor = deepest_cursor(port, token, chosen.scans)
                last = Target(port=port, path=f"/api/scans?limit={_PAGE}&cursor={cursor}", token=token)
                near, deep, theirs = asyncio.run(latencies_ms([first, last, peer], chosen.requests))
                ours, others = [], []
                for _ in range(chosen.rounds):
                    ours.append(asyncio.run(rate(first, chosen.seconds, pid)))
                    others.append(asyncio.run(rate(peer, chosen.seconds, their_pid)))
                report(name, near, deep, ours)
                report("Orthanc, same run", theirs, None, others)
                pairs = list(zip(ours, others, strict=True))
                faster = statistics.median(one.answers_a_second / other.answers_a_second for one, other in pairs)
                cheaper = statistics.median(one.cpu_ms / other.cpu_ms for one, other in pairs)
                print(f"{'':<20} to Orthanc's: rate {faster:.2f}, CPU an answer {cheaper:.2f}", flush=True)

        measure("node on SQLite", f"sqlite:///{root / 'bench.sqlite'}")
        if not chosen.without_postgres:
            with postgres_server() as server:
                measure("node on PostgreSQL", empty_database(server, "bench"))


if __name__ == "__main__":
    main()
