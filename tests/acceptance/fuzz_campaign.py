"""Hostile input by the thousand, from a seed: mutated PDUs at a live listener, mutated DICOM files at their readers.

python -m tests.acceptance.fuzz_campaign --pdus 100000 --files 20000 [--seed 1] [--path fast,pynetdicom]

The listener runs in a process of its own. After the campaign it must answer a C-ECHO and a C-STORE, hold no more
threads than before, have grown by less than 20 MB, and have left no file outside the store.
"""

from __future__ import annotations

import argparse
import random
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pynetdicom import AE
from pynetdicom.sop_class import MRImageStorage, Verification

from dicom_node.errors import DicomNodeError
from dicom_node.inbound.conversion import load_series
from dicom_node.inbound.headers import InstanceHeader, read_header
from dicom_node.inbound.ingest import Ingest
from dicom_node.inbound.refusals import ObjectUnreadable
from dicom_node.phantom.study import make_study
from dicom_node.phantom.write_dicom import write_study
from pipeline.volume import SeriesRole
from storage.audit import AuditRepository
from storage.database import Database, upgrade
from storage.files import FileStore
from storage.studies import StudyRepository

LISTENER = """
import signal, sys, threading
from pathlib import Path
from dicom_node.inbound.fast.journal_store import JournalStore
from dicom_node.inbound.ingest import Ingest
from dicom_node.inbound.scp import StorageServer
from storage.audit import AuditRepository
from storage.database import Database
from storage.files import FileStore
from storage.studies import StudyRepository

root, path = Path(sys.argv[1]), sys.argv[2]
database = Database(f"sqlite:///{root}/node.db")
files = FileStore(root / "store", min_free_bytes=0)
ingest = Ingest(files, StudyRepository(database), AuditRepository(database))
journal = JournalStore(files, ingest, segment_bytes=4 << 20) if path == "fast" else None
server = StorageServer(
    ae_title="BTNODE", host="127.0.0.1", port=0, ingest=ingest, journal=journal, association_timeout_s=1.0,
    idle_timeout_s=2.0, max_associations=50,
)
server.start()
print(server.port, flush=True)
for line in sys.stdin:
    names = [thread.name for thread in threading.enumerate()]
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    print(len(names), int(status["VmRSS"].split()[0]), flush=True)
server.stop(1)
"""

_TIMEOUT_S = 4.0
_EXPECTED = {"store", "node.db", "node.db-wal", "node.db-shm", "node.db.upgrade-lock"}


@dataclass(frozen=True, kw_only=True)
class Condition:
    """threads, rss_kb: of the listener's process."""

    threads: int
    rss_kb: int


