from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from storage.audit import AuditRepository
from storage.database import Database
from storage.errors import InvalidQuery, NotFound
from storage.heartbeats import HeartbeatRepository
from storage.requests import RequestRepository
from storage.vocabulary import RequestKind
from tests.unit.storage.conftest import FakeClock


def test_events_are_added_and_listed(database: Database, clock: FakeClock, ready: str) -> None:
    audit = AuditRepository(database, clock)
    login = audit.append("login", "user 4 signed in", data={"ip": "127.0.0.1"})
    view = audit.append("view", "user 4 saw the scan", scan_id=ready)
    assert audit.list(kind="login") == [login]
    assert audit.list(scan_id=ready)[-1] == view
    assert audit.list(after_id=login.id) == [view]
    assert audit.list(newest_first=True, limit=2) == [view, login]
    assert (login.at, login.data, login.scan_id) == (clock(), {"ip": "127.0.0.1"}, None)


def test_a_peers_words_cannot_forge_a_line(database: Database) -> None:
    event = AuditRepository(database).append("associate", "AE 'X\r\n2026 login admin\x1b[2J\u2028'")
    assert event.text == r"AE 'X\r\n2026 login admin\x1b[2J\u2028'"


def test_an_event_of_an_unreasonable_length_is_cut(database: Database) -> None:
    assert len(AuditRepository(database).append("x", "y" * 100_000).text) == 2000


@pytest.mark.parametrize("limit", [0, 1001])
def test_a_limit_outside_1_to_1000_is_refused(database: Database, limit: int) -> None:
    with pytest.raises(InvalidQuery, match="limit"):
        AuditRepository(database).list(limit=limit)


def test_a_request_is_pending_until_it_is_handled_once(database: Database, clock: FakeClock, ready: str) -> None:
    requests = RequestRepository(database, clock)
    now = requests.add(ready, RequestKind.PROCESS_NOW)
    role = requests.add(ready, RequestKind.ROLE_OVERRIDE, {"series": "1.2.3", "role": "T2"})
    assert requests.add(ready, RequestKind.PROCESS_NOW) == now
    assert requests.add(ready, RequestKind.ROLE_OVERRIDE, {"series": "1.2.3", "role": "T1"}).id != role.id
    assert [row.id for row in requests.pending(2)] == [now.id, role.id]
    clock.forward(3)
    assert requests.mark_handled(now.id) is True
    assert requests.mark_handled(now.id) is False
    assert now.id not in [row.id for row in requests.pending()]
    assert requests.of_scan(ready)[0].handled_at == clock()
    assert requests.add(ready, RequestKind.PROCESS_NOW).id != now.id
    with pytest.raises(NotFound, match="no scan"):
        requests.add("none", RequestKind.RETRY)
    with pytest.raises(NotFound, match="no request"):
        requests.mark_handled(999)


def test_two_clicks_at_once_ask_once(database: Database, ready: str) -> None:
    requests = RequestRepository(database)
    with ThreadPoolExecutor(4) as pool:
        asked = list(pool.map(lambda _: requests.add(ready, RequestKind.RETRY).id, range(4)))
    assert len(set(asked)) == 1


def test_a_silent_process_is_found_and_taken_over_once(database: Database, clock: FakeClock) -> None:
    hearts = HeartbeatRepository(database, clock)
    hearts.beat("worker-1", "work")
    hearts.beat("worker-2", "work")
    clock.forward(61)
    hearts.beat("worker-2", "work")
    assert [row.executor_id for row in hearts.all()] == ["worker-1", "worker-2"]
    (dead,) = hearts.stale(timedelta(seconds=60))
    assert (dead.executor_id, dead.role, dead.at) == ("worker-1", "work", clock() - timedelta(seconds=61))
    hearts.beat("worker-1", "work")  # it was only slow
    assert hearts.forget("worker-1", dead.at) is False
    clock.forward(61)
    dead = hearts.stale(timedelta(seconds=60))[0]
    assert [hearts.forget(dead.executor_id, dead.at) for _ in range(2)] == [True, False]


def test_many_first_beats_at_once_are_one_row(database: Database) -> None:
    hearts = HeartbeatRepository(database)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: hearts.beat("worker-1"), range(8)))
    assert len(hearts.all()) == 1
