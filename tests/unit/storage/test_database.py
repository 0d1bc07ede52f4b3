from __future__ import annotations

import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError, OperationalError, StatementError

from storage import engines
from storage.columns import one_line, to_json
from storage.database import Database
from storage.engines import make_engine, translate
from storage.errors import Conflict, StorageBusy, StorageError, StorageFault, StorageFull, StorageUnavailable
from storage.tables import Event, Heartbeat


def beat(name: str, at: datetime | None = None) -> Heartbeat:
    return Heartbeat(executor_id=name, role="", at=at or datetime(2026, 1, 1, tzinfo=UTC))


def test_a_write_is_kept_whole_or_not_at_all(database: Database) -> None:
    with database.write() as session:
        session.add(beat("kept"))

    def cut_off() -> None:
        with database.write() as session:
            session.add(beat("lost"))
            session.flush()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        cut_off()
    with database.read() as session:
        session.add(beat("never"))
        session.flush()
    with database.read() as session:
        assert list(session.scalars(select(Heartbeat.executor_id))) == ["kept"]


def test_a_reader_sees_one_snapshot(database: Database) -> None:
    with database.read() as session:
        assert list(session.scalars(select(Heartbeat.executor_id))) == []
        with database.write() as other:
            other.add(beat("meanwhile"))
        assert list(session.scalars(select(Heartbeat.executor_id))) == []
    with database.read() as session:
        assert list(session.scalars(select(Heartbeat.executor_id))) == ["meanwhile"]


def test_times_keep_their_instant_to_the_microsecond_and_come_back_as_utc(database: Database) -> None:
    tokyo = datetime(2026, 3, 29, 10, 0, 0, 123456, tzinfo=timezone(timedelta(hours=9)))
    with database.write() as session:
        session.add(beat("a", tokyo))
    with database.read() as session:
        (at,) = session.scalars(select(Heartbeat.at))
    assert (at, at.tzinfo) == (datetime(2026, 3, 29, 1, 0, 0, 123456, tzinfo=UTC), UTC)


def test_a_time_without_a_zone_is_refused(database: Database) -> None:
    with pytest.raises(StatementError, match="time zone"), database.write() as session:
        session.add(beat("a", datetime(2026, 1, 1)))


def test_foreign_keys_are_held(database: Database) -> None:
    with pytest.raises(IntegrityError), database.write() as session:
        session.add(Event(scan_id="none", at=datetime.now(UTC), kind="x", text="", data={}))


def test_a_constraint_that_trying_again_does_not_cure_is_a_conflict(database: Database) -> None:
    with pytest.raises(Conflict):
        database.run(lambda session: session.execute(text("INSERT INTO series (id, study_id) VALUES (1, 1)")))


def test_an_error_shows_no_parameters(database: Database) -> None:
    with pytest.raises(IntegrityError) as raised, database.write() as session:
        session.add(Event(scan_id="none", at=datetime.now(UTC), kind="x", text="DOE^JANE", data={}))
    assert "DOE^JANE" not in str(raised.value).replace("DETAIL", "")


def test_many_writers_wait_for_their_turn(database: Database) -> None:
    def write(worker: int) -> None:
        for number in range(10):
            with database.write() as session:
                session.add(beat(f"{worker}-{number}"))

    threads = [threading.Thread(target=write, args=(worker,)) for worker in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as session:
        assert len(list(session.scalars(select(Heartbeat)))) == 60


LOCKER = """
import sqlite3, sys
held = sqlite3.connect(sys.argv[1], isolation_level=None)
held.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


def test_a_database_held_by_another_process_is_busy_and_readable(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "BUSY_TIMEOUT_S", 0.1)
    path = sqlite_url.removeprefix("sqlite:///")
    locker = subprocess.Popen(
        [sys.executable, "-c", LOCKER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert locker.stdout is not None
        assert locker.stdout.readline() == "held\n"
        database = Database(sqlite_url)
        with pytest.raises(StorageBusy) as raised, database.write() as session:
            session.add(beat("before"))
        assert raised.value.transient
        with database.read() as session:
            assert list(session.scalars(select(Heartbeat))) == []
    finally:
        locker.communicate(input="")
    with database.write() as session:
        session.add(beat("after"))
    database.close()


class FakePostgresError(Exception):
    def __init__(self, sqlstate: str) -> None:
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("53100", StorageFull),
        ("53300", StorageFull),
        ("55P03", StorageBusy),
        ("58030", StorageFault),
        ("XX001", StorageFault),
        ("57P01", StorageUnavailable),
        ("08006", StorageUnavailable),
        ("42P01", None),
    ],
)
def test_postgres_errors_in_our_words(state: str, expected: type[StorageError] | None) -> None:
    ours = translate(OperationalError("SELECT 1", {}, FakePostgresError(state)))
    assert type(ours) is (expected or type(None))


def test_a_server_that_is_not_there_is_unavailable() -> None:
    database = Database("postgresql+psycopg://node@127.0.0.1:1/none")
    with pytest.raises(StorageUnavailable, match="cannot be reached"), database.read() as session:
        session.execute(text("SELECT 1"))
    database.close()


def test_a_full_database_is_named_and_goes_on_when_there_is_space(sqlite_url: str) -> None:
    database = Database(sqlite_url)

    def allow(pages: int) -> None:
        with database.engine.connect() as connection:
            connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")

    with database.read() as session:
        used = session.execute(text("PRAGMA page_count")).scalar_one()
    allow(used)
    with pytest.raises(StorageFull), database.write() as session:
        session.add_all(beat("x" * 4000 + str(number)) for number in range(50))
    allow(used + 1000)
    with database.write() as session:
        session.add_all(beat("x" * 4000 + str(number)) for number in range(50))
    database.close()


def test_json_is_strict() -> None:
    values: dict[str, Any] = {"a": [float("nan"), 1.5, (float("inf"),)], "b": "ä"}
    assert to_json(values) == '{"a": [null, 1.5, [null]], "b": "\\u00e4"}'


def test_a_line_is_one_line() -> None:
    assert one_line("tab\tend\x00ü") == "tab\\tend\\x00ü"
    assert one_line("abcdef", limit=4) == "abc…"


def test_urls_of_postgres_mean_psycopg_3() -> None:
    engine = make_engine("postgresql://node@127.0.0.1:1/none")
    assert engine.driver == "psycopg"
    engine.dispose()
