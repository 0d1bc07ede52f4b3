from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from dicom_node.inbound.assembly import AssemblyPolicy, Mode, Outcome, SeriesFacts, StudyFacts, decide
from dicom_node.inbound.stack_completeness import completeness_of
from dicom_node.inbound.unfiled import Unfiled, unfiled
from pipeline.volume import SeriesRole
from storage.receivers import ReceiverRow, Sender

START = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
POLICY = AssemblyPolicy()
_TIMING = {
    "T1": {"series_description": "T1", "repetition_time_ms": 550.0, "echo_time_ms": 9.0},
    "T1CE": {"series_description": "T1 +C", "repetition_time_ms": 550.0, "echo_time_ms": 9.0},
    "T2": {"series_description": "T2", "repetition_time_ms": 5000.0, "echo_time_ms": 100.0},
    "FLAIR": {
        "series_description": "FLAIR",
        "repetition_time_ms": 9000.0,
        "echo_time_ms": 110.0,
        "inversion_time_ms": 2500.0,
    },
}
ROLES = ("T1", "T1CE", "T2", "FLAIR")


def at(seconds):
    return START + timedelta(seconds=seconds)


@pytest.fixture
def study(series):
    """A study of the given roles; last: seconds at which each series' last object came; others: keyword facts."""

    def make(roles=ROLES, last=60.0, without=None, first=0.0, **facts):
        lasts = last if isinstance(last, dict) else dict.fromkeys(roles, last)
        return StudyFacts(
            series=tuple(
                SeriesFacts(
                    headers=series(
                        f"1.{n}", slices=48, step_mm=2.5, without=(without or {}).get(role, ()), **_TIMING[role]
                    ),
                    last_received_at=at(lasts[role]),
                )
                for n, role in enumerate(roles)
            ),
            first_received_at=at(first),
            last_received_at=at(max(lasts.values(), default=first)),
            **{"last_object_at": at(max(lasts.values(), default=first)), **facts},
        )

    return make


@pytest.mark.parametrize(
    ("now", "outcome", "mode"),
    [(79.9, Outcome.WAIT, None), (80.0, Outcome.READY, Mode.FULL), (7000.0, Outcome.READY, Mode.FULL)],
)
def test_four_whole_series_are_ready_when_each_is_quiet(study, now, outcome, mode):
    decision = decide(study(), POLICY, at(now))
    assert (decision.outcome, decision.mode) == (outcome, mode)


def test_one_series_still_arriving_is_named_with_its_age(study):
    facts = study(last={"T1": 0, "T1CE": 10, "T2": 20, "FLAIR": 60})
    decision = decide(facts, POLICY, at(65))
    assert decision.waiting_for == ("FLAIR: last object 5 s ago, settled after 20 s",)
    assert decision.decide_again_at == at(80)
    assert decide(facts, POLICY, at(80)).outcome is Outcome.READY


def test_a_missing_slice_is_named_with_its_place(study):
    decision = decide(study(without={"FLAIR": (6,)}), POLICY, at(100))
    assert decision.outcome is Outcome.WAIT
    assert decision.waiting_for == ("FLAIR: 47 of 48 slices, gap at 12.5 mm",)


def test_a_missing_role_waits_for_the_study_to_be_quiet(study):
    facts = study(roles=("T1", "T1CE", "T2"))
    early = decide(facts, POLICY, at(359))
    assert (early.outcome, early.waiting_for) == (Outcome.WAIT, ("FLAIR: no series yet",))
    assert early.decide_again_at == at(360)
    late = decide(facts, POLICY, at(360))
    assert (late.outcome, late.mode, late.reasons) == (Outcome.READY, Mode.REDUCED, ("FLAIR: no series yet",))


def test_a_gap_that_is_never_filled_ends_in_a_reduced_run(study):
    late = decide(study(without={"FLAIR": (6,)}), POLICY, at(360))
    assert (late.outcome, late.mode) == (Outcome.READY, Mode.REDUCED)


def test_a_study_that_never_ends_goes_on_incomplete_at_the_cap(study):
    facts = study(roles=("T1",), last=5390.0)
    assert decide(facts, POLICY, at(5399)).outcome is Outcome.WAIT
    capped = decide(facts, POLICY, at(5400))
    assert (capped.outcome, capped.mode) == (Outcome.READY, Mode.INCOMPLETE)


