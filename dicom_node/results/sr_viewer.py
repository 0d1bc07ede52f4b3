"""A second SR for viewers: nothing but lines, each with both ends on an image, which viewers list and draw.

OHIF takes the whole document as broken where one group has no coordinates, so volumes and findings stay out of it and
stand in the full report.
"""

from __future__ import annotations

from collections.abc import Sequence

import highdicom.sr as hd
import numpy as np
from pydicom.uid import Comprehensive3DSRStorage

from dicom_node.result_kinds import ResultKind
from dicom_node.results import codes
from dicom_node.results.encoded import EncodedObject
from dicom_node.results.evidence import Evidence, ReferenceSeries, ras_to_lps
from dicom_node.results.sr_document import DocumentFrame, document
from dicom_node.results.sr_numbers import all_measurements, line_of
from dicom_node.results.sr_sizes import lesion_tracking, named
from dicom_node.results.stamp import RunStamp
from pipeline.report import DiameterLine, Measurement, Report

#: How OHIF knows its own tools' measurements, which alone it makes editable.
_OHIF_TOOL = "Cornerstone3DTools@^0.1.0"
#: A line whose ends are further than this from a slice, in voxels, is not on it.
_ON_SLICE = 0.5


class ViewerReportEncoder:
    """TID 1500 with the long and short axis of every lesion as linear measurements; None where there is no line."""

    kind: str = ResultKind.SR_VIEWER.value
    sop_class_uid = str(Comprehensive3DSRStorage)

    def encode(
        self, report: Report, evidence: Evidence, stamp: RunStamp, previous: Sequence[EncodedObject]
    ) -> EncodedObject | None:
        """The SR; lines on one source image as SCOORD, others as SCOORD3D."""
        groups = []
        for (lesion, subject), numbers in _lines(report).items():
            tracking = lesion_tracking(lesion, subject, report, evidence.reference, stamp)
            if stamp.options.ohif_compat:
                tool = "Bidirectional" if len(numbers) == 2 else "Length"
                tracking = hd.TrackingIdentifier(uid=tracking[1].UID, identifier=f"{_OHIF_TOOL}:{tool}")
            _, finding = named(subject)
            groups.append(
                hd.MeasurementsAndQualitativeEvaluations(
                    tracking_identifier=tracking,
                    finding_type=finding,
                    finding_sites=[hd.FindingSite(codes.BRAIN)],
                    measurements=[_drawn(number, line, evidence.reference) for number, line in numbers],
                )
            )
        if not groups:
            return None
        frame = DocumentFrame(kind=self.kind, number=4, description="Tumor diameters (research)")
        sentences = [
            report.notice,
            "Diameters alone, for viewers that draw them; findings, volumes and limits are in the tumor report.",
        ]
        return document(frame, groups, sentences, report, evidence, stamp)


def _lines(report: Report) -> dict[tuple[int, str], list[tuple[Measurement, DiameterLine]]]:
    """Of each lesion and subject, the measurements that have a drawn line, the longest first."""
    found: dict[tuple[int, str], list[tuple[Measurement, DiameterLine]]] = {}
    for number in all_measurements(report):
        line = line_of(number, report)
        if number.lesion is not None and line is not None:
            found.setdefault((number.lesion, number.subject), []).append((number, line))
    return found


def _drawn(number: Measurement, line: DiameterLine, reference: ReferenceSeries) -> hd.Measurement:
    return hd.Measurement(
        name=codes.quantity_code(number.quantity),
        value=round(number.value, 4),
        unit=codes.unit_code(number.unit),
        # No method and no interval: OHIF reads a measurement's one child, and takes it for the line.
        referenced_coordinates=[line_coordinates(line, reference)],
    )


def line_coordinates(
    line: DiameterLine, reference: ReferenceSeries
) -> hd.CoordinatesForMeasurement | hd.CoordinatesForMeasurement3D:
    """Both ends on the source image that shows them, else in the patient's space.

    SCOORD counts from the corner of the first pixel, whose middle is (0.5, 0.5).
    """
    ends = np.array([(*line.start_mm, 1.0), (*line.end_mm, 1.0)])
    voxels = (ends @ np.linalg.inv(reference.grid.affine).T)[:, :3]
    k = round(float(voxels[:, 2].mean()))
    if 0 <= k < len(reference.slices) and (np.abs(voxels[:, 2] - k) < _ON_SLICE).all():
        source = reference.slices[k]
        image = next(d for d in reference.datasets if str(d.SOPInstanceUID) == source.sop_instance_uid)
        coordinates = hd.CoordinatesForMeasurement(
            graphic_type="POLYLINE",
            graphic_data=voxels[:, :2] + 0.5,
            source_image=hd.SourceImageForMeasurement(
                referenced_sop_class_uid=str(image.SOPClassUID),
                referenced_sop_instance_uid=source.sop_instance_uid,
                referenced_frame_numbers=None if source.frame_number is None else [source.frame_number],
            ),
        )
        # highdicom relates the image as if it stood without coordinates (PS3.3 table A.35.3-2 has it otherwise).
        coordinates.ContentSequence[0].RelationshipType = "SELECTED FROM"
        return coordinates
    return hd.CoordinatesForMeasurement3D(
        graphic_type="POLYLINE",
        graphic_data=ras_to_lps([line.start_mm, line.end_mm]),
        frame_of_reference_uid=reference.frame_of_reference_uid,
    )
