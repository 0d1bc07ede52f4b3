"""The time zone that a data set states."""

from __future__ import annotations

from datetime import timedelta, timezone, tzinfo

from pydicom import Dataset


def time_zone(dataset: Dataset) -> tzinfo | None:
    """By Timezone Offset From UTC; None where the data set states none."""
    offset = str(dataset.get("TimezoneOffsetFromUTC") or "")
    if len(offset) != 5:
        return None
    sign = -1 if offset.startswith("-") else 1
    return timezone(sign * timedelta(minutes=int(offset[1:3]) * 60 + int(offset[3:5])))
