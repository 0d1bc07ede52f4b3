"""Hostile input by the thousand, from a seed: mutated PDUs at a live listener, mutated DICOM files at their readers.

python -m tests.acceptance.fuzz_campaign --pdus 100000 --files 20000 [--seed 1] [--path fast,pynetdicom]

The PDUs are those of real senders, captured. The listener runs in a process of its own. It must answer a C-ECHO and a
C-STORE now and then and in the end, hold no connection past its time-outs and no more threads and files than before,
have grown by less than 20 MB, and have left no file outside the store. No file may take its reader over `SLOW_S`.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import random
import resource
import shutil
import socket
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from dicom_node.errors import DicomNodeError
from dicom_node.inbound.conversion import load_series
from dicom_node.inbound.headers import InstanceHeader, read_header
from dicom_node.inbound.ingest import Ingest
from dicom_node.inbound.refusals import ObjectUnreadable
from dicom_node.phantom.study import make_study
from dicom_node.phantom.write_dicom import write_study
from pipeline.process_memory import peak_memory_mb
from pipeline.volume import SeriesRole
from storage.audit import AuditRepository
from storage.database import Database, upgrade
from storage.files import FileStore
from storage.studies import StudyRepository
from tests.acceptance.fuzz_listener import HELD_AT_MOST_S, Listener, serves
from tests.acceptance.fuzz_streams import Stream, captured_streams, mutated

#: Seconds of CPU that a mutated file may cost its readers.
SLOW_S = 5.0
#: How often the listener is asked for an echo and an image, and how it is, while the PDUs go on.
_LOOKS = 20
_GROWTH_KB = 20_000
#: A header that swells a hundredfold while it is parsed leaves the heap of the indexer in pieces.
_INDEXER_GROWTH_KB = 64_000
_EXPECTED = {"store", "node.db", "node.db-wal", "node.db-shm", "node.db.upgrade-lock"}


@dataclass(kw_only=True)
class Attacks:
    """How the connections ended, and the longest time one was held after its last byte was sent."""

    ends: Counter[str] = field(default_factory=Counter)
    longest_s: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def ended(self, how: str, seconds: float) -> None:
        with self.lock:
            self.ends[how] += 1
            self.longest_s = max(self.longest_s, seconds)


def fuzz_pdus(port: int, streams: list[Stream], count: int, seed: int, workers: int = 16) -> Attacks:
    """Send `count` mutated PDUs, each behind whole ones that lead up to it."""
    attacks = Attacks()

    def work(number: int) -> None:
        chance = random.Random(seed * 1000 + number)
        for _ in range(number, count, workers):
            attacks.ended(*_attack(port, chance, chance.choice(streams)))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return attacks


def _attack(port: int, chance: random.Random, pdus: Stream) -> tuple[str, float]:
    """How it ended, and how long the connection was held after the last byte."""
    target = chance.randrange(len(pdus))
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), HELD_AT_MOST_S) as connection:
        connection.settimeout(HELD_AT_MOST_S)
        for pdu in pdus[:target]:
            connection.sendall(pdu)
            if pdu[0] == 1 and connection.recv(1 << 14)[:1] != b"\x02":
                return "rejected", 0.0
        wound = mutated(chance, pdus[target])
        if chance.random() < 0.2:  # in pieces, as a slow line brings it
            cut = chance.randrange(len(wound) + 1)
            connection.sendall(wound[:cut])
            time.sleep(0.01)
            wound = wound[cut:]
        connection.sendall(wound)
        if chance.random() < 0.3:  # the sender has noticed nothing and goes on
            connection.sendall(b"".join(pdus[target + 1 :]))
        sent = time.monotonic()
        match chance.random():
            case share if share < 0.3:
                return "left", 0.0  # without a word, as a cable pulled
            case share if share < 0.97:
                connection.shutdown(socket.SHUT_WR)
            case _:
                pass  # silent and open: the listener's own time-out must end it
        try:
            while connection.recv(1 << 14):
                pass
        except TimeoutError:
            return "held past the time-out", time.monotonic() - sent
        return "closed", time.monotonic() - sent
    return "reset", 0.0


@dataclass(kw_only=True)
class Files:
    """What became of mutated files, the most CPU seconds one took, and memory kept from the first tenth on.

    peak_mb: at the worst file: a few hundred kB of header become over a hundred MB of elements while it is read.
    """

    ends: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0
    grown_mb: float = 0.0
    peak_mb: float = 0.0


def fuzz_files(folder: Path, images: list[Path], count: int, seed: int) -> Files:
    """Mutated files through header reader, ingest and conversion. Raises what none should."""
    chance = random.Random(seed)
    folder.mkdir()
    url = f"sqlite:///{folder}/node.db"
    upgrade(url)
    database = Database(url)
    files = FileStore(folder / "store", min_free_bytes=0)
    ingest = Ingest(files, StudyRepository(database), AuditRepository(database))
    sources = [image.read_bytes() for image in images]
    found = Files()
    at_first = 0.0
    for number in range(count):
        if number == count // 10:
            at_first = _live_memory_mb()
        data = mutated(chance, chance.choice(sources))
        started = time.thread_time()
        try:
            header = read_header(data)
            assert InstanceHeader.from_json(header.to_json()) is not None
            outcome = "read"
            if number % 10 == 0:  # filing takes a sync each
                outcome = str(ingest.receive_file(data, source="fuzz").taken)
            elif number % 20 == 1:
                outcome = _converted(folder / "series", images[:5], data)
            found.ends[outcome] += 1
        except (ObjectUnreadable, DicomNodeError) as error:
            found.ends[type(error).__name__] += 1
        found.slowest_s = max(found.slowest_s, time.thread_time() - started)
    found.grown_mb, found.peak_mb = _live_memory_mb() - at_first, peak_memory_mb()
    database.close()
    shutil.rmtree(folder / "series", ignore_errors=True)
    assert strays(folder, _EXPECTED) == []
    return found


def _live_memory_mb() -> float:
    """Resident memory of this process without what it freed."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / (1 << 20)