class Listener:
    """A listener in a process of its own."""

    def __init__(self, root: Path, path: str) -> None:
        root.mkdir()
        upgrade(f"sqlite:///{root}/node.db")
        self.root = root
        self.process = subprocess.Popen(
            [sys.executable, "-c", LISTENER, str(root), path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._ask, self._answers = self.process.stdin, self.process.stdout
        self.port = int(self._answers.readline())

    def condition(self) -> Condition:
        """Threads and memory now. Raises ValueError where the process is dead."""
        self._ask.write("\n")
        self._ask.flush()
        threads, rss_kb = map(int, self._answers.readline().split())
        return Condition(threads=threads, rss_kb=rss_kb)

    def settled(self, threads: int) -> Condition:
        """The condition once no more than `threads` are there, or when every time-out is over."""
        deadline = time.monotonic() + 2 * _TIMEOUT_S
        while (now := self.condition()).threads > threads and time.monotonic() < deadline:
            time.sleep(0.2)
        return now

    def stop(self) -> None:
        self._ask.close()
        self.process.wait(20)
        self._answers.close()


def serves(port: int, image: Path) -> bool:
    """Whether the listener answers an echo and keeps an image."""
    ae = AE()
    ae.add_requested_context(Verification)
    ae.add_requested_context(MRImageStorage)
    dataset = dcmread(image)
    ae.requested_contexts = ae.requested_contexts[:1]
    ae.add_requested_context(MRImageStorage, dataset.file_meta.TransferSyntaxUID)
    association = ae.associate("127.0.0.1", port, ae_title="BTNODE")
    if not association.is_established:
        return False
    connection = association.dul.socket.socket
    good = association.send_c_echo().Status == 0 and association.send_c_store(dataset).Status == 0
    association.release()
    connection.close()
    return good


@contextmanager
def recorded_session(image: Path) -> Iterator[list[bytes]]:
    """What DCMTK-like senders put on the wire for one image: the PDUs of an association, as a list."""
    pdus: list[bytes] = []
    dataset = dcmread(image)
    command = _store_command(str(dataset.SOPClassUID), str(dataset.SOPInstanceUID))
    data = image.read_bytes()
    data = data[data.index(b"\x08\x00\x05\x00") if b"\x08\x00\x05\x00" in data else 400 :][:20000]
    data += b"\0" * (len(data) % 2)
    pdus.append(_association_request(str(dataset.SOPClassUID), str(dataset.file_meta.TransferSyntaxUID)))
    pdus.append(_p_data(1, 3, command))
    half = len(data) // 4 * 2
    pdus.append(_p_data(1, 0, data[:half]))
    pdus.append(_p_data(1, 2, data[half:]))
    pdus.append(_p_data(3, 3, _echo_command()))
    pdus.append(struct.pack(">BBL", 5, 0, 4) + bytes(4))
    yield pdus


def _item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(value)) + value


def _association_request(sop_class: str, syntax: str) -> bytes:
    contexts = b"".join(
        _item(0x20, bytes((number, 0, 0, 0)) + _item(0x30, abstract.encode()) + _item(0x40, transfer.encode()))
        for number, abstract, transfer in ((1, sop_class, syntax), (3, str(Verification), "1.2.840.10008.1.2"))
    )
    user = _item(0x50, _item(0x51, struct.pack(">L", 16384)) + _item(0x52, b"1.2.3.4"))
    body = struct.pack(">HH16s16s32x", 1, 0, b"BTNODE".ljust(16), b"FUZZ".ljust(16))
    body += _item(0x10, b"1.2.840.10008.3.1.1.1") + contexts + user
    return struct.pack(">BBL", 1, 0, len(body)) + body


def _p_data(context_id: int, control: int, data: bytes) -> bytes:
    return struct.pack(">BBLLBB", 4, 0, len(data) + 6, len(data) + 2, context_id, control) + data


def _command(*elements: tuple[int, bytes]) -> bytes:
    body = b"".join(struct.pack("<HHL", 0, number, len(value)) + value for number, value in elements)
    return struct.pack("<HHLL", 0, 0, 4, len(body)) + body


def _uid(text: str) -> bytes:
    return text.encode() + b"\0" * (len(text) % 2)


def _store_command(sop_class: str, instance: str) -> bytes:
    return _command(
        (0x0002, _uid(sop_class)), (0x0100, b"\1\0"), (0x0110, b"\1\0"), (0x0700, b"\0\0"), (0x0800, b"\0\0"),
        (0x1000, _uid(instance)),
    )  # fmt: skip


def _echo_command() -> bytes:
    return _command((0x0002, _uid(str(Verification))), (0x0100, b"\x30\0"), (0x0110, b"\2\0"), (0x0800, b"\1\1"))


_LENGTHS = (0, 1, 2, 5, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)


def mutated(chance: random.Random, data: bytes) -> bytes:
    """`data` with one to four wounds: flipped bits, lengths that lie, pieces cut, doubled, or exchanged for noise."""
    wounded = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        if not wounded:
            break
        # Headers are where mistakes matter: half the wounds are among the first bytes.
        at = chance.randrange(len(wounded) if chance.random() < 0.5 else min(len(wounded), 400))
        match chance.randrange(6):
            case 0:
                wounded[at] ^= 1 << chance.randrange(8)
            case 1:
                wounded[at : at + 4] = struct.pack(chance.choice("<>") + "L", chance.choice(_LENGTHS))
            case 2:
                del wounded[at : at + chance.randint(1, 64)]
            case 3:
                wounded[at:at] = wounded[at : at + chance.randint(1, 64)]
            case 4:
                wounded[at : at + 8] = chance.randbytes(8)
            case 5:
                del wounded[at:]
    return bytes(wounded)


def fuzz_pdus(port: int, image: Path, count: int, seed: int, workers: int = 4) -> Counter[str]:
    """Send `count` mutated PDUs, each behind whole ones that lead up to it; how the connections ended."""
    ends: Counter[str] = Counter()
    lock = threading.Lock()

    def work(number: int) -> None:
        chance = random.Random(seed * 1000 + number)
        with recorded_session(image) as pdus:
            for _ in range(number, count, workers):
                end = _attack(port, chance, pdus)
                with lock:
                    ends[end] += 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return ends


def _attack(port: int, chance: random.Random, pdus: list[bytes]) -> str:
    target = chance.randrange(len(pdus))
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), _TIMEOUT_S) as connection:
        connection.settimeout(_TIMEOUT_S)
        for pdu in pdus[:target]:
            connection.sendall(pdu)
            if pdu[0] == 1 and connection.recv(1 << 14)[:1] != b"\x02":
                return "rejected"
        connection.sendall(mutated(chance, pdus[target]))
        if chance.random() < 0.3:
            return "left"  # without a word, as a cable pulled
        connection.shutdown(socket.SHUT_WR)
        try:
            while connection.recv(1 << 14):
                pass
        except TimeoutError:
            return "held past the time-out"
        return "closed"
    return "reset"