def test_nothing_readable_is_ineligible_with_a_reason_for_each_series(series):
    facts = StudyFacts(
        series=(SeriesFacts(headers=series(series_description="localizer"), last_received_at=at(0)),),
        first_received_at=at(0),
        last_received_at=at(0),
        last_object_at=at(0),
    )
    assert decide(facts, POLICY, at(299)).outcome is Outcome.WAIT
    decision = decide(facts, POLICY, at(300))
    assert decision.outcome is Outcome.INELIGIBLE
    assert decision.reasons == ("'localizer' LOCALIZER: a localizer",)


def test_an_empty_study_is_ineligible_in_the_end():
    facts = StudyFacts(series=(), first_received_at=at(0), last_received_at=at(0), last_object_at=at(0))
    assert decide(facts, POLICY, at(10)).outcome is Outcome.WAIT
    assert decide(facts, POLICY, at(300)).reasons == ("no image has been received",)


def test_process_now_goes_on_with_what_is_there(study):
    decision = decide(study(roles=("T1CE",), process_now=True), POLICY, at(61))
    assert (decision.outcome, decision.mode) == (Outcome.READY, Mode.REDUCED)


def test_an_override_can_complete_a_study(study):
    facts = study(overrides={"1.3": SeriesRole.FLAIR})
    assert (
        decide(facts, POLICY, at(100)).roles.choices[SeriesRole.FLAIR].chosen.reasons[0] == "a person set it as FLAIR"
    )


def test_a_better_candidate_on_its_way_is_waited_for(study, series):
    facts = study()
    better = SeriesFacts(
        headers=series("1.9", slices=20, step_mm=1.0, acquisition_type="3D", **_TIMING["T1"]), last_received_at=at(95)
    )
    joined = replace(facts, series=(*facts.series, better), last_received_at=at(95))
    assert decide(joined, POLICY, at(100)).waiting_for == ("T1: last object 5 s ago, settled after 20 s",)


def test_a_clock_that_jumps_back_only_waits(study):
    decision = decide(study(), POLICY, at(-3600))
    assert decision.outcome is Outcome.WAIT
    assert decision.decide_again_at is not None


@pytest.mark.parametrize(
    ("without", "text", "complete"),
    [
        ((), "48 of 48 slices", True),
        ((6,), "47 of 48 slices, gap at 12.5 mm", False),
        ((6, 7, 30), "45 of 48 slices, gap at 12.5 mm", False),
        ((0,), "47 of 48 slices", False),
        ((47,), "47 of 47 slices", True),
        (tuple(range(3, 48)), "3 of 4 slices", False),
        (tuple(range(1, 48, 2)), "24 of 47 slices", False),
    ],
)
def test_completeness(series, without, text, complete):
    found = completeness_of(series(slices=48, step_mm=2.5, without=without))
    assert (str(found), found.complete) == (text, complete)


def test_what_the_pacs_says_is_waited_for_and_never_for_long(study):
    """The last slice is lost: positions cannot show it, the PACS can."""
    facts = study()
    told = [replace(s, held_by_pacs=49 if s.headers.series_instance_uid == "1.3" else 48) for s in facts.series]
    facts = replace(facts, series=tuple(told))
    waiting = decide(facts, POLICY, at(80))
    assert waiting.outcome is Outcome.WAIT
    assert waiting.waiting_for == ("FLAIR: 48 of 48 slices; PACS says 49 instances, 48 here",)
    late = decide(facts, POLICY, at(360))
    assert (late.outcome, late.mode) == (Outcome.READY, Mode.REDUCED)
    assert late.reasons == waiting.waiting_for
    assert decide(replace(facts, process_now=True), POLICY, at(80)).outcome is Outcome.READY


@pytest.mark.parametrize("held", [None, 0, 47, 48])
def test_a_pacs_that_has_no_more_than_is_here_holds_up_nothing(study, held):
    facts = study()
    facts = replace(facts, series=tuple(replace(s, held_by_pacs=held) for s in facts.series))
    assert decide(facts, POLICY, at(80)).outcome is Outcome.READY


def behind(seconds, text="120 objects received and not yet filed"):
    """All that was received before `seconds` has its row."""
    return Unfiled(filed_through=at(seconds), text=text)


@pytest.mark.parametrize(
    ("filed_through", "outcome"), [(30.0, Outcome.WAIT), (79.9, Outcome.WAIT), (80.0, Outcome.READY)]
)
def test_quiet_is_judged_as_of_what_listeners_have_filed(study, filed_through, outcome):
    decision = decide(study(), POLICY, at(200), behind(filed_through))
    assert decision.outcome is outcome
    assert ("120 objects received and not yet filed" in decision.waiting_for) is (outcome is Outcome.WAIT)


