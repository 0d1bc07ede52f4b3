"""Rejecting a run takes back what was sent, at the destinations that asked for rejection notes."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import highdicom
import pytest
from pydicom import dcmread

from dicom_node.results.rejection_note import KIND
from dicom_node.routing import Routing
from dicom_node.store import Store
from storage.clock import utc_now
from storage.lifecycle import ScanEvent
from storage.results import ResultRow
from storage.vocabulary import REJECTION_NOTE, DeliveryState, ReviewVerdict
from tests.outbox import SteppedClock
from tests.unit.node.reviewed_runs import done, opened_store, review_follow_up

ROUTING = Routing(kinds_by_destination={"archive": ("SEG", "SR", "REJECTION"), "viewer": ("SEG", "SR")})


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock(utc_now())


@pytest.fixture
def store(tmp_path: Path, clock: SteppedClock) -> Iterator[Store]:
    with opened_store(tmp_path, clock) as opened:
        yield opened


def owed(store: Store, run_id: str, *kinds: str) -> list[ResultRow]:
    rows = [row for row in store.results.of_run(run_id) if row.kind in kinds]
    for row in rows:
        store.deliveries.owe(row.id, ["archive", "viewer"])
    return rows


def send(store: Store, *kinds: str) -> None:
    for row in store.deliveries.due():
        if row.kind in kinds:
            store.deliveries.mark_sent(row.id)


def rejected(store: Store, run_id: str, clock: SteppedClock) -> list[ResultRow]:
    store.reviews.add(
        run_id, ReviewVerdict.REJECTED, comment="Oedema reaches too far.", reviewer="ada", reviewer_name="Ada Lovelace"
    )
    return notes(store, run_id, clock)


def notes(store: Store, run_id: str, clock: SteppedClock) -> list[ResultRow]:
    review_follow_up(store, ROUTING, clock=clock).tick()
    return [row for row in store.results.of_run(run_id) if row.kind == "REJECTION"]


def test_a_note_names_what_was_sent_and_goes_where_notes_are_asked_for(
    store: Store, clock: SteppedClock, debian_tool: Callable[[str], str]
) -> None:
    run_id = done(store)
    sent = owed(store, run_id, "SEG", "SR")
    send(store, "SEG", "SR")
    (note,) = rejected(store, run_id, clock)
    path = store.files.abspath(note.path)
    dataset = dcmread(path)
    assert dataset.ConceptNameCodeSequence[0].CodeValue == "113001"
    read = highdicom.ko.KeyObjectSelectionDocument.from_dataset(dataset)
    assert {row.sop_instance_uid for row in sent} == {
        str(item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID)
        for item in dataset.ContentSequence
        if "ReferencedSOPSequence" in item
    }
    for row in sent:
        study, series, _ = read.resolve_reference(row.sop_instance_uid)
        assert (study, series) == (dataset.StudyInstanceUID, row.series_instance_uid)
    source = dcmread(store.files.abspath(sent[0].path), stop_before_pixels=True)
    for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "AccessionNumber", "StudyDate"):
        assert dataset[keyword].value == source[keyword].value, keyword
    texts = [item.TextValue for item in dataset.ContentSequence if "TextValue" in item]
    assert any("Oedema reaches too far." in text for text in texts)
    assert "Ada Lovelace^" in {str(item.PersonName) for item in dataset.ContentSequence if "PersonName" in item}
    said = subprocess.run([debian_tool("dciodvfy"), str(path)], capture_output=True, text=True, check=False).stderr
    assert [line for line in said.splitlines() if line.startswith("Error")] == []
    scan_id = store.scans.run(run_id).scan_id
    to = [row.destination for row in store.deliveries.of_scan(scan_id) if row.kind == "REJECTION"]
    assert to == ["archive"]
    assert store.reviews.to_carry_out() == []


# As real headers have them; reading and writing them pydicom warns, and the library's constructors refuse them.
@pytest.mark.filterwarnings("ignore:Invalid value for VR")
@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PatientSex", "U"),
        ("PatientSex", "X"),
        ("PatientBirthDate", "19700000"),
        ("PatientBirthDate", "00000000"),
        ("StudyDate", "20260000"),
        ("StudyTime", "12:30:00"),
    ],
)
def test_a_note_has_the_sources_identity_whatever_that_holds(
    store: Store, clock: SteppedClock, keyword: str, value: str
) -> None:
    run_id = done(store, **{keyword: value})
    owed(store, run_id, "SEG", "SR")
    send(store, "SEG", "SR")
    (note,) = rejected(store, run_id, clock)
    dataset = dcmread(store.files.abspath(note.path))
    assert dataset[keyword].value == value
    assert dataset.PatientID == "ID-7"
    assert store.reviews.to_carry_out() == []


def test_a_review_that_cannot_be_followed_up_keeps_no_later_one_waiting(
    store: Store, clock: SteppedClock, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = done(store), done(store, StudyInstanceUID="1.2.826.99")
    for run_id in (first, second):
        owed(store, run_id, "SEG", "SR")
    send(store, "SEG", "SR")
    broken = next(row for row in store.results.of_run(first) if row.kind == "SEG")
    store.files.abspath(broken.path).write_bytes(b"not DICOM")
    assert rejected(store, first, clock) == []
    assert len(rejected(store, second, clock)) == 1
    assert [review.run_id for review in store.reviews.to_carry_out()] == [first]
    assert first in capsys.readouterr().out


def test_rows_and_results_call_it_the_same() -> None:
    assert KIND == REJECTION_NOTE


def test_what_was_not_sent_needs_no_note(store: Store, clock: SteppedClock) -> None:
    run_id = done(store)
    owed(store, run_id, "SEG", "SR")
    assert rejected(store, run_id, clock) == []
    assert store.reviews.to_carry_out() == []


def test_an_object_on_its_way_is_waited_for(store: Store, clock: SteppedClock) -> None:
    run_id = done(store)
    owed(store, run_id, "SEG", "SR")
    taken = store.deliveries.due()
    assert rejected(store, run_id, clock) == []
    assert len(store.reviews.to_carry_out()) == 1
    for row in taken:
        if row.kind == "SEG":
            store.deliveries.mark_sent(row.id)
    clock.advance(601.0)  # longer than a sender has a row to itself
    (note,) = notes(store, run_id, clock)
    of = dcmread(store.files.abspath(note.path)).CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    assert [len(series.ReferencedSOPSequence) for series in of] == [1]
    assert store.reviews.to_carry_out() == []


def test_a_pass_that_was_cut_off_gives_the_same_bytes(store: Store, clock: SteppedClock) -> None:
    run_id = done(store)
    owed(store, run_id, "SEG", "SR")
    send(store, "SEG", "SR")
    (note,) = rejected(store, run_id, clock)
    (review,) = store.reviews.of_scan(store.scans.run(run_id).scan_id)
    follow_up = review_follow_up(store, ROUTING, clock=clock)
    assert follow_up.rejections.make(review)
    assert [row.sha256 for row in store.results.of_run(run_id) if row.kind == "REJECTION"] == [note.sha256]


def test_no_note_goes_out_where_the_run_was_accepted_while_it_was_written(store: Store, clock: SteppedClock) -> None:
    run_id = done(store)
    owed(store, run_id, "SEG", "SR")
    send(store, "SEG", "SR")
    review = store.reviews.add(
        run_id, ReviewVerdict.REJECTED, comment="Oedema.", reviewer="ada", reviewer_name="Ada L."
    )
    store.reviews.add(run_id, ReviewVerdict.ACCEPTED, reviewer="ada")
    assert review_follow_up(store, ROUTING, clock=clock).rejections.make(review)
    assert states_of_notes(store, run_id) == []


def states_of_notes(store: Store, run_id: str) -> list[DeliveryState]:
    rows = store.deliveries.of_scan(store.scans.run(run_id).scan_id)
    return [row.state for row in rows if row.kind == "REJECTION"]


def test_a_run_may_be_rejected_accepted_and_rejected_again(store: Store, clock: SteppedClock) -> None:
    run_id = done(store)
    owed(store, run_id, "SEG", "SR")
    send(store, "SEG", "SR")
    rejected(store, run_id, clock)
    assert states_of_notes(store, run_id) == [DeliveryState.OWED]
    store.reviews.add(run_id, ReviewVerdict.ACCEPTED, reviewer="curie")
    assert states_of_notes(store, run_id) == [DeliveryState.WITHDRAWN]
    clock.advance(60.0)
    found = rejected(store, run_id, clock)
    assert len({row.sop_instance_uid for row in found}) == 2
    assert states_of_notes(store, run_id) == [DeliveryState.WITHDRAWN, DeliveryState.OWED]
    states = {row.state for row in store.deliveries.of_scan(store.scans.run(run_id).scan_id) if row.kind != "REJECTION"}
    assert states == {DeliveryState.SENT}


def test_what_was_taken_back_and_accepted_after_all_is_sent_by_a_new_run(store: Store, clock: SteppedClock) -> None:
    """A PACS that heeds the note hides those very objects: only new ones are seen."""
    run_id = done(store)
    run = store.scans.run(run_id)
    owed(store, run_id, "SEG")
    send(store, "SEG")
    assert rejected(store, run_id, clock)
    send(store, "REJECTION")
    for event in (ScanEvent.ANALYSED, ScanEvent.REPORTED, ScanEvent.DELIVERED, ScanEvent.RETRY):
        store.scans.apply_event(run.scan_id, event)
    assert store.scans.start_run(run.scan_id, ["a"]).id == run_id  # rejected: it stands
    store.scans.apply_event(run.scan_id, ScanEvent.UNCHANGED)
    store.reviews.add(run_id, ReviewVerdict.ACCEPTED, comment="", reviewer="ada", reviewer_name="Ada Lovelace")
    for event in (ScanEvent.DELIVERED, ScanEvent.RETRY):
        store.scans.apply_event(run.scan_id, event)
    again = store.scans.start_run(run.scan_id, ["a"])
    assert (again.id != run_id, again.number) == (True, run.number + 1)
    assert store.scans.start_run(run.scan_id, ["a"]).id == again.id