def fuzz_files(folder: Path, images: list[Path], count: int, seed: int) -> Counter[str]:
    """Mutated files through header reader, ingest and conversion; what became of them. Raises what none should."""
    chance = random.Random(seed)
    folder.mkdir()
    url = f"sqlite:///{folder}/node.db"
    upgrade(url)
    database = Database(url)
    files = FileStore(folder / "store", min_free_bytes=0)
    ingest = Ingest(files, StudyRepository(database), AuditRepository(database))
    sources = [image.read_bytes() for image in images]
    ends: Counter[str] = Counter()
    for number in range(count):
        data = mutated(chance, chance.choice(sources))
        try:
            header = read_header(data)
            assert InstanceHeader.from_json(header.to_json()) is not None
            outcome = "read"
            if number % 10 == 0:  # filing takes a sync each
                outcome = str(ingest.receive_file(data, source="fuzz").taken)
            elif number % 20 == 1:
                outcome = _converted(folder / "series", images[:5], data)
            ends[outcome] += 1
        except (ObjectUnreadable, DicomNodeError) as error:
            ends[type(error).__name__] += 1
    database.close()
    shutil.rmtree(folder / "series", ignore_errors=True)
    assert strays(folder, _EXPECTED) == []
    return ends


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


def campaign(folder: Path, path: str, pdus: int, seed: int) -> tuple[Counter[str], list[str]]:
    """PDUs against one receive path: how connections ended, and what was found wrong."""
    study = make_study(3, "siemens", size="small", clutter=False, roles=(SeriesRole.T1,), salt=f"fuzz-{path}")
    image = write_study(folder / f"study-{path}", study)[0].paths[0]
    listener = Listener(folder / path, path)
    wrong: list[str] = []
    try:
        fuzz_pdus(listener.port, image, min(200, pdus // 4), seed + 1)  # warm: pools and buffers have their size
        before = listener.settled(0) if pdus >= 1000 else listener.condition()
        ends = fuzz_pdus(listener.port, image, pdus, seed)
        after = listener.settled(before.threads)
        if after.threads > before.threads:
            wrong.append(f"{after.threads - before.threads} threads more than before")
        if after.rss_kb - before.rss_kb > 20_000:
            wrong.append(f"memory grew by {(after.rss_kb - before.rss_kb) >> 10} MB")
        if ends["held past the time-out"]:
            wrong.append(f"{ends['held past the time-out']} connections were held past the time-out")
        if not serves(listener.port, image):
            wrong.append("an echo or an image was not answered with success afterwards")
    finally:
        listener.stop()
    if left := strays(folder / path, _EXPECTED):
        wrong.append(f"files outside the store: {left}")
    return ends, wrong


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
        for path in arguments.path.split(","):
            ends, wrong = campaign(folder, path, arguments.pdus, arguments.seed)
            print(f"{path}: {arguments.pdus} PDUs: {dict(ends)}; {'; '.join(wrong) or 'nothing wrong'}", flush=True)
            failed |= bool(wrong)
        images = sorted((folder).glob("study-*/**/*.dcm"))
        print(f"{arguments.files} files: {dict(fuzz_files(folder / 'files', images, arguments.files, arguments.seed))}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
