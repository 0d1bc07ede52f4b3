"""Follow-up: the curve and the table, and an earlier visit laid on a later one."""

from __future__ import annotations

import io
import json
from datetime import date
from typing import Any

import numpy as np
from fastapi.testclient import TestClient
from PIL import Image

from pipeline.followup import Alignment, Category, ChangeRow, FollowUp, LesionChange, Response, Visit, VisitLesion
from pipeline.followup_json import follow_up_to_dict, visit_to_dict
from storage.visits import VisitRepository
from web.follow_up_view import changes_of, curve_of, follow_up_of

#: A point of the later head lies 2 mm, one voxel, nearer to the patient's left in the earlier one.
SHIFTED = ((1.0, 0.0, 0.0, -2.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))


def visit(key: str, day: str, whole: float, *lesions: VisitLesion) -> Visit:
    volumes = {"WT": whole, "TC": whole / 2, "ET": whole / 4}
    return Visit(key=key, study_uid=f"1.{key}", day=date.fromisoformat(day), volumes_ml=volumes, lesions=lesions)


def follow_up(first: str, second: str) -> FollowUp:
    lesion = VisitLesion(tracking_uid="2.25.1", number=3, change=LesionChange.SAME, volume_ml=9.0, enhancing_ml=1.0)
    row = ChangeRow(
        quantity="volume",
        subject="WT",
        unit="mL",
        baseline=10.0,
        previous=10.0,
        current=15.0,
        percent_since_baseline=50.0,
        percent_since_previous=50.0,
    )
    gone = {"tracking_uid": "2.25.9", "current": None, "percent_since_baseline": None, "percent_since_previous": None}
    response = Response(
        method="volume of enhancing tumour",
        unit="mL",
        category=Category.PROGRESSIVE,
        baseline=2.5,
        nadir=2.5,
        current=3.75,
        confirmed=False,
        first_progression=date(2026, 5, 1),
        arithmetic=("Against the nadir +50.0 %.",),
    )
    return FollowUp(
        visits=(visit(first, "2026-01-01", 10.0), visit(second, "2026-05-01", 15.0, lesion)),
        alignment=Alignment(rotation_deg=0.0, translation_mm=2.0, overlap=1.0, to_previous=SHIFTED),
        changes=(row, ChangeRow(**{**row.__dict__, "tracking_uid": "2.25.1"}), ChangeRow(**{**row.__dict__, **gone})),
        volume=response,
    )


def test_the_curve_lies_in_time_and_its_scale_has_round_quarters() -> None:
    curve = curve_of([visit("a", "2026-01-01", 10.0), visit("b", "2026-01-11", 60.0), visit("c", "2026-04-11", 35.0)])
    assert curve is not None
    assert [value for _, value in curve.ticks] == [0.0, 20.0, 40.0, 60.0, 80.0]
    whole = curve.lines[0]
    assert (whole.region, whole.points) == ("WT", ((0.0, 157.5), (60.0, 45.0), (600.0, 101.2)))
    # The second date is too near the first one to be written.
    assert [day.isoformat() for _, day in curve.days] == ["2026-01-01", "2026-04-11"]
    assert curve_of([visit("a", "2026-01-01", 10.0)]) is None


def test_the_table_names_lesions_as_the_present_report_does() -> None:
    told = follow_up("a", "b")
    names = ["Whole tumour", "Whole tumour, lesion 3", "Whole tumour, a lesion that is gone"]
    assert [one.of for one in changes_of(told)] == names
    assert follow_up_of({"follow_up": follow_up_to_dict(told)}) == told
    assert follow_up_of({"follow_up": {"visits": "of another release"}}) is None
    assert follow_up_of(None) is None


def two_visits(node: Any) -> tuple[Any, Any]:
    earlier, later = node.finished(uid="1.2.3"), node.finished(uid="1.2.4")
    runs = [node.scans.runs_of(scan.id)[0].id for scan in (earlier, later)]
    told = follow_up(*runs)
    for run, one in zip(runs, told.visits, strict=True):
        VisitRepository(node.database, node.clock).keep(run, visit_to_dict(one))
    results = {**later.results, "follow_up": follow_up_to_dict(told)}
    (node.files.run_folder(runs[1]) / "report.json").write_text(json.dumps(results))
    node.scans.set_results(later.id, results)
    return earlier, later


def pixels(answer: Any) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB")).astype(int)


def test_an_earlier_visit_is_laid_on_the_slice_of_the_later_one(node: Any, client: TestClient) -> None:
    earlier, later = two_visits(node)
    doctor = node.bearer(client)
    ours = pixels(client.get(f"/api/scans/{later.id}/segmentation/5?opacity=1", headers=doctor))
    path = f"/api/scans/{later.id}/earlier/{earlier.id}/slice"
    theirs = pixels(client.get(f"{path}/5?opacity=1", headers=doctor))
    coloured = [np.argwhere(picture[..., 0] != picture[..., 2]).tolist() for picture in (ours, theirs)]
    # Both scans hold the same voxels; the earlier head lay one voxel further left, so here it is seen further right.
    assert coloured[1] == [[row, column - 1] for row, column in coloured[0]]
    assert client.get(f"{path}/8", headers=doctor).status_code == 404
    assert client.get(f"/api/scans/{earlier.id}/earlier/{later.id}/slice/5", headers=doctor).status_code == 404
    assert {row["what"] for row in node.events("audit.view-scan") if "what" in row} <= {"follow-up"}


def test_the_page_shows_curve_table_category_and_warning(node: Any, browser: Any) -> None:
    earlier, later = two_visits(node)
    client = browser(node)
    page = client.get(f"/scans/{later.id}/follow-up").text
    for words in ("Progression", "PD", "Against the nadir +50.0 %.", "no verdict", "Not confirmed", "+50.0 %", "<svg"):
        assert words in page, words
    assert f'src="/api/scans/{later.id}/earlier/{earlier.id}/slice/5?axis=axial&amp;opacity=0.45"' in page
    assert (
        "/segmentation/0?axis=sagittal&amp;opacity=0.0"
        in client.get(f"/scans/{later.id}/follow-up?axis=sagittal&number=1&opacity=0").text
    )
    assert f'href="/scans/{later.id}/follow-up"' in client.get(f"/scans/{later.id}").text
    assert "Nothing to compare" in client.get(f"/scans/{earlier.id}/follow-up").text
