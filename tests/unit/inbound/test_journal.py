from __future__ import annotations

import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dicom_node.inbound.fast.cursor import Cursor
from dicom_node.inbound.fast.journal import MAX_RECORD_DATA_BYTES, Journal
from dicom_node.inbound.fast.reader import Damage, JournalReader, Record
from dicom_node.inbound.fast.records import HEADER_BYTES, checksum, pack_claim
from dicom_node.inbound.fast.segments import FIRST_RECORD, Place
from storage.errors import StorageFault, StorageFull
from tests.unit.inbound.fast_objects import claim, data_set

SEGMENT = 4 << 20
AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
START = Place(sequence=0, offset=0)


def append(journal: Journal, number: int, data: bytes | None = None) -> int:
    said, data = pack_claim(claim(number)), data_set(number) if data is None else data
    return journal.append(said, data, checksum(said, data))


def everything(folder: Path, place: Place = START) -> list[Record | Damage]:
    reader = JournalReader(folder, place)
    found = []
    while (one := reader.next()) is not None:
        found.append(one)
    reader.close()
    return found


def numbers(found: list[Record | Damage]) -> list[int]:
    return [int(one.claim.sop_instance_uid.rpartition(".")[2]) for one in found if isinstance(one, Record)]


def test_what_was_appended_is_read_back_with_claim_and_time(tmp_path: Path) -> None:
    journal = Journal(tmp_path, segment_bytes=SEGMENT, clock=lambda: AT)
    for number in range(3):
        journal.commit(append(journal, number))
    found = everything(tmp_path)
    assert numbers(found) == [0, 1, 2]
    assert isinstance(found[1], Record)
    assert (found[1].data, found[1].file, found[1].claim.received_at) == (data_set(1), "", AT)
    assert found[1].claim.calling_ae == "MODALITY"
    assert everything(tmp_path, found[1].after) == found[2:]
    assert found[2].after == journal.end
    journal.close()


def test_it_tells_up_to_when_all_is_indexed_and_how_many_wait(tmp_path: Path) -> None:
    now = [AT]
    journal = Journal(tmp_path, segment_bytes=SEGMENT, clock=lambda: now[0])
    assert journal.filed_through() == (AT, 0)
    for seconds in range(3):
        now[0] = AT + timedelta(seconds=seconds)
        append(journal, seconds)
    now[0] = AT + timedelta(seconds=60)
    assert journal.filed_through() == (AT, 3)
    cursor, found = Cursor(tmp_path), everything(tmp_path)
    cursor.write(found[0].after, 1, sync=False)
    assert journal.filed_through() == (AT + timedelta(seconds=1), 2)
    journal.close()
    second = Journal(tmp_path, segment_bytes=SEGMENT, clock=lambda: now[0])
    append(second, 4)
    assert second.filed_through() == (AT + timedelta(seconds=1), 3)
    cursor.write(second.end, 4, sync=False)
    assert second.filed_through() == (now[0], 0)
    second.close()


def test_records_go_on_in_the_next_segment_and_indexed_segments_are_used_again(tmp_path: Path) -> None:
    journal, cursor = Journal(tmp_path, segment_bytes=SEGMENT, max_segments=4), Cursor(tmp_path)
    block = bytes(MAX_RECORD_DATA_BYTES)
    place, seen = START, []
    for number in range(20):
        journal.commit(append(journal, number, block))
        (record,) = everything(tmp_path, place)
        place = record.after
        seen += numbers([record])
        cursor.write(place, number + 1, sync=False)
    assert seen == list(range(20))
    assert len(list(tmp_path.glob("*.journal"))) <= 4
    assert journal.end.sequence == 7
    assert journal.indexed
    journal.close()


def test_a_backlog_over_the_limit_is_out_of_resources(tmp_path: Path) -> None:
    journal = Journal(tmp_path, segment_bytes=SEGMENT, max_segments=2)
    for number in range(6):
        append(journal, number, bytes(MAX_RECORD_DATA_BYTES))
    with pytest.raises(StorageFull):
        append(journal, 6, bytes(MAX_RECORD_DATA_BYTES))
    assert journal.backlog_bytes() > SEGMENT
    journal.close()