def test_a_backlog_never_makes_a_reduced_run(study):
    facts = study(roles=("T1", "T1CE", "T2"))
    assert decide(facts, POLICY, at(1000), behind(359)).outcome is Outcome.WAIT
    assert decide(facts, POLICY, at(1000), behind(360)).mode is Mode.REDUCED


def test_the_cap_and_a_person_do_not_wait_for_a_backlog(study):
    facts = study(last=5390.0)
    assert decide(facts, POLICY, at(5399), behind(100)).outcome is Outcome.WAIT
    assert decide(facts, POLICY, at(5400), behind(100)).mode is Mode.INCOMPLETE
    assert decide(study(process_now=True), POLICY, at(61), behind(0)).outcome is Outcome.READY


@pytest.mark.parametrize(
    ("sender", "waits_for"),
    [
        (Sender(open_since=at(-10)), "PACS1 is still connected"),
        # It brought the study and was released; this one is for something else.
        (Sender(open_since=at(61)), ""),
        (Sender(broken_at=at(61)), "broke off"),
        # It broke off before the study was sent again.
        (Sender(broken_at=at(59)), ""),
        # It is back: with the rest, most likely.
        (Sender(open_since=at(62), broken_at=at(61)), "broke off"),
        (Sender(open_since=at(0), broken_at=at(-5)), "PACS1 is still connected"),
        (Sender(), ""),
    ],
)
def test_a_study_that_looks_whole_waits_for_its_sender_but_not_for_ever(study, sender, waits_for):
    facts, known = study(sender="PACS1"), Unfiled(filed_through=at(1000), senders={"PACS1": sender, "OTHER": sender})
    decision = decide(facts, POLICY, at(100), known)
    assert decision.outcome is (Outcome.WAIT if waits_for else Outcome.READY)
    assert waits_for in "; ".join(decision.waiting_for)
    assert decide(facts, POLICY, at(361), known).mode is Mode.FULL
    assert decide(facts, replace(POLICY, heed_senders=False), at(100), known).outcome is Outcome.READY
    assert decide(replace(facts, process_now=True), POLICY, at(100), known).outcome is Outcome.READY
    assert decide(replace(facts, sender=""), POLICY, at(100), known).outcome is Outcome.READY


@pytest.mark.parametrize(
    ("sender", "waits_for"),
    [
        (Sender(broken_at=at(51)), "broke off"),
        (Sender(broken_at=at(49)), ""),
        (Sender(open_since=at(45)), "still connected"),
        (Sender(open_since=at(55)), ""),
    ],
)
def test_a_sender_is_judged_by_when_its_object_came_and_not_by_the_row(study, sender, waits_for):
    facts, known = study(sender="PACS1", last_object_at=at(50)), Unfiled(filed_through=at(1000))
    decision = decide(facts, POLICY, at(100), replace(known, senders={"PACS1": sender}))
    assert decision.outcome is (Outcome.WAIT if waits_for else Outcome.READY)
    assert waits_for in "; ".join(decision.waiting_for)


def test_two_listeners_together_know_a_sender():
    rows = [
        receiver(senders={"A": Sender(open_since=at(-9)), "B": Sender(broken_at=at(-8))}),
        receiver("receiver-1", senders={"A": Sender(open_since=at(-20), broken_at=at(-30))}),
        receiver("gone", spoke=-100, senders={"C": Sender(open_since=at(-200))}),
    ]
    assert unfiled(rows, at(1)).senders == {
        "A": Sender(open_since=at(-20), broken_at=at(-30)),
        "B": Sender(broken_at=at(-8)),
    }


def receiver(name="receiver-0", spoke=0.0, **condition):
    return ReceiverRow(name=name, at=at(spoke), associations=0, backlog_bytes=0, pressure="", **condition)


def test_the_listener_that_is_furthest_behind_decides():
    rows = [
        receiver(filed_through=at(0), backlog_objects=0),
        receiver("receiver-1", filed_through=at(-40), backlog_objects=120),
        receiver("receiver", filed_through=None),
    ]
    assert unfiled(rows, at(1)) == behind(-40)
    assert unfiled(rows[2:], at(1)) == Unfiled(filed_through=at(1))


def test_a_silent_listener_is_waited_for_no_longer_than_a_minute():
    rows = [receiver(filed_through=at(-5), backlog_objects=1)]
    assert unfiled(rows, at(59.9)) == behind(
        -5, "1 object received and not yet filed; receiver-0 has been silent for 60 s, waited for until 60 s"
    )
    assert unfiled(rows, at(60)) == Unfiled(filed_through=at(60))
