from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from storage import durable
from storage.errors import AlreadyRunning, StorageError, StorageFault, StorageFull, UnsafePath
from storage.files import FileStore
from storage.paths import conflict_path, instance_path

UIDS = ("1.2", "1.2.3", "1.2.3.4")


@pytest.fixture
def files(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "root")


def receive(files: FileStore, data: bytes, uids: tuple[str, str, str] = UIDS) -> str:
    with files.new_spool_file() as spool:
        spool.write(data[:3])
        spool.write(memoryview(data[3:]))
        assert spool.size == len(data)
        return files.commit(spool, *uids)


def everything(files: FileStore) -> list[str]:
    return sorted(path.relative_to(files.root).as_posix() for path in files.root.rglob("*") if path.is_file())


def test_a_received_file_is_kept_as_it_came_under_a_derived_name(files: FileStore) -> None:
    path = receive(files, b"0123456789")
    assert path == str(instance_path(*UIDS)) == "studies/77ac319bfe1979e2/c47f5b18b8a430e6/" + Path(path).name
    assert files.read(path) == b"0123456789"
    assert files.verify(path, durable.file_sha256(files.abspath(path)))
    assert not files.verify(path, "0" * 64)
    assert not files.verify("studies/none.dcm", "0" * 64)
    assert everything(files) == [path]
    assert files.relative(files.abspath(path)) == path


def test_same_bytes_twice_are_one_file_and_other_bytes_are_kept_beside(files: FileStore) -> None:
    first = receive(files, b"first bytes")
    assert receive(files, b"first bytes") == first
    other = receive(files, b"other bytes")
    assert other.startswith("conflicts/")
    assert receive(files, b"other bytes") == other
    assert files.read(first) == b"first bytes"
    assert everything(files) == sorted([first, other])


def test_modes_do_not_depend_on_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        files = FileStore(tmp_path / "root")
        path = files.abspath(receive(files, b"data"))
        result = files.abspath(files.write_result("run-1", "seg.dcm", b"data"))
    finally:
        os.umask(before)
    assert [oct(p.stat().st_mode & 0o777) for p in (path, result)] == ["0o640", "0o640"]
    assert oct(path.parent.stat().st_mode & 0o777) == "0o750"


@pytest.mark.parametrize("uid", ["../../etc/x", "/etc/passwd", "1" * 65, "", "\0", "0.1", "1.2.\udcff", "..", "a\nb"])
def test_no_uid_leaves_the_store(files: FileStore, uid: str) -> None:
    path = receive(files, b"data", (uid, uid, uid))
    assert files.abspath(path).is_file()
    assert everything(files) == [path]


@pytest.mark.parametrize(
    "path", ["", ".", "..", "/etc/passwd", "studies/../../x", "../root2/x", "elsewhere/x", "studies/\0"]
)
def test_no_row_leads_out_of_the_store(files: FileStore, path: str) -> None:
    with pytest.raises(UnsafePath):
        files.read(path)


def test_a_link_out_of_the_store_is_refused(files: FileStore, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (files.root / "studies" / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(UnsafePath):
        files.read("studies/link")
    with pytest.raises(UnsafePath):
        files.relative(tmp_path / "secret")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "-x", ".hidden", "x" * 121, "a\0", "ä", "a b"])
def test_a_name_that_is_not_plain_is_refused(files: FileStore, name: str) -> None:
    for call in (files.run_folder, files.upload_folder, lambda n: files.write_result("run", n, b""), files.lock):
        with pytest.raises(UnsafePath):
            call(name)


