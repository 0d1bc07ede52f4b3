"""What every export format keeps to, and what each one says of the same scan."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from pathlib import Path

import hl7
import numpy as np
import pytest
import trimesh
from fhir.resources.R4B.bundle import Bundle
from pyarrow import parquet

from dicom_node.exports.content import ExportScan
from dicom_node.exports.formats import FORMATS, UnknownFormat, export
from dicom_node.exports.hl7_oru import message
from pipeline.nifti import load_nifti_labels
from pipeline.report import Segmentation
from pipeline.report_json import report_to_dict
from pipeline.volume import Grid
from tests.report_builders import full_report, report_without_models

GRID = Grid(shape=(24, 20, 16), affine=np.array([[1.0, 0, 0, -12], [0, 1.5, 0, 5], [0, 0, 2.0, 30], [0, 0, 0, 1]]))
LABELS = np.zeros(GRID.shape, np.uint8)
LABELS[4:18, 4:16, 3:12] = 2
LABELS[7:15, 6:13, 5:10] = 4
LABELS[9:12, 8:11, 6:9] = 1


def _scan(report, name="DOE^JANE", **changes) -> ExportScan:
    values = {
        "scan_id": "scan-1",
        "run_id": "scan-1-1",
        "patient_id": "P|1",
        "issuer_of_patient_id": "HOSP",
        "patient_name": name,
        "study_instance_uid": "1.2.3",
        "study_date": "20260304",
        "accession_number": "A^7",
        "report": report,
        "told": report_to_dict(report),
    }
    return ExportScan(**(values | changes))


@pytest.fixture
def scan() -> ExportScan:
    return _scan(full_report(GRID, LABELS))


@pytest.mark.parametrize("name", FORMATS)
class TestEveryFormat:
    def test_writes_files_of_its_scan_and_says_which(self, name: str, scan: ExportScan, tmp_path: Path) -> None:
        written = list(export([scan, _scan(scan.report, scan_id="scan-2")], [name], tmp_path / "new"))
        assert sorted(written) == sorted((tmp_path / "new").iterdir())
        assert len(written) % 2 == 0
        assert all(path.stat().st_size > 0 and path.name.startswith(("scan-1", "scan-2")) for path in written)

    def test_a_scan_without_any_result_is_no_error(self, name: str, tmp_path: Path) -> None:
        empty = _scan(report_without_models(GRID), study_instance_uid="", patient_id="", patient_name="")
        assert len(list(export([empty], [name], tmp_path))) <= 1

    def test_writes_the_same_numbers_again(self, name: str, scan: ExportScan, tmp_path: Path) -> None:
        first, second = (list(export([scan], [name], tmp_path / n)) for n in "ab")
        assert [path.name for path in first] == [path.name for path in second]
        if name != "hl7":  # which carries the time it was made at
            assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_an_unknown_format_writes_nothing(scan: ExportScan, tmp_path: Path) -> None:
    with pytest.raises(UnknownFormat, match="docx; there are json, csv"):
        list(export([scan], ["csv", "docx"], tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_csv_and_json_hold_every_number(scan: ExportScan, tmp_path: Path) -> None:
    table, report = export([scan], ["csv", "json"], tmp_path)
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    told = [(row["quantity"], row["subject"], row["lesion"], float(row["value"]), row["low"]) for row in rows]
    assert told == [
        (one.quantity, one.subject, str(one.lesion or ""), one.value, "" if one.low is None else repr(one.low))
        for one in scan.measurements
    ]
    assert json.loads(report.read_text(encoding="utf-8")) == scan.told
    formula = _scan(scan.report, patient_id="=HYPERLINK(1)")
    (path,) = export([formula], ["csv"], tmp_path)
    assert "'=HYPERLINK(1)" in path.read_text(encoding="utf-8")


def test_parquet_holds_the_same_table_with_types(scan: ExportScan, tmp_path: Path) -> None:
    (path,) = export([scan], ["parquet"], tmp_path)
    rows = parquet.read_table(path).to_pylist()
    told = [(row["quantity"], row["subject"], row["lesion"], row["value"], row["low"]) for row in rows]
    assert told == [(one.quantity, one.subject, one.lesion, one.value, one.low) for one in scan.measurements]
    assert {row["patient_id"] for row in rows} == {"P|1"}


def test_nifti_masks_are_the_segmentation(scan: ExportScan, tmp_path: Path) -> None:
    labels, whole, core, enhancing = (load_nifti_labels(path) for path in export([scan], ["nifti"], tmp_path))
    assert np.array_equal(labels[0], LABELS)
    assert labels[1].same_as(GRID)
    assert np.array_equal(whole[0], LABELS > 0)
    assert np.array_equal(core[0], np.isin(LABELS, (1, 4)))
    assert np.array_equal(enhancing[0], LABELS == 4)


def test_surfaces_enclose_the_tumour_where_it_is(scan: ExportScan, tmp_path: Path) -> None:
    assert isinstance(scan.report.segmentation, Segmentation)
    low, high = (GRID.affine @ np.array([*corner, 1.0]) for corner in ((3.5, 3.5, 2.5), (17.5, 15.5, 11.5)))
    stl, obj = (next(iter(export([scan], [kind], tmp_path))) for kind in ("stl", "obj"))
    for path in (stl, obj):
        whole = trimesh.load_mesh(path)
        assert whole.is_watertight
        assert whole.bounds == pytest.approx(np.array([low[:3], high[:3]]), abs=1.0)
        assert whole.volume == pytest.approx(14 * 12 * 9 * 3.0, rel=0.05)
    (glb,) = export([scan], ["glb"], tmp_path)
    scene = trimesh.load_scene(glb)
    assert set(scene.geometry) == {"WT", "TC", "ET"}
    # Metres: right, up, and front to -z.
    assert scene.bounds[0] == pytest.approx((low[0] / 1e3, low[2] / 1e3, -high[1] / 1e3), abs=2e-3)


def test_fhir_bundle_is_valid_and_holds_each_number_once(scan: ExportScan, tmp_path: Path) -> None:
    (path,) = export([scan], ["fhir"], tmp_path)
    read = Bundle.model_validate_json(path.read_text(encoding="utf-8"))
    resources = [entry.resource for entry in read.entry]
    kinds = [resource.get_resource_type() for resource in resources]
    assert kinds == ["DiagnosticReport", "ImagingStudy", *["Observation"] * len(scan.measurements)]
    assert [float(one.valueQuantity.value) for one in resources[2:]] == pytest.approx(
        [one.value for one in scan.measurements], abs=1e-4
    )
    references = {reference.reference for reference in resources[0].result}
    assert references == {entry.fullUrl for entry in read.entry[2:]}
    assert {resource.status for resource in (resources[0], *resources[2:])} == {"preliminary"}
    assert "DOE" not in path.read_text(encoding="utf-8")


def test_hl7_message_is_read_back(scan: ExportScan) -> None:
    read = hl7.parse(message(scan, datetime(2026, 3, 4, tzinfo=UTC)))
    assert str(read.segment("MSH")[9]) == "ORU^R01^ORU_R01"
    assert read.unescape(str(read["PID.F3.R1.C1"])) == "P|1"
    assert read.unescape(str(read["OBR.F3.R1.C1"])) == "A^7"
    numbers = [row for row in read.segments("OBX") if str(row[2]) == "NM"]
    assert [float(str(row[5])) for row in numbers] == pytest.approx([one.value for one in scan.measurements], abs=1e-4)
    assert {str(row[11]) for row in read.segments("OBX")} == {"P"}
    assert message(scan, datetime(2026, 3, 4, tzinfo=UTC)) == message(scan, datetime(2026, 3, 4, tzinfo=UTC))
