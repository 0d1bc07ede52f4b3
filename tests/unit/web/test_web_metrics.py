from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from storage.lifecycle import ScanEvent, ScanState
from storage.vocabulary import RunState
from tests.unit.web.conftest import HASH
from web.access_log import Entry
from web.app import create_app
from web.health import HealthReport, InstalledModel, Owed

DASHBOARD = Path(__file__).resolve().parents[3] / "ops" / "grafana" / "node.json"


def scraped(client: TestClient) -> dict[str, dict[tuple[str, ...], float]]:
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(client.get("/metrics").text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels[name] for name in sorted(sample.labels))] = (
                sample.value
            )
    return found


def full(report: HealthReport) -> HealthReport:
    return replace(
        report,
        owed=(Owed(destination="PACS", objects=2, age_s=60.0),),
        destinations=report.models,
        receivers=report.models,
        scans_by_state={state.value: 1 for state in ScanState},
        disk_free_bytes=5 << 30,
    )


def test_a_scrape_tells_destinations_disk_states_and_models(node: Any, client: TestClient) -> None:
    node.health = full(node.health)
    model = {"name": "unet", "task": "segmentation", "version": "3", "mode": "active", "sha256": HASH}
    node.models = (InstalledModel(ok=True, detail="", **model),)
    first = scraped(client)
    assert first["btn_owed_objects"] == {("PACS",): 2}
    assert first["btn_owed_age_seconds"] == {("PACS",): 60}
    assert first["btn_disk_free_bytes"] == {(): 5 << 30}
    assert len(first["btn_scans"]) == len(ScanState)
    assert first["btn_model_info"] == {("active", "unet", HASH, "segmentation", "3"): 1}
    node.models = (InstalledModel(ok=True, detail="", **(model | {"version": "4"})),)
    node.health = replace(node.health, owed=())
    second = scraped(client)
    assert [labels[-1] for labels in second["btn_model_info"]] == ["4"]
    assert "btn_owed_objects" not in second


def test_an_analysis_counts_once_with_its_stages_and_flags(node: Any, client: TestClient) -> None:
    assert "btn_runs_total" not in scraped(client)
    node.clock.forward(seconds=1)
    scan = node.finished()
    (run,) = node.scans.runs_of(scan.id)
    for _ in range(2):
        found = scraped(client)
    assert found["btn_runs_total"] == {("done",): 1}
    assert found["btn_flags_total"] == {("thick",): 1}
    assert found["btn_stages_skipped_total"][("role-missing", "segment")] == 1
    other = node.study(uid="1.2.9")
    node.clock.forward(seconds=1)
    node.scans.apply_event(other.id, ScanEvent.COMPLETE)
    run = node.scans.start_run(other.id, ["x"])
    node.scans.finish_run(run.id, RunState.FAILED, {"detect": 1.5})
    found = scraped(client)
    assert found["btn_runs_total"] == {("done",): 1, ("failed",): 1}
    assert found["btn_stage_seconds_sum"] == {("detect",): 1.5}


def test_the_dashboard_asks_for_what_there_is(node: Any, client: TestClient) -> None:
    node.health = full(node.health)
    node.models = (InstalledModel(name="a", task="b", version="c", ok=True, detail="", mode="ab", sha256=HASH),)
    client.get("/health/live")
    families = {family.name: family for family in text_string_to_metric_families(client.get("/metrics").text)}
    names = {name + suffix for name in families for suffix in ("", "_total", "_bucket")}
    asked = set()
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel["targets"]:
            asked |= set(re.findall(r"btn_\w+", target["expr"]))
            (name,) = {word.removesuffix("_bucket") for word in re.findall(r"btn_\w+", target["expr"])}
            labels = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            samples = families[name.removesuffix("_total")].samples
            assert [labels - set(sample.labels) for sample in samples if labels - set(sample.labels)] == [], panel[
                "title"
            ]
    assert asked <= names
    # And nothing of ours is without a panel.
    ours = {name for name in families if name.startswith("btn_") and not name.endswith("_created")}
    assert ours <= {word.removesuffix("_bucket").removesuffix("_total") for word in asked}


def test_the_access_log_names_routes_and_no_patient(node: Any) -> None:
    entries: list[Entry] = []
    app = create_app(
        settings=node.settings,
        database=node.database,
        files=node.files,
        health=lambda: node.health,
        ingest=node.ingest,
        clock=node.clock,
        hasher=node.hasher,
        access_log=entries.append,
    )
    scan = node.study()
    with TestClient(app) as client:
        client.get("/api/scans", params={"q": "Doe"}, headers=node.bearer(client))
        client.get(f"/api/scans/{scan.id}?name=Doe")
        client.get("/Doe^Jane")
    assert [(entry.route, entry.status) for entry in entries] == [
        ("/api/scans", 200),
        ("/api/scans/{scan_id}", 401),
        ("none", 404),
    ]
    assert entries[0].bytes_sent > 100
    assert "Doe" not in str(entries)
    assert scan.id not in str(entries)
