"""The overlay as plain pictures, for a PACS that takes no SEG: it cannot be switched off, measured or traced."""

from __future__ import annotations

from collections.abc import Sequence

import highdicom
from pydicom.uid import SecondaryCaptureImageStorage

from dicom_node.result_kinds import ResultKind
from dicom_node.results.encoded import EncodedObject
from dicom_node.results.evidence import Evidence
from dicom_node.results.pictures import montage
from dicom_node.results.report_language import load_language
from dicom_node.results.source_images import reference_to
from dicom_node.results.stamp import (
    SERIES_DESCRIPTION_PREFIX,
    RunStamp,
    cite_replaced,
    equipment_arguments,
    finish,
    plain_text,
    result_uid,
    series_number,
)
from pipeline.report import Report


class CaptureEncoder:
    """One RGB Secondary Capture: three planes, axial slices through the tumour, legend, letters, research notice."""

    kind: str = ResultKind.SC.value
    sop_class_uid = str(SecondaryCaptureImageStorage)

    def encode(
        self, report: Report, evidence: Evidence, stamp: RunStamp, previous: Sequence[EncodedObject]
    ) -> EncodedObject | None:
        """The capture; None where the voxels of the reference series are not at hand."""
        if evidence.volume is None:
            return None
        reference, language = evidence.reference, load_language(stamp.options)
        pixels = montage(
            report, evidence.volume, language["montage_title"], language["research_use"], language["names"]
        )
        dataset = highdicom.sc.SCImage(
            pixel_array=pixels,
            photometric_interpretation="RGB",
            bits_allocated=8,
            coordinate_system="PATIENT",
            patient_orientation=("L", "P"),
            study_instance_uid=reference.study_instance_uid,
            series_instance_uid=result_uid(self.kind, "series", report, reference, stamp),
            series_number=series_number(stamp, 6),
            sop_instance_uid=result_uid(self.kind, "instance", report, reference, stamp),
            instance_number=1,
            series_description=f"{SERIES_DESCRIPTION_PREFIX}Tumor overlay pictures (research)",
            **equipment_arguments(report, reference, stamp),
        )
        # Planes of several orientations share the picture: none of them is the whole image's.
        dataset.PatientOrientation = None
        dataset.BodyPartExamined = "HEAD"
        dataset.ImageType = ["DERIVED", "SECONDARY", "MONTAGE"]
        dataset.BurnedInAnnotation, dataset.RecognizableVisualFeatures = "NO", "NO"
        dataset.ImageComments = plain_text(f"Research use only. {report.notice}", 1024)
        dataset.DerivationDescription = "Overlay of an automatic segmentation on slices of the source series"
        dataset.SourceImageSequence = [reference_to(image) for image in reference.datasets]
        finish(dataset, reference, stamp)
        cite_replaced(dataset, self.kind, stamp)
        return EncodedObject(kind=self.kind, dataset=dataset)
