"""The time zone that a data set states."""

from __future__ import annotations

import re
from datetime import timedelta, timezone, tzinfo

from pydicom import Dataset

_OFFSET = re.compile(r"([+-])([0-9]{2})([0-5][0-9])")
#: No place on earth is further from UTC.
_FURTHEST = timedelta(hours=14)


def time_zone(dataset: Dataset) -> tzinfo | None:
    """By Timezone Offset From UTC; None where it is absent, is no sign with HHMM, or goes beyond 14 hours."""
    stated = _OFFSET.fullmatch(str(dataset.get("TimezoneOffsetFromUTC") or "").strip())
    if stated is None:
        return None
    sign, hours, minutes = stated.groups()
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    return timezone(-offset if sign == "-" else offset) if offset <= _FURTHEST else None
