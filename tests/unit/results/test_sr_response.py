"""The suggested response in the SR: coded, by a coded method, and marked as taken from images alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from io import BytesIO

import pytest
from pydicom import Dataset, dcmread

from dicom_node.results import codes
from dicom_node.results.encoders import encode_all
from pipeline.followup import Category, FollowUp, Response, Visit
from tests.mr_series import mr_series
from tests.report_builders import STAMP, evidence_of, full_report

SERIES = mr_series()


def response(method: str, category: Category) -> Response:
    return Response(
        method=method,
        unit="mL",
        category=category,
        baseline=10.0,
        nadir=8.0,
        current=12.0,
        confirmed=False,
        first_progression=None,
        arithmetic=("12.0 is 1.50 times 8.0.",),
    )


def evaluations(report: object) -> list[dict[str, tuple[str, str]]]:
    made = encode_all(report, evidence_of(SERIES), STAMP, ("SEG", "SR"))[1]  # type: ignore[arg-type]
    read = dcmread(BytesIO(made.to_bytes()))
    found: list[dict[str, tuple[str, str]]] = []

    def walk(item: Dataset) -> None:
        coded = {
            str(child.ConceptNameCodeSequence[0].CodeValue): (
                str(child.ConceptCodeSequence[0].CodeValue),
                str(child.ConceptCodeSequence[0].CodingSchemeDesignator),
            )
            for child in item.get("ContentSequence", [])
            if child.ValueType == "CODE"
        }
        if "112048" in coded:
            found.append(coded)
        for child in item.get("ContentSequence", []):
            walk(child)

    walk(read)
    return found


@pytest.mark.parametrize(
    ("category", "code"),
    [
        (Category.COMPLETE, ("112041", "DCM")),
        (Category.PARTIAL, ("112042", "DCM")),
        (Category.PROGRESSIVE, ("112043", "DCM")),
        (Category.STABLE, ("112044", "DCM")),
        (Category.NOT_EVALUABLE, ("NOT-EVALUABLE", "99BTN")),
    ],
)
def test_each_method_has_its_category(category: Category, code: tuple[str, str]) -> None:
    visit = Visit(key="r", study_uid="1.2", day=date(2026, 3, 4), volumes_ml={"ET": 12.0})
    follow_up = FollowUp(
        visits=(visit, visit),
        diameters=response("sum of products", category),
        volume=response("volume of enhancing tumour", Category.STABLE),
    )
    first, second = evaluations(replace(full_report(SERIES.grid), follow_up=follow_up))
    assert (first["112048"], first["112021"]) == (code, ("C114879", "NCIt"))
    assert (first["RESPONSE-BASIS"], second["RESPONSE-BASIS"]) == (("DIAMETERS", "99BTN"), ("VOLUME", "99BTN"))
    assert second["112048"] == ("112044", "DCM")


def test_a_first_visit_has_no_response() -> None:
    assert evaluations(full_report(SERIES.grid)) == []
    assert codes.quantity_code("maximum 3D diameter") == codes.MAXIMUM_DIAMETER
    assert codes.quantity_code("surface area").scheme_designator == codes.PRIVATE_SCHEME
