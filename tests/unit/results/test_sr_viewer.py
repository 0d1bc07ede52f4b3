"""The viewer SR as OHIF reads it: a port of what its handler does with a group, and where the lines lie."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from dicom_node.results.encoders import encode_all
from dicom_node.results.stamp import EncodingOptions
from pipeline.report import DiameterLine, Lesion, Measurement, Report
from tests.mr_series import AXIAL, SAGITTAL, MrSeries, mr_series
from tests.report_builders import STAMP, evidence_of, full_report, report_without_tumour


def report_with_lines(series: MrSeries, start: tuple[float, float, float], end: tuple[float, float, float]) -> Report:
    """A lesion whose long axis runs between two voxels, and a short one across it."""
    ras = [tuple((series.grid.affine @ (*v, 1))[:3]) for v in (start, end, (2.0, 1.0, start[2]), (2.0, 3.0, start[2]))]
    lengths = [float(np.linalg.norm(np.subtract(ras[a], ras[a + 1]))) for a in (0, 2)]
    lines = [DiameterLine(start_mm=ras[a], end_mm=ras[a + 1], length_mm=lengths[a // 2]) for a in (0, 2)]
    names = ("longest axial diameter", "perpendicular axial diameter")
    return replace(
        full_report(series.grid),
        measurements=tuple(
            Measurement(quantity=name, subject="TC", value=length, unit="mm", lesion=1)
            for name, length in zip(names, lengths, strict=True)
        ),
        lesions=(
            Lesion(number=1, centroid_mm=(0.0, 0.0, 0.0), volume_ml=1.0, longest=lines[0], perpendicular=lines[1]),
        ),
    )


def viewer_sr(series: MrSeries, report: Report, options: EncodingOptions | None = None) -> Dataset:
    stamp = replace(STAMP, options=options or EncodingOptions())
    (made,) = encode_all(report, evidence_of(series), stamp, ["SR-VIEWER"])
    return dcmread(BytesIO(made.to_bytes()))


def ohif_measurements(sr: Dataset) -> list[dict[str, object]]:
    """As OHIF's `_getMeasurements` does it, which fails where it would fail."""
    assert sr.ConceptNameCodeSequence[0].CodeValue == "126000"
    items = {str(i.ConceptNameCodeSequence[0].CodeValue): i for i in sr.ContentSequence}
    assert "111028" in items, "the library is read unguarded by older versions"
    found = []
    for group in items["126010"].ContentSequence:
        assert group.ConceptNameCodeSequence[0].CodeValue == "125007"
        uid = next(i.UID for i in group.ContentSequence if i.ValueType == "UIDREF")
        tracking = next(i for i in group.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "112039")
        labels, coords = [], []
        for number in (i for i in group.ContentSequence if i.ValueType == "NUM"):
            (line,) = number.ContentSequence
            assert line.ValueType in ("SCOORD", "SCOORD3D")
            coords.append(line)
            value = number.MeasuredValueSequence[0]
            unit = value.MeasurementUnitsCodeSequence[0].CodeValue
            labels.append(f"{number.ConceptNameCodeSequence[0].CodeMeaning}: {float(value.NumericValue):.2f} {unit}")
        found.append({"uid": uid, "tool": tracking.TextValue, "labels": labels, "coords": coords})
    return found


@pytest.mark.parametrize("enhanced", [False, True], ids=["classic", "enhanced"])
def test_lines_on_one_image_are_listed_with_their_ends_on_it(enhanced: bool) -> None:
    series = mr_series(orientation=AXIAL, enhanced=enhanced)
    report = report_with_lines(series, (1.0, 2.0, 3.0), (5.0, 2.0, 3.0))
    (found,) = ohif_measurements(viewer_sr(series, report))
    assert found["tool"] == "Cornerstone3DTools@^0.1.0:Bidirectional"
    assert found["labels"] == ["Long Axis: 4.80 mm", "Short Axis: 2.60 mm"]
    long, short = found["coords"]
    assert [float(v) for v in long.GraphicData] == pytest.approx([1.5, 2.5, 5.5, 2.5], abs=1e-3)
    assert [float(v) for v in short.GraphicData] == pytest.approx([2.5, 1.5, 2.5, 3.5], abs=1e-3)
    source, named = evidence_of(series).reference.slices[3], long.ContentSequence[0].ReferencedSOPSequence[0]
    assert named.ReferencedSOPInstanceUID == source.sop_instance_uid
    assert named.get("ReferencedFrameNumber") == source.frame_number
    assert long.ContentSequence[0].RelationshipType == "SELECTED FROM"


def test_a_line_across_the_slices_is_given_in_space() -> None:
    series = mr_series(orientation=SAGITTAL)
    report = report_with_lines(series, (1.0, 2.0, 0.0), (1.0, 2.0, 4.0))
    (found,) = ohif_measurements(viewer_sr(series, report))
    long = found["coords"][0]
    assert long.ValueType == "SCOORD3D"
    assert long.ReferencedFrameOfReferenceUID == series.datasets[0].FrameOfReferenceUID
    ends = np.array([(1, 2, 0, 1), (1, 2, 4, 1)]) @ series.grid.affine.T @ np.diag([-1, -1, 1, 1])
    assert [float(v) for v in long.GraphicData] == pytest.approx(list(ends[:, :3].ravel()), abs=1e-3)


def test_without_ohif_compat_the_group_is_named_as_the_lesion() -> None:
    series = mr_series()
    report = report_with_lines(series, (1.0, 2.0, 3.0), (5.0, 2.0, 3.0))
    compat, plain = (viewer_sr(series, report, EncodingOptions(ohif_compat=yes)) for yes in (True, False))
    assert ohif_measurements(plain)[0]["tool"] == "brain-tumor-node lesion 1 Tumor core (TC)"
    assert plain.SOPInstanceUID != compat.SOPInstanceUID


def test_nothing_to_draw_gives_no_document() -> None:
    series = mr_series()
    assert encode_all(report_without_tumour(series.grid), evidence_of(series), STAMP, ["SR-VIEWER"]) == ()