def test_the_name_follows_the_synced_bytes_and_is_synced_itself(
    files: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    receive(files, b"makes the folders")
    done: list[str] = []
    fsync, link = os.fsync, os.link

    def watched_fsync(handle: int) -> None:
        done.append(f"fsync {Path(os.readlink(f'/proc/self/fd/{handle}')).suffix or 'folder'}")
        fsync(handle)

    def watched_link(source: Any, target: Any) -> None:
        done.append("link")
        link(source, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "link", watched_link)
    receive(files, b"data", ("1.2", "1.2.3", "1.2.3.5"))
    assert done == ["fsync .part", "link", "fsync folder"]
    done.clear()
    receive(files, b"data", ("1.2", "1.2.4", "1.2.4.1"))
    assert done == ["fsync folder", "fsync .part", "link", "fsync folder"]
    done.clear()
    receive(files, b"data", ("1.2", "1.2.4", "1.2.4.1"))
    assert done == ["fsync .part", "link", "fsync folder"]


FAULTS = [
    ("write", errno.ENOSPC, StorageFull),
    ("write", errno.EDQUOT, StorageFull),
    ("write", errno.EIO, StorageFault),
    ("fsync", errno.EIO, StorageFault),
    ("fsync", errno.ENOSPC, StorageFull),
    ("link", errno.ENOSPC, StorageFull),
    ("link", errno.EXDEV, StorageFault),
    ("link", errno.EROFS, StorageFault),
]


@pytest.mark.parametrize(("step", "number", "error"), FAULTS)
def test_a_fault_of_the_disk_is_named_and_leaves_nothing(
    files: FileStore, monkeypatch: pytest.MonkeyPatch, step: str, number: int, error: type[StorageError]
) -> None:
    receive(files, b"before", ("1.2", "1.2.3", "1.2.3.0"))
    before = everything(files)

    def fail(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, step, fail)
        with pytest.raises(error) as raised:
            receive(files, b"data")
    assert raised.value.transient
    assert everything(files) == before
    assert files.read(receive(files, b"data")) == b"data"


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_a_result_that_cannot_be_written_leaves_the_former_one(
    files: FileStore, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = files.write_result("run-1", "seg.dcm", b"first")

    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "no space")

    with monkeypatch.context() as patch:
        patch.setattr(os, step, fail)
        with pytest.raises(StorageFull, match=r"seg\.dcm"):
            files.write_result("run-1", "seg.dcm", b"second")
    assert files.read(path) == b"first"
    assert everything(files) == [path]
    assert files.write_result("run-1", "seg.dcm", b"second") == path == "results/run-1/seg.dcm"
    assert files.read(path) == b"second"


def test_a_real_limit_of_the_kernel_is_no_space(files: FileStore) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with files.new_spool_file() as spool, pytest.raises(StorageFull):
            spool.write(bytes(300_000))
        with pytest.raises(StorageFault, match="closed"):
            spool.write(b"more")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert everything(files) == []


def test_receiving_stops_before_the_disk_is_full_and_goes_on_after(tmp_path: Path) -> None:
    files = FileStore(tmp_path / "root", min_free_bytes=1 << 60)
    with pytest.raises(StorageFull, match="nearly full"), files.new_spool_file():
        pass
    assert any("MiB free" in problem for problem in files.check())
    assert receive(FileStore(files.root), b"data")


def test_an_interrupted_sender_leaves_nothing(files: FileStore) -> None:
    def cut_off() -> None:
        with files.new_spool_file() as spool:
            spool.write(b"half")
            raise ConnectionError

    with pytest.raises(ConnectionError):
        cut_off()
    assert everything(files) == []


def test_two_associations_with_one_instance_keep_one_file(files: FileStore) -> None:
    with ThreadPoolExecutor(4) as pool:
        paths = set(pool.map(lambda _: receive(files, b"the same"), range(40)))
    assert everything(files) == list(paths) == [str(instance_path(*UIDS))]


def test_of_many_contents_of_one_uid_none_is_lost(files: FileStore) -> None:
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda n: receive(files, b"content %d" % (n % 4)), range(40)))
    assert len(set(paths)) == 4
    assert {files.read(path) for path in paths} == {b"content %d" % n for n in range(4)}


def test_a_changed_conflict_file_is_a_fault(files: FileStore) -> None:
    receive(files, b"first")
    other = receive(files, b"other")
    files.abspath(other).write_bytes(b"flipped")
    with pytest.raises(StorageFault, match="check the disk"):
        receive(files, b"other")
    assert not list((files.root / "spool").iterdir())