def _converted(folder: Path, images: list[Path], data: bytes) -> str:
    """A series of five with one file exchanged for `data`, to a volume. Raises SeriesRefused and nothing else."""
    folder.mkdir(exist_ok=True)
    paths = [shutil.copy(image, folder / f"{number}.dcm") for number, image in enumerate(images)]
    paths[0].write_bytes(data)
    load_series(paths)
    return "converted"


def strays(folder: Path, expected: set[str]) -> list[str]:
    """What lies beside the store."""
    return sorted(path.name for path in folder.iterdir() if path.name not in expected)


def campaign(folder: Path, path: str, pdus: int, seed: int) -> tuple[Attacks, list[str], list[str]]:
    """PDUs against one receive path: how connections ended, what was found wrong, and how the listener was."""
    study = make_study(3, "siemens", size="small", clutter=False, roles=(SeriesRole.T1,), salt=f"fuzz-{path}")
    image = write_study(folder / f"study-{path}", study)[0].paths[0]
    listener = Listener(folder / path, path)
    wrong: list[str] = []
    told: list[str] = []
    total = Attacks()
    try:
        streams = captured_streams(listener.port, image)
        fuzz_pdus(listener.port, streams, min(2000, pdus // 4), seed + 1)  # warm: pools and buffers have their size
        before = listener.settled(0) if pdus >= 1000 else listener.condition()
        told.append(f"before: {before}")
        looks = _LOOKS if pdus >= 1000 else 1
        for look in range(looks):
            part = fuzz_pdus(listener.port, streams, pdus * (look + 1) // looks - pdus * look // looks, seed + 2 + look)
            total.ends.update(part.ends)
            total.longest_s = max(total.longest_s, part.longest_s)
            if not serves(listener.port, image):
                wrong.append(f"after {pdus * (look + 1) // looks} PDUs an echo or an image got no success")
            told.append(f"{pdus * (look + 1) // looks}: {listener.condition()}")
            print(told[-1], file=sys.stderr, flush=True)
        after = listener.settled(before.threads, before.open_files + 5)
        told.append(f"settled: {after}")
        if after.threads > before.threads:
            wrong.append(f"{after.threads - before.threads} threads more than before")
        if after.open_files > before.open_files + 5:
            wrong.append(f"{after.open_files - before.open_files} open files more than before")
        if after.rss_kb - before.rss_kb > _GROWTH_KB:
            wrong.append(f"memory grew by {(after.rss_kb - before.rss_kb) >> 10} MB")
        if after.indexer_kb - before.indexer_kb > _INDEXER_GROWTH_KB:
            wrong.append(f"the indexer's memory grew by {(after.indexer_kb - before.indexer_kb) >> 10} MB")
        if held := total.ends["held past the time-out"]:
            wrong.append(f"{held} connections were held past the time-out")
    finally:
        listener.stop()
    if left := strays(folder / path, _EXPECTED):
        wrong.append(f"files outside the store: {left}")
    return total, wrong, told


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pdus", type=int, default=100_000)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--path", default="fast,pynetdicom")
    arguments = parser.parse_args()
    failed = False
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path in filter(None, arguments.path.split(",")):
            started = time.monotonic()
            total, wrong, told = campaign(folder, path, arguments.pdus, arguments.seed)
            print("\n".join(told))
            print(
                f"{path}: {arguments.pdus} PDUs in {time.monotonic() - started:.0f} s: {dict(total.ends)}; longest "
                f"held {total.longest_s:.1f} s; {'; '.join(wrong) or 'nothing wrong'}",
                flush=True,
            )
            failed |= bool(wrong)
            shutil.rmtree(folder / path)
        failed |= bool(arguments.files) and _files_failed(folder, arguments.files, arguments.seed)
    return 1 if failed else 0


def _files_failed(folder: Path, count: int, seed: int) -> bool:
    started = time.monotonic()
    images = [
        path
        for enhanced in (False, True)
        for series in write_study(
            folder / f"enhanced-{enhanced}", make_study(3, "siemens", size="small", enhanced=enhanced)
        )
        for path in series.paths[:6]
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = fuzz_files(folder / "files", images, count, seed)
    print(
        f"{count} files in {time.monotonic() - started:.0f} s: {dict(found.ends)}; the slowest took "
        f"{found.slowest_s:.2f} s of CPU; memory grew by {found.grown_mb:.0f} MB, {found.peak_mb:.0f} MB "
        "at its peak"
    )
    return found.slowest_s > SLOW_S or found.grown_mb * 1024 > _GROWTH_KB


if __name__ == "__main__":
    sys.exit(main())
