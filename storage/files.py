"""The files of a node, under one root on one file system: received, kept, read back, cared for.

Where each file lies is in `storage.paths`. Files are 0640, folders 0750, whatever the umask.
"""

from __future__ import annotations

import errno
import os
import shutil
import threading
import uuid
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path, PurePosixPath

from storage.durable import FOLDER_MODE, as_storage_error, faults_named, file_sha256, sync_folder, write_replacing
from storage.errors import StorageError, StorageFault, StorageFull, UnsafePath
from storage.locks import file_lock
from storage.paths import AREAS, conflict_path, inside, instance_path, safe_name
from storage.spool import SUFFIX, SpoolFile, sweep_spool


class FileStore:
    """Files below `root`, which is made where it is missing. Threads and processes may share one root.

    Args:
        min_free_bytes: receiving stops while less is free, so that the database and the log still can write.

    Raises:
        StorageFault: the root cannot be made.
    """

    def __init__(self, root: Path, *, min_free_bytes: int = 64 << 20) -> None:
        self.root = Path(root).resolve()
        self._min_free_bytes = min_free_bytes
        self._lasting: set[Path] = set()
        self._lasting_lock = threading.Lock()
        with faults_named("making the storage root", self.root):
            self.root.mkdir(parents=True, exist_ok=True)
        for area in AREAS:
            self._lasting_folder(self.root / area)

    # receiving

    @contextmanager
    def new_spool_file(self) -> Iterator[SpoolFile]:
        """A file to receive into; removed at the end unless it was committed.

        Raises:
            StorageFull: less than `min_free_bytes` is free. StorageFault.
        """
        self.check_room()
        with SpoolFile(self.root / "spool") as spool:
            yield spool

    def check_room(self) -> None:
        """Raise StorageFull where less than `min_free_bytes` is free; StorageFault."""
        if self.free_bytes() < self._min_free_bytes:
            raise StorageFull("the storage is nearly full: free some space, receiving goes on by itself")

    @contextmanager
    def second_name(self, path: Path) -> Iterator[SpoolFile]:
        """A complete file below the root as a spool file: `commit` gives it a second name, `path` stays.

        Raises:
            StorageFault: it cannot be read. UnsafePath: it is not below the root.
        """
        self.relative(path)
        with SpoolFile.of_file(self.root / "spool", path) as spool:
            yield spool

    def commit(self, spool: SpoolFile, study_uid: str, series_uid: str, sop_uid: str) -> str:
        """Keep a received instance: its bytes and its name are synced when this returns.

        Received before with the same bytes: the spool file goes and the first path is returned. With other bytes: kept
        under conflicts/, the first file stays untouched.

        Returns:
            The path relative to the root, with '/'.

        Raises:
            StorageFull, StorageFault: nothing was kept and the spool file is gone.
        """
        sha256 = spool.sha256
        for relative in (instance_path(study_uid, series_uid, sop_uid), conflict_path(sop_uid, sha256)):
            if self._settle(spool, relative, sha256):
                return str(relative)
        spool.discard()
        raise StorageFault(f"{relative.name} on the disk is not what it was: check the disk", self.root / relative)

    def commit_upload(self, spool: SpoolFile, scan_id: str, name: str) -> str:
        """Keep an uploaded file as uploads/<scan>/<name>; returns the relative path.

        Raises:
            UnsafePath: a name with anything but letters, digits, '.', '_' and '-'.
            StorageFault: the scan has another file of this name. StorageFull.
        """
        relative = PurePosixPath("uploads", safe_name(scan_id), safe_name(name))
        if not self._settle(spool, relative, spool.sha256):
            spool.discard()
            raise StorageFault(f"the upload already has another file named {name}", self.root / relative)
        return str(relative)

    def _settle(self, spool: SpoolFile, relative: PurePosixPath, sha256: str) -> bool:
        """Give the spool file its name. False where the name is taken by other bytes: the spool file is still there."""
        final = self.root / relative
        try:
            self._lasting_folder(final.parent)
            spool.sync()
            try:
                # link, unlike rename, never replaces: of two associations with one instance the first one wins.
                os.link(spool.path, final)
            except FileExistsError:
                if file_sha256(final) != sha256:
                    return False
            # The loser syncs too: the winner may not have come that far, and both will answer Success.
            sync_folder(final.parent)
        except StorageError:
            spool.discard()
            raise
        except OSError as error:
            spool.discard()
            raise as_storage_error(error, "keeping a received file", final) from error
        spool.discard()
        return True

    # results and uploads

    def write_result(self, run_id: str, name: str, data: bytes) -> str:
        """Put results/<run>/<name> in place in one step, replacing what a cut-off attempt left; the relative path.

        Raises:
            UnsafePath: see `commit_upload`. StorageFull, StorageFault: what was there is still there.
        """
        path = self.run_folder(run_id) / safe_name(name)
        self._replace(path, data)
        return self.relative(path)

    def write_note(self, name: str, data: bytes) -> None:
        """Put <name> at the top of the store in one step; of processes that do so together one is the last.

        Raises:
            UnsafePath: see `commit_upload`. StorageFull, StorageFault: what was there is still there.
        """
        self._replace(self.root / safe_name(name), data)

    def _replace(self, path: Path, data: bytes) -> None:
        write_replacing(path, data, self.root / "spool" / f"{uuid.uuid4().hex}{SUFFIX}")

    def run_folder(self, run_id: str) -> Path:
        """The folder of a run's results, made where it is missing. Raises UnsafePath, StorageFull, StorageFault."""
        return self._lasting_folder(self.root / "results" / safe_name(run_id))

    def upload_folder(self, scan_id: str) -> Path:
        """The folder of a scan's uploaded files, made where it is missing. Raises as `run_folder`."""
        return self._lasting_folder(self.root / "uploads" / safe_name(scan_id))

    def make_folder(self, relative: str) -> Path:
        """A folder of the store, made where it is missing. Raises UnsafePath, StorageFull, StorageFault."""
        return self._lasting_folder(inside(self.root, relative))

    # reading

    def abspath(self, relative: str) -> Path:
        """The file a row's path means.

        Raises:
            UnsafePath: absolute, with '..', or through a link to somewhere outside the root.
        """
        return inside(self.root, relative)

    def relative(self, path: Path) -> str:
        """The path as rows keep it. Raises UnsafePath where it is not below the root."""
        try:
            return Path(path).resolve().relative_to(self.root).as_posix()
        except ValueError:
            raise UnsafePath("a path outside the storage root was refused") from None

    def read(self, relative: str) -> bytes:
        """The bytes of a file. Raises UnsafePath, StorageFault."""
        path = self.abspath(relative)
        with faults_named("reading a file", path):
            return path.read_bytes()

    def verify(self, relative: str, sha256: str) -> bool:
        """True where the file still has this hash; False where it is missing or changed. Raises as `read`."""
        path = self.abspath(relative)
        with faults_named("checking a file", path):
            return path.is_file() and file_sha256(path) == sha256

    # care

    def sweep(self) -> int:
        """Remove spool files whose writer is gone; how many. Safe at any time, next to working processes."""
        return sweep_spool(self.root / "spool")

    def orphans(self, known_paths: Collection[str]) -> list[Path]:
        """Received files no row refers to: synced, but the process died before the row. To be recorded at start.

        Args:
            known_paths: relative paths, from `StudyRepository.known_paths`.
        """
        known = frozenset(known_paths)
        found = (path for area in ("studies", "conflicts") for path in (self.root / area).rglob("*.dcm"))
        return sorted(path for path in found if path.relative_to(self.root).as_posix() not in known)

    def remove_received(self, relative: str) -> bool:
        """Unlink a received file; False where it was gone. Raises UnsafePath, StorageFault."""
        path = self.abspath(relative)
        # An instance lies under conflicts/ where another object took its place first, see `commit`.
        if not any(path.is_relative_to(self.root / area) for area in ("studies", "conflicts")):
            raise UnsafePath("only received files are removed")
        with faults_named("removing a received file", path):
            try:
                path.unlink()
            except FileNotFoundError:
                return False
        return True

    def remove_folder(self, relative: str) -> None:
        """Remove results/<run> or uploads/<scan> with all in it, where it is there. Raises UnsafePath, StorageFault."""
        folder = self.abspath(relative)
        if folder.parent not in (self.root / "results", self.root / "uploads"):
            raise UnsafePath("only the folder of a run or of an upload is removed")
        with faults_named("removing a folder", folder):
            shutil.rmtree(folder, onerror=_unless_gone)

    def free_bytes(self) -> int:
        """What an ordinary user may still write. Raises StorageFault."""
        with faults_named("asking for free space", self.root):
            return shutil.disk_usage(self.root).free

    def lock(self, name: str) -> AbstractContextManager[None]:
        """Be the only process of this name on this root. Raises UnsafePath; on entering AlreadyRunning."""
        return file_lock(self.root / f"{safe_name(name)}.lock")

    def check(self) -> list[str]:
        """What is wrong with the root, in words with a remedy; empty where all is well. Writes and removes a file."""
        problems = []
        for area in AREAS:
            folder = self.root / area
            try:
                with SpoolFile(self.root / "spool") as probe:
                    probe.write(b"probe")
                    probe.sync()
                    name = folder / f"{uuid.uuid4().hex}.probe"
                    os.link(probe.path, name)
                    name.unlink()
                    sync_folder(folder)
            except OSError as error:
                reason = "not on the file system of spool/" if error.errno == errno.EXDEV else str(error.strerror)
                problems.append(f"{folder}: cannot receive files ({reason}): keep the whole root on one writable disk")
            except StorageError as error:
                problems.append(f"{folder}: {error}")
        if not problems and self.free_bytes() < self._min_free_bytes:
            problems.append(f"{self.root}: less than {self._min_free_bytes >> 20} MiB free: receiving is stopped")
        return problems

    def _lasting_folder(self, folder: Path) -> Path:
        """Make a folder whose name lasts, parents first."""
        with self._lasting_lock:
            known = folder in self._lasting
        if known and folder.is_dir():
            return folder
        if folder.parent != self.root and self.root in folder.parents:
            self._lasting_folder(folder.parent)
        with faults_named("making a folder", folder):
            try:
                folder.mkdir(mode=FOLDER_MODE)
                folder.chmod(FOLDER_MODE)
            except FileExistsError:
                if not folder.is_dir():
                    raise
            # Also where another thread or process made it: it may not have synced the name yet.
            sync_folder(folder.parent)
        with self._lasting_lock:
            self._lasting.add(folder)
        return folder


def _unless_gone(_function: object, _path: str, caught: tuple[type[BaseException], BaseException, object]) -> None:
    if not isinstance(caught[1], FileNotFoundError):
        raise caught[1]
