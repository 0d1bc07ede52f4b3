"""A copy of the rows becomes the same rows again, on both databases."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from storage.database import Database, check_schema
from storage.errors import Conflict, StorageFault
from storage.snapshots import database_is_empty, restore_database, snapshot_database, snapshot_name
from storage.users import UserRepository
from storage.vocabulary import AccountStatus, Role
from tests.unit.storage.postgres_server import empty_database


def make_user(database: Database, name: str) -> None:
    UserRepository(database).create(
        username=name,
        email=f"{name}@example.org",
        hashed_password="x",
        full_name="Zoë Ağ",
        role=Role.DOCTOR,
        status=AccountStatus.ACTIVE,
    )


@pytest.fixture
def other_url(database_url: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """An empty database of the same kind."""
    if database_url.startswith("sqlite"):
        return f"sqlite:///{tmp_path / 'other.sqlite'}"
    return empty_database(database_url, f"restored_{abs(hash(request.node.name)) % 10**8}")


def test_a_snapshot_becomes_the_same_rows_again(
    database: Database, database_url: str, other_url: str, tmp_path: Path
) -> None:
    make_user(database, "ada")
    snapshot = tmp_path / snapshot_name(database_url)
    snapshot_database(database_url, snapshot)
    make_user(database, "later")

    assert database_is_empty(other_url)
    restore_database(snapshot, other_url)

    assert check_schema(other_url) is None
    restored = Database(other_url)
    users = UserRepository(restored)
    assert users.by_username("ada").full_name == "Zoë Ağ"  # type: ignore[union-attr]
    assert users.by_username("later") is None
    make_user(restored, "next")  # the counters were restored too
    restored.close()


def test_what_has_tables_is_not_overwritten(database: Database, database_url: str, tmp_path: Path) -> None:
    snapshot = tmp_path / snapshot_name(database_url)
    snapshot_database(database_url, snapshot)
    with pytest.raises(Conflict, match="has tables already"):
        restore_database(snapshot, database_url)


def test_a_snapshot_of_the_other_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Conflict, match="cannot become a database of the kind 'sqlite'"):
        restore_database(tmp_path / "rows.pgdump", f"sqlite:///{tmp_path / 'new.sqlite'}")


def test_a_damaged_database_gives_no_snapshot(sqlite_url: str, tmp_path: Path) -> None:
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    data = bytearray(path.read_bytes())
    data[4096 : 4096 * 3] = b"\xff" * 8192
    path.write_bytes(data)
    with pytest.raises(StorageFault, match=r"node\.sqlite"):
        snapshot_database(sqlite_url, tmp_path / "rows.sqlite")


def test_a_snapshot_is_one_state_although_rows_are_written_meanwhile(sqlite_url: str, tmp_path: Path) -> None:
    database = Database(sqlite_url)
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            make_user(database, f"user{number}")
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(5):
            snapshot_database(sqlite_url, tmp_path / f"{number}.sqlite")
    finally:
        stop.set()
        writer.join()
    database.close()
    counts = []
    for number in range(5):
        with sqlite3.connect(tmp_path / f"{number}.sqlite") as copy:
            names = [name for (name,) in copy.execute("SELECT username FROM users ORDER BY id")]
        copy.close()
        assert names == [f"user{index}" for index in range(len(names))]
        counts.append(len(names))
    assert counts == sorted(counts)