HOLDER = """
import sys, time
from pathlib import Path
from storage.files import FileStore
with FileStore(Path(sys.argv[1])).new_spool_file() as spool:
    spool.write(b"half")
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(files: FileStore) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        process = subprocess.Popen([sys.executable, "-c", HOLDER, str(files.root)], stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_sweep_takes_what_a_killed_process_left_and_spares_what_is_in_use(
    files: FileStore, holder: Callable[[], subprocess.Popen[str]]
) -> None:
    process = holder()
    with files.new_spool_file() as ours:
        assert files.sweep() == 0
        process.kill()
        process.wait()
        assert files.sweep() == 1
        assert everything(files) == [f"spool/{ours.path.name}"]


def test_a_sweep_spares_what_is_about_to_be_put_in_place(files: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    replace, swept = os.replace, []

    def replace_after_a_sweep(source: Path, target: Path) -> None:
        swept.append(FileStore(files.root).sweep())
        replace(source, target)

    monkeypatch.setattr(durable.os, "replace", replace_after_a_sweep)
    path = files.write_result("run-1", "seg.dcm", b"data")
    files.write_note("models.json", b"{}")
    assert swept == [0, 0]
    assert everything(files) == ["models.json", path]


def test_orphans_are_received_files_without_a_row(files: FileStore) -> None:
    known = receive(files, b"with a row")
    orphan = receive(files, b"without", ("1.2", "1.2.3", "1.2.3.9"))
    conflict = receive(files, b"other", UIDS)
    files.write_result("run-1", "seg.dcm", b"not received")
    assert files.orphans({known}) == sorted(files.abspath(path) for path in (orphan, conflict))
    assert files.orphans({known, orphan, conflict}) == []


def test_an_upload_keeps_its_plain_name(files: FileStore) -> None:
    for _ in range(2):
        with files.new_spool_file() as spool:
            spool.write(b"nifti")
            assert files.commit_upload(spool, "scan-1", "t1.nii.gz") == "uploads/scan-1/t1.nii.gz"
    with files.new_spool_file() as spool:
        spool.write(b"other")
        with pytest.raises(StorageFault, match="another file"):
            files.commit_upload(spool, "scan-1", "t1.nii.gz")
    assert everything(files) == ["uploads/scan-1/t1.nii.gz"]
    assert files.upload_folder("scan-1") == files.root / "uploads" / "scan-1"


def test_check_is_silent_on_a_good_root_and_names_a_bad_area(files: FileStore) -> None:
    assert files.check() == []
    (files.root / "conflicts").rmdir()
    (files.root / "conflicts").symlink_to("/dev/shm")
    if os.stat("/dev/shm").st_dev != files.root.stat().st_dev:
        (problem,) = files.check()
        assert "conflicts" in problem
        assert "not on the file system of spool/" in problem
    (files.root / "conflicts").unlink()
    assert any("conflicts" in problem for problem in files.check())
    assert everything(files) == []


def test_a_root_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "root").write_text("")
    with pytest.raises(StorageFault, match="storage root"):
        FileStore(tmp_path / "root")


def test_one_process_of_a_name(files: FileStore) -> None:
    first, second = files.lock("receive"), files.lock("receive")
    with first, files.lock("work"), pytest.raises(AlreadyRunning, match="another process holds"), second:
        pass
    with files.lock("receive"):
        pass


def test_paths_depend_on_the_whole_uid() -> None:
    assert instance_path("1.2", "1.3", "1.4") != instance_path("1.2", "1.3", "1.40")
    assert conflict_path("1.4", "a" * 64) != conflict_path("1.4", "b" * 64)


def test_processes_that_leave_one_note_together_leave_one_of_them(files: FileStore) -> None:
    notes = [bytes([number]) * 50_000 for number in range(8)]

    def leave(note: bytes) -> None:
        for _ in range(20):
            FileStore(files.root, min_free_bytes=0).write_note("note.json", note)

    with ThreadPoolExecutor(len(notes)) as pool:
        list(pool.map(leave, notes))
    assert (files.root / "note.json").read_bytes() in notes
    assert everything(files) == ["note.json"]


def test_only_the_folder_of_a_run_or_an_upload_is_removed_and_only_where_it_is(files: FileStore) -> None:
    files.write_result("run-1", "seg.dcm", b"data")
    kept = receive(files, b"data")
    for folder in ("results/run-1", "results/run-1", "uploads/none"):
        files.remove_folder(folder)
    for folder in ("results", "studies", str(Path(kept).parent), "results/a/b"):
        with pytest.raises(UnsafePath):
            files.remove_folder(folder)
    assert everything(files) == [kept]
