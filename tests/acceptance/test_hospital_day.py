"""A small simulated day: bursts, late images, a study sent twice; and the shape of the day."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.acceptance.hospital_arrivals import Manner, arrivals
from tests.acceptance.hospital_day import CANARY, HospitalDay
from tests.acceptance.hospital_watch import found_in


def test_a_day_has_its_shape_whatever_the_seed() -> None:
    day = arrivals(200, 4, seed=3)
    by_hour = Counter(int(one.hour) for one in day)
    assert sum(by_hour.values()) == 200
    assert by_hour[7] > by_hour[3] == 0
    assert len({one.hour for one in day if int(one.hour) == 7}) == 1  # the night's images in one go
    assert Counter(one.manner for one in day) == {Manner.WHOLE: 160, Manner.LATE: 20, Manner.AGAIN: 20}
    assert day == arrivals(200, 4, seed=3) != arrivals(200, 4, seed=4)


def test_a_canary_is_found_where_it_is() -> None:
    assert found_in([CANARY], [("log", f"of {CANARY}-1".encode()), ("page", b"of nobody")]) == ["log"]


def test_a_small_day_loses_nothing_and_names_nobody(tmp_path: Path) -> None:
    day = HospitalDay(tmp_path, database_url=None, workers=1, analysis_s=0.1, seed=1, studies=4)
    summary = day.run(4.0)
    assert summary.good, summary
    assert summary.delivered == 4
    assert summary.longest_queue >= 1
    assert summary.memory["receive"][0] > 0
