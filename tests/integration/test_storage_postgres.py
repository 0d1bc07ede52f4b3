"""What only a real PostgreSQL shows: several processes, lost connections, locks between servers' clients."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import psycopg
import pytest
from sqlalchemy import text

from storage.database import Database, check_schema, upgrade
from storage.engines import make_engine
from storage.errors import SchemaMismatch, StorageUnavailable
from storage.heartbeats import HeartbeatRepository
from storage.lifecycle import ScanEvent, ScanState
from storage.scans import ScanRepository
from storage.studies import InstanceRecord, StudyRepository
from tests.unit.storage.postgres_server import empty_database, postgres_server, require_postgres

NUMBERS = count(1)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    require_postgres()
    with postgres_server() as url:
        yield url


@pytest.fixture
def empty_url(server: str) -> str:
    return empty_database(server, f"node{next(NUMBERS)}")


@pytest.fixture
def url(empty_url: str) -> str:
    upgrade(empty_url)
    return empty_url


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    database = Database(url)
    yield database
    database.close()


def run_at_once(code: str, url: str, processes: int = 2) -> list[str]:
    running = [
        subprocess.Popen([sys.executable, "-c", code, url], stdout=subprocess.PIPE, text=True) for _ in range(processes)
    ]
    words = [word for process in running for word in process.communicate(timeout=60)[0].split()]
    assert [process.returncode for process in running] == [0] * processes
    return words


def instance(number: int) -> InstanceRecord:
    return InstanceRecord(
        sop_instance_uid=f"1.2.3.{number}",
        sop_class_uid="1",
        transfer_syntax_uid="1",
        study_instance_uid="1.2",
        series_instance_uid="1.2.3",
        patient_id="P1",
        path=f"studies/{number}",
        size=1,
        sha256=f"{number:064x}",
    )


def test_processes_that_start_together_make_the_schema_once(empty_url: str) -> None:
    code = "import sys; from storage.database import upgrade; upgrade(sys.argv[1]); print('done')"
    assert "no schema yet" in (check_schema(empty_url) or "")
    assert run_at_once(code, empty_url) == ["done", "done"]
    assert check_schema(empty_url) is None


def test_a_schema_of_a_newer_release_is_refused(url: str) -> None:
    engine = make_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(SchemaMismatch, match="newer"):
        upgrade(url)


def test_processes_that_deliver_together_send_each_object_once(database: Database, url: str) -> None:
    scan_id = StudyRepository(database).record_instance(instance(1)).scan_id
    assert scan_id is not None
    scans = ScanRepository(database)
    scans.apply_event(scan_id, ScanEvent.COMPLETE)
    run = scans.start_run(scan_id, ["1.2.3.1"])
    make = f"""
import sys
from storage.database import Database
from storage.deliveries import DeliveryRepository
from storage.results import ResultRecord, ResultRepository
database = Database(sys.argv[1])
results, outbox = ResultRepository(database), DeliveryRepository(database)
for number in range(12):
    result = results.upsert(ResultRecord(
        run_id={run.id!r}, kind="SEG", sop_instance_uid=f"2.25.{{number}}", sop_class_uid="1",
        series_instance_uid="2.25.9", path=f"results/{{number}}", size=1, sha256="a" * 64))
    outbox.owe(result.id, ["pacs"])
    for row in outbox.due(limit=2):
        print(row.sop_instance_uid)
        outbox.mark_sent(row.id)
for row in outbox.due():
    print(row.sop_instance_uid)
"""
    sent = run_at_once(make, url)
    assert Counter(sent) == {f"2.25.{number}": 1 for number in range(12)}


def test_a_lost_connection_is_named_and_the_next_call_connects_anew(database: Database, url: str) -> None:
    hearts = HeartbeatRepository(database)
    hearts.beat("before")
    dsn = url.replace("+psycopg", "")

    def cut_off() -> None:
        with database.write() as session:
            pid = session.execute(text("SELECT pg_backend_pid()")).scalar_one()
            with psycopg.connect(dsn, autocommit=True) as other:
                other.execute("SELECT pg_terminate_backend(%s)", (pid,))
            session.execute(text("SELECT 1"))

    with pytest.raises(StorageUnavailable) as raised:
        cut_off()
    assert raised.value.transient
    hearts.beat("after")
    assert [row.executor_id for row in hearts.all()] == ["after", "before"]


def test_receiving_and_a_worker_meet_on_one_scan_without_deadlock(database: Database) -> None:
    """A late instance and the worker's events lock the same rows in the same order."""
    studies, scans = StudyRepository(database), ScanRepository(database)
    scan_id = studies.record_instance(instance(0)).scan_id
    assert scan_id is not None

    def receive(first: int) -> None:
        for number in range(first, first + 20):
            studies.record_instance(instance(number))

    def work() -> None:
        for number in range(20):
            scans.set_progress(scan_id, number, "detect")
            state = scans.get(scan_id).status
            event = ScanEvent.ASSEMBLE if state is ScanState.RECEIVED else ScanEvent.COMPLETE
            if state in (ScanState.RECEIVED, ScanState.ASSEMBLING):
                scans.apply_event(scan_id, event)

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(receive, 1), pool.submit(receive, 11), pool.submit(receive, 21), pool.submit(work)]:
            done.result(timeout=60)
    assert len(studies.instances_of("1.2")) == 41
    assert len(studies.scan_facts(scan_id).instances) == 41
