"""A patient's visits and what follows of them as JSON-ready values and back."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date
from typing import Any

from pipeline.followup import (
    Alignment,
    Category,
    ChangeRow,
    FollowUp,
    LesionChange,
    Response,
    Visit,
    VisitLesion,
)

Json = dict[str, Any]


def visit_to_dict(visit: Visit) -> Json:
    """JSON-ready; 'day' as YYYY-MM-DD."""
    lesions = [
        {**asdict(lesion), "change": lesion.change.value, "from_uids": list(lesion.from_uids)}
        for lesion in visit.lesions
    ]
    return {**asdict(visit), "day": visit.day.isoformat(), "lesions": lesions, "vanished": list(visit.vanished)}


def visit_from_dict(values: Json) -> Visit:
    """What `visit_to_dict` wrote. Raises KeyError, TypeError, ValueError for other fields."""
    lesions = tuple(
        VisitLesion(**{**one, "change": LesionChange(one["change"]), "from_uids": tuple(one["from_uids"])})
        for one in values["lesions"]
    )
    day = date.fromisoformat(values["day"])
    return Visit(**{**values, "day": day, "lesions": lesions, "vanished": tuple(values["vanished"])})


def follow_up_to_dict(follow_up: FollowUp | None) -> Json | None:
    """JSON-ready, or None."""
    if follow_up is None:
        return None
    return {
        "visits": [visit_to_dict(visit) for visit in follow_up.visits],
        "alignment": None if follow_up.alignment is None else asdict(follow_up.alignment),
        "changes": [asdict(row) for row in follow_up.changes],
        "diameters": _response_to_dict(follow_up.diameters),
        "volume": _response_to_dict(follow_up.volume),
        "note": follow_up.note,
    }


def follow_up_from_dict(values: Json | None) -> FollowUp | None:
    """What `follow_up_to_dict` wrote. Raises KeyError, TypeError, ValueError for other fields."""
    if values is None:
        return None
    return FollowUp(
        visits=tuple(visit_from_dict(visit) for visit in values["visits"]),
        alignment=None if values["alignment"] is None else _alignment_from_dict(values["alignment"]),
        changes=tuple(ChangeRow(**row) for row in values["changes"]),
        diameters=_response_from_dict(values["diameters"]),
        volume=_response_from_dict(values["volume"]),
        note=values["note"],
    )


def _alignment_from_dict(values: Json) -> Alignment:
    return Alignment(**{**values, "to_previous": tuple(tuple(row) for row in values.get("to_previous", ()))})


def _response_to_dict(response: Response | None) -> Json | None:
    if response is None:
        return None
    progressed = response.first_progression
    return {
        **asdict(response),
        "category": response.category.value,
        "first_progression": None if progressed is None else progressed.isoformat(),
        "arithmetic": list(response.arithmetic),
    }


def _response_from_dict(values: Json | None) -> Response | None:
    if values is None:
        return None
    progressed = values["first_progression"]
    return Response(
        **{
            **values,
            "category": Category(values["category"]),
            "first_progression": None if progressed is None else date.fromisoformat(progressed),
            "arithmetic": tuple(values["arithmetic"]),
        }
    )
