"""Reading every file at rest again, a few at a time, before somebody needs one that has changed on the disk."""

from __future__ import annotations

import hashlib
import math
import os
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from storage.durable import faults_named, sync_folder
from storage.files import FileStore
from storage.removals import RemovalRepository
from storage.requests import RequestRepository
from storage.scrubbing import Kept, KeptFile, ScrubRepository
from storage.vocabulary import RequestKind

log = structlog.get_logger("scrub")

_DAY_S = 86_400.0
#: Read between two looks at the order of reading.
_BATCH = 100


@dataclass(frozen=True, kw_only=True)
class Damage:
    """A file that is not what its row says. settled: what was done about it, in words."""

    path: str
    what: str
    settled: str


@dataclass(frozen=True, kw_only=True)
class ScrubTally:
    """files, bytes: read. damages: found."""

    files: int = 0
    bytes: int = 0
    damages: tuple[Damage, ...] = ()


class Scrub:
    """Reads files and settles what is damaged.

    asks_pacs: a damaged image is asked of the PACS again. encode: from a run's id to its result objects by path, once
    more; what has the hash of its row is put back.
    """

    def __init__(
        self,
        scrubs: ScrubRepository,
        removals: RemovalRepository,
        requests: RequestRepository,
        files: FileStore,
        *,
        asks_pacs: bool,
        encode: Callable[[str], Mapping[str, bytes]],
    ) -> None:
        self._scrubs = scrubs
        self._removals = removals
        self._requests = requests
        self._files = files
        self._asks_pacs = asks_pacs
        self._encode = encode

    def share(self, of_days: float, every_s: float) -> ScrubTally:
        """What is due of a pass that takes so many days when called every so many seconds. Raises StorageError."""
        tally = ScrubTally()
        for kind in Kept:
            due = math.ceil(self._scrubs.total(kind) * every_s / (of_days * _DAY_S))
            tally = _sum(tally, self._read(self._scrubs.next_files(kind, max(1, due))))
        return tally

    def all(self) -> ScrubTally:
        """One whole pass over every file, wherever the pass under way stands. Raises StorageError."""
        tally = ScrubTally()
        for kind in Kept:
            while self._scrubs.next_files(kind, _BATCH):
                pass  # the rest of the pass under way is part of the whole one
            while batch := self._scrubs.next_files(kind, _BATCH):
                tally = _sum(tally, self._read(batch))
        return tally

    def _read(self, files: list[KeptFile]) -> ScrubTally:
        damages = [damage for file in files if (damage := self._look(file)) is not None]
        return ScrubTally(files=len(files), bytes=sum(file.size for file in files), damages=tuple(damages))

    def _look(self, file: KeptFile) -> Damage | None:
        if self._files.verify(file.path, file.sha256):
            return None
        path = self._files.abspath(file.path)
        what = "changed on the disk" if path.is_file() else "gone from the disk"
        settled = self._image(file, path, what) if file.kind is Kept.RECEIVED else self._result(file, what)
        if settled is None:
            return None
        log.error("file damaged", path=file.path, what=what, settled=settled, scan=file.scan_id)
        return Damage(path=file.path, what=what, settled=settled)

    def _image(self, file: KeptFile, path: Path, what: str) -> str | None:
        asked = self._asks_pacs and file.scan_id is not None
        aside = self._kept_aside(path)
        settled = "asked of the PACS again" if asked else "to be sent again, or fetched from the PACS"
        text = f"a received image is {what}; {settled}"
        removal = self._scrubs.image_damaged(file, aside, text)
        if removal is None:
            return None  # removed by policy between the order and the look
        self._removals.carry_out(removal)
        if asked and file.scan_id is not None:
            self._requests.add(file.scan_id, RequestKind.FETCH)
        return settled

    def _kept_aside(self, path: Path) -> str:
        if not path.is_file():
            return ""
        # Not *.dcm: what has no row and that suffix is taken in at the next start.
        target = self._files.make_folder("conflicts") / f"{path.stem[:32]}-{uuid.uuid4().hex}.damaged"
        with faults_named("keeping a damaged file aside", target):
            os.link(path, target)
        sync_folder(target.parent)
        return self._files.relative(target)

    def _result(self, file: KeptFile, what: str) -> str:
        self._scrubs.result_damaged(file, f"a result object is {what}")
        try:
            data = self._encode(str(file.owner)).get(file.path)
        except Exception as error:  # what it is made from may be damaged too; the object stays named as damaged
            log.error("not encoded again", run=file.owner, exc_info=error)
            return f"could not be encoded again ({type(error).__name__}): it is not sent"
        if data is None or hashlib.sha256(data).hexdigest() != file.sha256:
            return "cannot be made again with the same bytes: it is not sent"
        self._files.write_result(str(file.owner), Path(file.path).name, data)
        self._scrubs.repaired(file, "the result object was written anew, byte for byte")
        return "written anew, byte for byte"


def _sum(one: ScrubTally, other: ScrubTally) -> ScrubTally:
    return ScrubTally(
        files=one.files + other.files, bytes=one.bytes + other.bytes, damages=(*one.damages, *other.damages)
    )
