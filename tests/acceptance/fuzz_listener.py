"""The listener that the fuzz campaign attacks: the node's own, in a process of its own, and questions to it."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pynetdicom import AE
from pynetdicom.sop_class import MRImageStorage, Verification

from storage.database import upgrade

ASSOCIATION_TIMEOUT_S = 1.0
IDLE_TIMEOUT_S = 2.0
#: A connection nobody speaks on any more must be closed by then: the longer of the two time-outs, and a slow machine.
HELD_AT_MOST_S = 8.0

_PROGRAM = f"""
import ctypes, gc, os, sys, threading
from pathlib import Path
from dicom_node.inbound.fast.journal_store import JournalStore
from dicom_node.inbound.ingest import Ingest
from dicom_node.inbound.scp import StorageServer
from storage.audit import AuditRepository
from storage.database import Database
from storage.files import FileStore
from storage.studies import StudyRepository

root, path = Path(sys.argv[1]), sys.argv[2]
url = f"sqlite:///{{root}}/node.db"
database = Database(url)
files = FileStore(root / "store", min_free_bytes=0)
ingest = Ingest(files, StudyRepository(database), AuditRepository(database))
journal = JournalStore(files, ingest, segment_bytes=4 << 20, database_url=url) if path == "fast" else None
server = StorageServer(
    ae_title="BTNODE", host="127.0.0.1", port=0, ingest=ingest, journal=journal,
    association_timeout_s={ASSOCIATION_TIMEOUT_S}, idle_timeout_s={IDLE_TIMEOUT_S}, max_associations=50,
)
server.start()
print(server.port, flush=True)
for line in sys.stdin:
    gc.collect()
    # What the allocator keeps of a burst's freed memory is no leak: it is given back before the look.
    ctypes.CDLL(None).malloc_trim(0)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    open_files = len(os.listdir("/proc/self/fd"))
    sizes = [int(status[name].split()[0]) for name in ("VmRSS", "VmHWM")]
    children = Path(f"/proc/self/task/{{os.getpid()}}/children").read_text().split()
    behind = sum(int(Path(f"/proc/{{child}}/statm").read_text().split()[1]) * 4 for child in children)
    print(threading.active_count(), *sizes, behind, open_files, len(gc.get_objects()), flush=True)
server.stop(1)
"""


@dataclass(frozen=True)
class Condition:
    """Of the listener's process. objects: that the garbage collector knows. rss_kb: without freed memory.

    indexer_kb: resident memory of the indexer's process, with what it freed.
    """

    threads: int
    rss_kb: int
    peak_kb: int
    indexer_kb: int
    open_files: int
    objects: int


class Listener:
    """A listener in a process of its own, its files in `root`."""

    def __init__(self, root: Path, path: str) -> None:
        root.mkdir()
        upgrade(f"sqlite:///{root}/node.db")
        self.root = root
        self.process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(root), path],
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
        """Threads, memory and open files now. Raises ValueError where the process is dead."""
        self._ask.write("\n")
        self._ask.flush()
        return Condition(*map(int, self._answers.readline().split()))

    def settled(self, threads: int, open_files: int = 0) -> Condition:
        """The condition once no more than `threads` and `open_files` are there, or when every time-out is over."""
        deadline = time.monotonic() + HELD_AT_MOST_S
        while True:
            now = self.condition()
            done = now.threads <= threads and now.open_files <= open_files
            if done or time.monotonic() > deadline:
                return now
            time.sleep(0.2)

    def stop(self) -> None:
        self._ask.close()
        self.process.wait(60)
        self._answers.close()


def serves(port: int, image: Path) -> bool:
    """Whether the listener answers an echo and keeps an image: on a busy machine at the third try.

    A sender that is held up for longer than the listener's short time-outs is cut off, rightly.
    """
    return any(_serves(port, image) for _ in range(3))


def _serves(port: int, image: Path) -> bool:
    ae = AE()
    ae.add_requested_context(Verification)
    dataset = dcmread(image)
    ae.add_requested_context(MRImageStorage, dataset.file_meta.TransferSyntaxUID)
    association = ae.associate("127.0.0.1", port, ae_title="BTNODE")
    if not association.is_established:
        return False
    connection = association.dul.socket.socket
    answers = (association.send_c_echo(), association.send_c_store(dataset))
    good = all("Status" in answer and answer.Status == 0 for answer in answers)
    association.release()
    connection.close()
    return good
