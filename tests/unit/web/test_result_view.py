"""The table of measures: which quantities of a report stand in it."""

from __future__ import annotations

from web.result_view import headline, result_view


def value(quantity: str, number: float, lesion: int | None = None, subject: str = "WT") -> dict[str, object]:
    return {"quantity": quantity, "subject": subject, "value": number, "unit": "", "lesion": lesion}


def test_other_quantities_do_not_take_the_place_of_volume_and_diameters() -> None:
    values = [
        value("volume", 75.6),
        value("share of brain volume", 6.0),
        value("volume", 75.6, 1),
        value("longest axial diameter", 28.6, 1),
        value("perpendicular axial diameter", 26.5, 1),
        value("maximum 3D diameter", 30.5, 1),
        value("surface area", 88.0, 1),
        value("volume", 0.0, 1, "NCR"),
    ]
    results = {"measurements": {"skipped": False, "values": values}}
    total, lesion = result_view(results).measures
    assert (total.lesion, total.volume_ml) == (None, 75.6)
    assert (lesion.volume_ml, lesion.longest_mm, lesion.perpendicular_mm) == (75.6, 28.6, 26.5)
    assert headline(results) == "75.6 mL"
