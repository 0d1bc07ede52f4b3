from __future__ import annotations

import threading
from typing import Any

import pytest
from sqlalchemy import delete, text, update

from storage.account_tables import AuditHead
from storage.audit import AuditRepository, TrailFilter
from storage.database import Database
from storage.tables import Event


@pytest.fixture
def audit(database: Database, clock: Any) -> AuditRepository:
    repository = AuditRepository(database, clock)
    for number in range(5):
        clock.forward(1)
        repository.append("audit.view-scan", f"entry {number}", data={"username": f"u{number % 2}", "n": 1.5})
    repository.append("received", "not of the trail")
    return repository


def test_the_chain_holds_and_its_last_seal_proves_what_came_before(audit: AuditRepository) -> None:
    before = audit.verify()
    assert (before.ok, before.sealed, before.unsealed) == (True, 5, 0)
    audit.append("audit.sign-in", "another")
    assert audit.verify(before.last_sha256).ok
    assert "written anew" in audit.verify("0" * 64).fault


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        pytest.param(lambda ids: update(Event).where(Event.id == ids[2]).values(text="other"), "changed", id="text"),
        pytest.param(lambda ids: update(Event).where(Event.id == ids[2]).values(data={}), "changed", id="data"),
        pytest.param(lambda ids: delete(Event).where(Event.id == ids[2]), "taken out", id="taken out"),
        pytest.param(lambda ids: delete(Event).where(Event.id == ids[0]), "taken out", id="first"),
        pytest.param(lambda ids: delete(Event).where(Event.id == ids[4]), "missing", id="last"),
        pytest.param(lambda ids: update(Event).where(Event.id == ids[3]).values(sha256=None), "no seal", id="seal"),
        pytest.param(lambda ids: delete(AuditHead), "missing", id="head"),
    ],
)
def test_a_change_is_found(audit: AuditRepository, database: Database, change: Any, fault: str) -> None:
    ids = [row.id for row in reversed(audit.trail())]
    with database.write() as session:
        session.execute(change(ids))
    assert fault in audit.verify().fault


def test_an_older_releases_entries_may_stand_before(audit: AuditRepository, database: Database) -> None:
    ids = [row.id for row in audit.trail()]
    with database.write() as session:
        session.execute(update(Event).values(sha256=None))
        session.execute(delete(AuditHead))
    audit.append("audit.view-scan", "the first that is sealed")
    report = audit.verify()
    assert (report.ok, report.unsealed, report.sealed) == (True, len(ids), 1)


def test_the_trail_is_read_by_pages_and_filters(audit: AuditRepository) -> None:
    newest = audit.trail(limit=2)
    assert [row.text for row in newest] == ["entry 4", "entry 3"]
    assert [row.text for row in audit.trail(before_id=newest[-1].id, limit=2)] == ["entry 2", "entry 1"]
    assert [row.text for row in audit.trail(TrailFilter(username="u1"))] == ["entry 3", "entry 1"]
    assert [row.text for row in audit.trail(after_id=newest[-1].id, oldest_first=True)] == ["entry 4"]
    assert audit.trail(TrailFilter(action="sign-in")) == []


def test_threads_make_one_chain(audit: AuditRepository, database: Database) -> None:
    def write() -> None:
        for _ in range(5):
            audit.append("audit.view-scan", "x")

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report = audit.verify()
    assert (report.ok, report.sealed) == (True, 25)
    with database.read() as session:
        assert session.execute(text("select count(*) from audit_heads")).scalar() == 1
