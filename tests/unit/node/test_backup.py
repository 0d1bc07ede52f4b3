"""Backups: whole, checked before use, never over something that is there, resumable."""

from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dicom_node.backup.layout import BackupUnusable, Summary, damaged_files, read_hashes
from dicom_node.backup.making import make_backup
from dicom_node.backup.restoring import UNFINISHED, RestoreRefused, refuse_unfinished, restore_backup
from dicom_node.inbound.ingest import Ingest
from storage.audit import AuditRepository
from storage.database import Database, upgrade
from storage.files import FileStore
from storage.studies import StudyRepository
from tests.mr_series import mr_series

NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A store with two received files, of which one has no row yet, a result and a journal."""
    files = FileStore(tmp_path / "root", min_free_bytes=0)
    upgrade(url(files.root))
    for number in (1, 2):
        with files.new_spool_file() as spool:
            spool.write(b"\0" * 128 + b"DICM" + bytes([number]) * 1000)
            files.commit(spool, "1.2.3", "1.2.3.4", f"1.2.3.4.{number}")
    files.write_result("scan-1", "report.json", b"{}")
    files.make_folder("spool/receiver-0")
    (files.root / "spool/receiver-0/00000001.journal").write_bytes(b"journal")
    (files.root / "spool/half.part").write_bytes(b"being received")
    (files.root / "web-secret").write_text("s" * 48)
    (files.root / "research-key").write_bytes(b"k" * 32)
    return files.root


def url(root: Path) -> str:
    return f"sqlite:///{root / 'node.sqlite'}"


def back_up(root: Path, out: Path, since: Path | None = None) -> Summary:
    return make_backup(root=root, database_url=url(root), out=out, made_at=NOW, software_version="1.2.3", since=since)


def content(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and not path.name.startswith("node.sqlite") and path.suffix != ".part"
    }


def test_a_backup_restored_is_the_same_store(root: Path, tmp_path: Path) -> None:
    summary = back_up(root, tmp_path / "backup")
    assert summary.files == 7  # rows, two instances, result, journal, two secrets
    restored = tmp_path / "restored"
    assert restore_backup(backup=tmp_path / "backup", root=restored, database_url=url(restored)) == summary
    assert content(restored) == content(root)
    assert {(restored / name).stat().st_mode & 0o777 for name in ("web-secret", "research-key")} == {0o600}
    refuse_unfinished(restored)
    database = Database(url(restored))
    FileStore(restored)  # opens
    assert StudyRepository(database).known_paths() == set()
    database.close()


def test_a_file_without_a_row_gets_one_after_the_restore(root: Path, tmp_path: Path) -> None:
    files = FileStore(root, min_free_bytes=0)
    received = mr_series(slices=1).write(tmp_path / "sent")[0]
    with files.new_spool_file() as spool:
        spool.write(received.read_bytes())
        files.commit(spool, "1.9", "1.9.1", "1.9.1.1")
    back_up(root, tmp_path / "backup")
    restored = tmp_path / "restored"
    restore_backup(backup=tmp_path / "backup", root=restored, database_url=url(restored))
    database = Database(url(restored))
    studies = StudyRepository(database)
    Ingest(FileStore(restored), studies, AuditRepository(database)).adopt_orphans()
    assert len(studies.known_paths()) == 1
    database.close()


def test_the_list_is_one_that_sha256sum_reads(root: Path, tmp_path: Path) -> None:
    back_up(root, tmp_path / "backup")
    command = ["sha256sum", "--check", "--strict", "files.sha256"]
    done = subprocess.run(command, cwd=tmp_path / "backup", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("OK") == 7


def test_since_links_what_never_changes_and_copies_the_rest(root: Path, tmp_path: Path) -> None:
    back_up(root, tmp_path / "first")
    back_up(root, tmp_path / "second", since=tmp_path / "first")
    assert read_hashes(tmp_path / "second").keys() == read_hashes(tmp_path / "first").keys()
    links = {path: (tmp_path / "second" / path).stat().st_nlink for path in read_hashes(tmp_path / "second")}
    assert {path for path, count in links.items() if count == 2} == {p for p in links if p.startswith("store/studies/")}
    assert damaged_files(tmp_path / "second") == []


def test_a_damaged_backup_is_refused_by_name_and_nothing_is_touched(root: Path, tmp_path: Path) -> None:
    back_up(root, tmp_path / "backup")
    (victim,) = (tmp_path / "backup/store/results/scan-1").iterdir()
    victim.write_bytes(b"[]")
    assert damaged_files(tmp_path / "backup") == ["store/results/scan-1/report.json"]
    with pytest.raises(BackupUnusable, match=r"store/results/scan-1/report\.json"):
        restore_backup(backup=tmp_path / "backup", root=tmp_path / "new", database_url=url(tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_a_folder_without_its_summary_is_no_backup(root: Path, tmp_path: Path) -> None:
    back_up(root, tmp_path / "backup")
    (tmp_path / "backup/backup.json").unlink()
    with pytest.raises(BackupUnusable, match=r"no complete backup"):
        restore_backup(backup=tmp_path / "backup", root=tmp_path / "new", database_url=url(tmp_path / "new"))


def test_nothing_that_is_there_is_overwritten(root: Path, tmp_path: Path) -> None:
    back_up(root, tmp_path / "backup")
    before = content(root)
    with pytest.raises(RestoreRefused, match="is not empty"):
        restore_backup(backup=tmp_path / "backup", root=root, database_url=url(root))
    with pytest.raises(BackupUnusable, match="is not empty"):
        back_up(root, tmp_path / "backup")
    with pytest.raises(BackupUnusable, match="lies in the store"):
        back_up(root, root / "backup")
    assert content(root) == before


def test_a_restore_that_was_cut_off_keeps_the_node_from_starting_and_can_be_done_again(
    root: Path, tmp_path: Path
) -> None:
    back_up(root, tmp_path / "backup")
    restored = tmp_path / "restored"
    restored.mkdir()
    (restored / UNFINISHED).touch()
    shutil.copytree(tmp_path / "backup/store/studies", restored / "studies")
    with pytest.raises(RestoreRefused, match="run `tumor-node restore` again"):
        refuse_unfinished(restored)
    restore_backup(backup=tmp_path / "backup", root=restored, database_url=url(restored))
    refuse_unfinished(restored)
    assert content(restored) == content(root)
