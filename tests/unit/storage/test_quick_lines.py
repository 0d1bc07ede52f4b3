from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import insert, update

from storage.database import Database
from storage.quick_lines import LineReader, line_reader
from storage.scan_pages import LINE_FIELDS, Order, ScanFilter, decode_cursor
from storage.scans import ScanRepository
from storage.tables import Scan

AT = datetime(2026, 11, 23, 12, 0, 0, 120, tzinfo=UTC)
MODALITIES = LINE_FIELDS.index("modalities")


@pytest.fixture
def scans(database: Database) -> ScanRepository:
    rows: list[dict[str, Any]] = [
        {
            "id": f"scan-{number}",
            "patient_id": f"P{number}",
            "patient_name": "Müller^Jürgen = ミュラー \\ \"'",
            "scan_date": "2026-11-23",
            "modalities": ["T1", "FLAIR"][: number % 3],
            "source": "cstore",
            "status": "delivered",
            "finding": None if number == 2 else f"tumour {number} %",
            "results": {"schema_version": 1} if number == 2 else None,
            "run": 1,
            # Three of them at one moment, and one on a whole second.
            "created_at": AT.replace(microsecond=0 if number == 5 else max(number, 3)),
            "updated_at": AT,
            "deleted_at": AT if number == 6 else None,
        }
        for number in range(8)
    ]
    with database.write() as session:
        for row in rows:
            session.execute(insert(Scan), row)
    return ScanRepository(database)


def same(line: tuple[Any, ...]) -> tuple[Any, ...]:
    return (*line[:MODALITIES], json.loads(line[MODALITIES]), *line[MODALITIES + 1 :])


@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_the_lines_are_those_of_the_usual_way(database: Database, scans: ScanRepository, order: Order) -> None:
    reader = line_reader(database)

    async def every_page() -> None:
        cursor, seen = None, 0
        while True:
            usual = scans.list_lines(cursor, 3, order=order)
            place = None if cursor is None else decode_cursor(cursor, ScanFilter(), order)
            quick = await reader.read(place, 3, order)
            assert quick is not None
            assert [same(line) for line in quick] == [tuple(line) for line in usual.lines]
            assert all(at.utcoffset() is not None for line in quick for at in line if isinstance(at, datetime))
            seen += len(quick)
            cursor = usual.next_cursor
            if cursor is None:
                break
        assert seen == 7

    asyncio.run(every_page())
    # Another loop: connections of the one before are not used in it.
    asyncio.run(every_page())


def test_a_change_is_seen_at_once(database: Database, scans: ScanRepository) -> None:
    reader = line_reader(database)

    async def first() -> object:
        found = await reader.read(None, 1, "newest")
        assert found is not None
        return found[0][LINE_FIELDS.index("progress")]

    async def around_a_change() -> tuple[object, object]:
        before = await first()
        with database.write() as session:
            session.execute(update(Scan).values(progress=70))
        return before, await first()

    assert asyncio.run(around_a_change()) == (0, 70)


def test_many_at_once_are_all_answered(database: Database, scans: ScanRepository) -> None:
    reader = line_reader(database)

    async def together() -> list[Any]:
        return await asyncio.gather(*(reader.read(None, 8, "newest") for _ in range(20)))

    assert [len(found) for found in asyncio.run(together())] == [7] * 20


def test_a_database_that_went_away_is_not_waited_for(database: Database, scans: ScanRepository) -> None:
    reader = line_reader(database)
    elsewhere = Database(_elsewhere(database))
    database.on_close(elsewhere.close)
    broken: Any = line_reader(elsewhere)

    async def ask(which: LineReader) -> object:
        return await which.read(None, 1, "newest")

    assert asyncio.run(ask(broken)) is None
    assert asyncio.run(ask(reader)) is not None
    _mend(broken, reader)
    assert asyncio.run(ask(broken)) is None  # it rests
    broken._rest._until = 0.0
    assert asyncio.run(ask(broken)) is not None


def _elsewhere(database: Database) -> str:
    url = database.engine.url
    if database.engine.dialect.name == "sqlite":
        return f"sqlite:///{url.database}-gone"
    return url.set(database="gone").render_as_string(hide_password=False)


def _mend(broken: Any, reader: Any) -> None:
    for name in ("_path", "_url"):
        if hasattr(broken, name):
            setattr(broken, name, getattr(reader, name))


@pytest.fixture(autouse=True)
def _closed(database: Database) -> Iterator[None]:
    yield
    database.close()