def test_a_torn_tail_is_cut_and_the_next_session_goes_on_behind_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path, segment_bytes=SEGMENT)
    append(journal, 0)
    torn = journal.end.offset
    append(journal, 1)
    journal.close()
    with (tmp_path / "0000.journal").open("r+b") as stream:
        stream.seek(torn + HEADER_BYTES + 200)
        stream.write(b"\0" * 500)
    assert numbers(everything(tmp_path)) == [0]
    second = Journal(tmp_path, segment_bytes=SEGMENT)
    append(second, 2)
    assert numbers(everything(tmp_path)) == [0, 2]
    assert not any(isinstance(one, Damage) for one in everything(tmp_path))
    second.close()


@pytest.mark.parametrize("where", [0, 10, HEADER_BYTES + 5, HEADER_BYTES + 300])
def test_a_flipped_bit_costs_one_record_and_is_told(tmp_path: Path, where: int) -> None:
    journal = Journal(tmp_path, segment_bytes=SEGMENT)
    append(journal, 0)
    at = journal.end.offset
    append(journal, 1)
    append(journal, 2)
    journal.close()
    with (tmp_path / "0000.journal").open("r+b") as stream:
        stream.seek(at + where)
        byte = stream.read(1)[0]
        stream.seek(at + where)
        stream.write(bytes([byte ^ 4]))
    Journal(tmp_path, segment_bytes=SEGMENT).close()  # the former segment is complete now
    found = everything(tmp_path)
    assert numbers(found) == [0, 2]
    assert [one.place.offset for one in found if isinstance(one, Damage)] == [at]


def test_what_an_earlier_use_of_a_segment_held_is_not_read(tmp_path: Path) -> None:
    first = Journal(tmp_path, segment_bytes=SEGMENT)
    for number in range(5):
        append(first, number)
    end = first.end
    first.close()
    Cursor(tmp_path).write(Place(sequence=end.sequence + 1, offset=FIRST_RECORD), 5, sync=True)
    second = Journal(tmp_path, segment_bytes=SEGMENT)
    append(second, 9)
    assert numbers(everything(tmp_path, Cursor(tmp_path).read())) == [9]
    assert len(list(tmp_path.glob("*.journal"))) == 1
    second.close()


def test_one_sync_serves_all_that_were_appended_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path, segment_bytes=SEGMENT)
    syncs: list[int] = []
    under_way, go_on = threading.Event(), threading.Event()

    def slow(descriptor: int) -> None:
        syncs.append(descriptor)
        under_way.set()
        go_on.wait(5)

    monkeypatch.setattr(os, "fdatasync", slow)
    first = append(journal, 0)
    threads = [threading.Thread(target=journal.commit, args=(first,))]
    threads[0].start()
    under_way.wait(5)
    threads += [threading.Thread(target=journal.commit, args=(append(journal, n),)) for n in range(1, 6)]
    for thread in threads[1:]:
        thread.start()
    go_on.set()
    for thread in threads:
        thread.join(5)
    assert len(syncs) == 2
    journal.close()


def test_after_a_failed_sync_nothing_of_it_is_acknowledged_and_the_next_segment_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path, segment_bytes=SEGMENT)
    safe = append(journal, 0)
    journal.commit(safe)
    lost = [append(journal, 1), append(journal, 2)]

    def broken(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", broken)
    with pytest.raises(StorageFault):
        journal.commit(lost[0])
    monkeypatch.undo()
    with pytest.raises(StorageFault):
        journal.commit(lost[1])
    journal.commit(safe)
    journal.commit(append(journal, 3))
    with pytest.raises(StorageFault):
        journal.commit(lost[1])
    assert journal.end.sequence == 2
    journal.close()


def test_a_cursor_survives_and_a_damaged_one_begins_anew(tmp_path: Path) -> None:
    cursor = Cursor(tmp_path)
    assert cursor.read() == START
    cursor.write(Place(sequence=3, offset=640), 17, sync=True)
    assert (Cursor(tmp_path).read(), cursor.count()) == (Place(sequence=3, offset=640), 17)
    (tmp_path / "cursor").write_bytes(b"\1" * 28)
    assert cursor.read() == START
