"""The indexer as a process of its own: `python -m dicom_node.inbound.fast`, its work on standard input.

Its parsing and its rows then cost the receiving process no time. It ends when its standard input does: after a normal
stop with everything indexed, after a kill of the receiver at the next record.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from dicom_node.inbound.fast.indexer import Indexer
from dicom_node.inbound.ingest import Ingest
from storage.audit import AuditRepository
from storage.database import Database
from storage.files import FileStore
from storage.locks import file_lock
from storage.studies import StudyRepository

_log = logging.getLogger(__name__)

#: Receiving comes first where the processor is short. Not by more: behind a busy worker studies would wait for rows.
_NICENESS = 4
_FORMER_ENDS_WITHIN_S = 300.0


def start_process(folder: Path, root: Path, database_url: str, session: int) -> subprocess.Popen[bytes]:
    """Start the process; closing its standard input ends it. Raises OSError."""
    process = subprocess.Popen([sys.executable, "-m", __package__], stdin=subprocess.PIPE)
    assert process.stdin is not None
    work = {"folder": str(folder), "root": str(root), "database_url": database_url, "session": session}
    # The URL may hold a password: not on the command line, which every user of the machine can read.
    try:
        process.stdin.write(json.dumps(work).encode() + b"\n")
        process.stdin.flush()
    except OSError:  # it ended before it was told its work
        process.kill()
        process.wait()
        with suppress(OSError):
            process.stdin.close()
        raise
    return process


def main() -> None:
    """Index until standard input ends."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    os.nice(_NICENESS)
    # Ctrl-C goes to the whole group; this process ends after the receiver, with everything indexed.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    work = json.loads(sys.stdin.buffer.readline())
    folder = Path(work["folder"])
    database = Database(work["database_url"])
    # Space is judged where objects are received: these are received already.
    files = FileStore(Path(work["root"]), min_free_bytes=0)
    ingest = Ingest(files, StudyRepository(database), AuditRepository(database))
    ended = threading.Event()
    threading.Thread(target=_wait_for_end, args=(sys.stdin.buffer, ended), daemon=True).start()
    gc.collect()
    gc.freeze()  # as the receiver: what is here by now stays
    # Where a receiver was killed and started again at once, its former indexer may still be at its last record.
    with file_lock(folder / "indexer.lock", wait_s=_FORMER_ENDS_WITHIN_S):
        Indexer(folder, ingest, int(work["session"])).run(ended.is_set)
    database.close()


def _wait_for_end(stream: BinaryIO, ended: threading.Event) -> None:
    while stream.read(1 << 10):
        pass
    ended.set()
