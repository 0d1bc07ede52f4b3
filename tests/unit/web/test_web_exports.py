"""Exports through the API, of a run whose files are the node's own, by the node's own door."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import pytest
from fastapi.testclient import TestClient

from dicom_node.config import NodeConfig
from dicom_node.export_door import ExportDoor
from dicom_node.exports.formats import FORMATS
from dicom_node.store import open_store
from pipeline.nifti import save_labels
from pipeline.report import Segmentation
from pipeline.report_json import report_to_dict
from storage.vocabulary import Role
from tests.contracts.test_export_contract import GRID, LABELS
from tests.report_builders import full_report
from web.app import create_app


@pytest.fixture(scope="module")
def scan(shared_node: Any) -> Any:
    found = shared_node.finished()
    report = full_report(GRID, LABELS)
    folder = shared_node.files.run_folder(f"{found.id}-1")
    chosen = {"T1": {"chosen": {"series_instance_uid": "1.2.3.1"}}}
    told = {**report_to_dict(report), "series_roles": {"roles": chosen}}
    (folder / "report.json").write_text(json.dumps(told))
    assert isinstance(report.segmentation, Segmentation)
    save_labels(folder / "segmentation.nii.gz", report.segmentation)
    return found


@pytest.fixture(scope="module")
def client(shared_node: Any) -> Any:
    config = NodeConfig.model_validate({"storage": {"root": shared_node.files.root, "min_free_mb": 0}})
    store = open_store(config)
    app = create_app(
        settings=shared_node.settings,
        database=shared_node.database,
        files=shared_node.files,
        health=lambda: shared_node.health,
        ingest=shared_node.ingest,
        exporter=_Door(store, shared_node),
        clock=shared_node.clock,
        hasher=shared_node.hasher,
    )
    with TestClient(app, base_url="http://node.example") as client:
        yield client
    store.database.close()


class _Door(ExportDoor):
    """The node's own door, on the rows of the web's tests."""

    def __init__(self, store: Any, node: Any) -> None:
        from dataclasses import replace

        super().__init__(replace(store, scans=node.scans, studies=node.studies, files=node.files))


@pytest.mark.parametrize("kind", [name for name in FORMATS if name != "research"])
def test_each_format_comes_as_one_file_or_a_zip_and_is_on_the_trail(
    shared_node: Any, client: TestClient, scan: Any, kind: str
) -> None:
    answer = client.get(f"/api/scans/{scan.id}/exports/{kind}", headers=shared_node.bearer(client, Role.DOCTOR))
    assert answer.status_code == 200, answer.text
    name = answer.headers["content-disposition"]
    assert scan.id in name or "export.zip" in name
    if "export.zip" in name:
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            assert len(archive.namelist()) > 1
            assert all(entry.startswith(scan.id) for entry in archive.namelist())
    assert (shared_node.events("audit.export")[-1]["format"], len(answer.content) > 100) == (kind, True)


def test_a_format_that_is_none_and_images_that_are_gone_are_told(
    shared_node: Any, client: TestClient, scan: Any
) -> None:
    doctor = shared_node.bearer(client, Role.DOCTOR)
    unknown = client.get(f"/api/scans/{scan.id}/exports/docx", headers=doctor)
    assert (unknown.status_code, "csv, parquet" in unknown.json()["detail"]) == (404, True)
    gone = client.get(f"/api/scans/{scan.id}/exports/research", headers=doctor)
    assert (gone.status_code, gone.json()["type"].rsplit(":", 1)[1]) == (404, "nothing-to-export")
    assert shared_node.events("audit.export")[-1]["outcome"] == "failure"
    technician = shared_node.bearer(client, Role.TECHNICIAN)
    assert client.get(f"/api/scans/{scan.id}/exports/csv", headers=technician).status_code == 403
