from __future__ import annotations

import logging
import subprocess
import sys
from typing import Any

import pytest
from fastapi.testclient import TestClient

from web.health import Check
from web.result_view import headline, result_view
from web.settings import InvalidWebSettings, WebSettings
from web.templating import dicom_date, duration, person

SECRET = "s" * 32


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"token_secret": "short"}, "BTN_WEB_SECRET"),
        ({"token_secret": ""}, "fewer than 32 bytes"),
        ({"cors_origins": ("*",)}, "wildcard"),
        ({"cors_origins": ("pacs.example",)}, "pacs.example"),
        ({"cors_origins": ("https://a.example/path",)}, "whole origins"),
        ({"token_minutes": 0}, "token_minutes"),
        ({"max_upload_bytes": 0}, "max_upload_bytes"),
    ],
)
def test_settings_with_which_it_must_not_start(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidWebSettings, match=reason):
        WebSettings(**{"token_secret": SECRET, **values})


def test_the_secret_is_in_no_representation() -> None:
    assert SECRET not in repr(WebSettings(token_secret=SECRET))


def test_readiness_names_what_is_wrong(node: Any, client: TestClient) -> None:
    assert client.get("/health/live").json() == {"status": "ok"}
    good = client.get("/health/ready")
    assert (good.status_code, good.json()["status"], good.json()["queueAgeS"]) == (200, "ok", 30.0)
    models = (Check(name="type", ok=False, detail="wrong hash"),)
    node.health = type(node.health)(checks=node.health.checks, models=models)
    partly = client.get("/health/ready")
    assert (partly.status_code, partly.json()["status"]) == (200, "degraded")
    assert partly.json()["models"] == [{"name": "type", "ok": False, "detail": "wrong hash"}]
    node.health = type(node.health)(checks=(Check(name="disk", ok=False, detail="full"),), models=models)
    assert client.get("/health/ready").status_code == 503


def test_metrics_count_routes_and_tell_the_condition(node: Any, client: TestClient) -> None:
    scan = node.study()
    client.get(f"/api/scans/{scan.id}", headers=node.bearer(client))
    text = client.get("/metrics").text
    assert 'btn_http_requests_total{method="GET",route="/api/scans/{scan_id}",status="200"} 1.0' in text
    assert "btn_queue_age_seconds 30.0" in text
    assert 'btn_model_ok{model="detection"} 1.0' in text
    assert scan.id not in text


def test_only_the_listed_origins_may_call(node: Any) -> None:
    with node.client(cors_origins=("https://viewer.example",)) as client:
        asked = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
        good = client.options("/api/scans", headers={"Origin": "https://viewer.example", **asked})
        assert good.headers["access-control-allow-origin"] == "https://viewer.example"
        assert "access-control-allow-credentials" not in good.headers
        bad = client.options("/api/scans", headers={"Origin": "https://evil.example", **asked})
        assert "access-control-allow-origin" not in bad.headers


def test_a_failure_is_a_problem_and_says_nothing_of_its_cause(
    node: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = "^".join(("Doe", "Jane"))

    def broken(*args: object, **values: object) -> None:
        raise RuntimeError(patient)

    monkeypatch.setattr("web.routes.scans.page_of_scans", broken)
    with node.client() as client:
        answer = client.get("/api/scans", headers=node.bearer(client))
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert "content-security-policy" in answer.headers
    assert "Doe" not in answer.text
    ours = [record for record in caplog.records if record.name == "web.problems"]
    assert [record.levelno for record in ours] == [logging.ERROR]
    assert "RuntimeError" in ours[0].getMessage()
    assert "Doe" not in ours[0].getMessage()


def test_the_openapi_document_names_answers_and_errors(client: TestClient) -> None:
    document = client.get("/api/openapi.json").json()
    assert set(document["paths"]) >= {"/api/auth/login", "/api/scans/{scan_id}", "/api/process-mri", "/health/ready"}
    known = ("/api/", "/dicom-web/", "/health/", "/metrics")
    assert not [path for path in document["paths"] if not path.startswith(known)]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation.get("summary"), path
            errors = [status for status in operation["responses"] if status >= "400" and status != "503"]
            kinds = {kind for status in errors for kind in operation["responses"][status]["content"]}
            assert kinds <= {"application/problem+json"}, (method, path)
    assert "HTTPValidationError" not in str(document)
    scan = document["components"]["schemas"]["ScanDetail"]["properties"]
    assert set(scan) >= {"patientId", "patientName", "scanDate", "pipelineStep", "createdAt", "userId", "waitingFor"}


def test_an_empty_or_odd_report_is_shown_as_far_as_it_goes() -> None:
    assert headline({}) is None
    odd = {
        "detection": {"value": "tumour", "probability": None, "probabilities": [1]},
        "measurements": [3],
        "flags": {},
    }
    view = result_view(odd)
    assert view.findings[0].probability == 0.0
    assert (view.measures, view.flags) == ((), ())


def test_measures_put_the_total_first() -> None:
    values = [
        {"quantity": "longest axial diameter", "subject": "WT", "value": 40, "unit": "mm", "lesion": 1},
        {"quantity": "perpendicular axial diameter", "subject": "WT", "value": 30, "unit": "mm", "lesion": 1},
        {"quantity": "volume", "subject": "ET", "value": 2.0, "unit": "mL", "lesion": None},
        {"quantity": "volume", "subject": "WT", "value": 9.0, "unit": "mL", "lesion": None},
    ]
    rows = result_view({"measurements": {"values": values}}).measures
    assert [(row.lesion, row.subject, row.volume_ml, row.longest_mm, row.perpendicular_mm) for row in rows] == [
        (None, "Whole tumour", 9.0, None, None),
        (None, "Enhancing tumour", 2.0, None, None),
        (1, "Whole tumour", None, 40.0, 30.0),
    ]


def test_filters_of_the_pages() -> None:
    assert person("Curie^Marie^Sk\u0142odowska") == "Curie, Marie Sk\u0142odowska"
    assert person("Yamada^Tarou=\u5c71\u7530^\u592a\u90ce") == "Yamada, Tarou"
    assert person("") == ""
    assert len(person("x" * 65_000)) == 200
    assert (dicom_date("20260131"), dicom_date("2026"), dicom_date("")) == ("2026-01-31", "2026", "")
    assert (duration(42), duration(720), duration(11_100)) == ("42 s", "12 min", "3 h 5 min")


def test_importing_the_application_loads_no_framework() -> None:
    code = "import sys, web.app; print(*{'torch', 'tensorflow', 'keras', 'dicom_node'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == ""
