"""The anatomical parts of a report as JSON-ready values and back."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from pipeline.anatomy import BidimensionalLesion, BrainFacts, BrainRegion, Extent, Place, Point, Side

Json = dict[str, Any]


def extent_to_dict(extent: Extent | None) -> Json | None:
    """JSON-ready, or None."""
    if extent is None:
        return None
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(extent).items()}


def extent_from_dict(values: Json | None) -> Extent | None:
    """What `extent_to_dict` wrote. Raises KeyError, TypeError, ValueError for other fields."""
    if values is None:
        return None
    points = {name: _point(values[name]) for name in ("low_mm", "high_mm", "from_mm", "to_mm")}
    return Extent(**{**values, **points})


def place_to_dict(place: Place | None) -> Json | None:
    """JSON-ready, or None; 'text' is for people and not read back."""
    if place is None:
        return None
    return {
        **asdict(place),
        "side": place.side.value,
        "region": place.region.value,
        "also": [region.value for region in place.also],
        "text": place.text,
    }


def place_from_dict(values: Json | None) -> Place | None:
    """What `place_to_dict` wrote. Raises KeyError, TypeError, ValueError for other fields."""
    if values is None:
        return None
    told = {name: value for name, value in values.items() if name != "text"}
    return Place(
        **{
            **told,
            "side": Side(told["side"]),
            "region": BrainRegion(told["region"]),
            "also": tuple(BrainRegion(region) for region in told["also"]),
        }
    )


def brain_to_dict(brain: BrainFacts | None) -> Json | None:
    """JSON-ready, or None; 'multifocal' follows from the count and is not read back."""
    return None if brain is None else {**asdict(brain), "multifocal": brain.multifocal}


def brain_from_dict(values: Json | None) -> BrainFacts | None:
    """What `brain_to_dict` wrote. Raises TypeError for other fields."""
    if values is None:
        return None
    return BrainFacts(**{name: value for name, value in values.items() if name != "multifocal"})


def bidimensional_to_dict(lesion: BidimensionalLesion) -> Json:
    """JSON-ready."""
    return asdict(lesion)


def bidimensional_from_dict(values: Json) -> BidimensionalLesion:
    """What `bidimensional_to_dict` wrote. Raises TypeError for other fields."""
    return BidimensionalLesion(**values)


def _point(values: list[float]) -> Point:
    x, y, z = values
    return x, y, z
