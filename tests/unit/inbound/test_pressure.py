from __future__ import annotations

from dicom_node.inbound.pressure import Pressure


def test_pressure_begins_at_the_limit_and_ends_later() -> None:
    now = {"free": 1000 << 20, "backlog": 0}
    pressure = Pressure(
        free_bytes=lambda: now["free"],
        min_free_bytes=100 << 20,
        backlog_bytes=lambda: now["backlog"],
        max_backlog_bytes=1000 << 20,
    )
    said = []
    for free, backlog in ((1000, 0), (99, 0), (110, 0), (126, 0), (110, 0), (1000, 901), (1000, 700), (1000, 599)):
        now["free"], now["backlog"] = free << 20, backlog << 20
        said.append(pressure.reason())
    assert said == [
        "",
        "99 MB free on the disk, storage.min_free_mb is 100",
        "110 MB free on the disk, storage.min_free_mb is 100",
        "",
        "",
        "901 MB wait to be indexed, node.max_backlog_mb is 1000",
        "700 MB wait to be indexed, node.max_backlog_mb is 1000",
        "",
    ]


def test_no_limit_is_no_pressure() -> None:
    pressure = Pressure(free_bytes=lambda: 0, min_free_bytes=0, backlog_bytes=lambda: 1 << 60, max_backlog_bytes=0)
    assert pressure.reason() == ""
