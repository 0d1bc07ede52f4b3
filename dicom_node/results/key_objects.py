"""Key Object Selection: the images worth opening first, as every PACS can show them."""

from __future__ import annotations

from collections.abc import Sequence

import highdicom
import numpy as np
from pydicom.uid import KeyObjectSelectionDocumentStorage

from dicom_node.result_kinds import ResultKind
from dicom_node.results.codes import OF_INTEREST
from dicom_node.results.encoded import EncodedObject
from dicom_node.results.evidence import Evidence, ReferenceSeries
from dicom_node.results.pictures import labels_of
from dicom_node.results.source_images import evidence_images
from dicom_node.results.sr_document import device_observer
from dicom_node.results.stamp import (
    SERIES_DESCRIPTION_PREFIX,
    RunStamp,
    equipment_arguments,
    finish,
    plain_text,
    result_uid,
    series_number,
)
from pipeline.report import Report

#: More lesions than this are not pointed at one by one.
_MOST = 5


class KeyObjectEncoder:
    """The source slices on which the diameters were taken, or which show most of the tumour."""

    kind: str = ResultKind.KO.value
    sop_class_uid = str(KeyObjectSelectionDocumentStorage)

    def encode(
        self, report: Report, evidence: Evidence, stamp: RunStamp, previous: Sequence[EncodedObject]
    ) -> EncodedObject | None:
        """The selection; None where nothing was segmented."""
        reference = evidence.reference
        slices = key_slices(report, reference)
        if not slices:
            return None
        uids = {reference.slices[k].sop_instance_uid for k in slices}
        images = [image for image in evidence_images(reference) if str(image.SOPInstanceUID) in uids]
        told = ", ".join(str(k + 1) for k in slices)
        replaced = stamp.predecessors.get(self.kind)
        sentence = f"Research use only. Slices {told} of the source series show the tumor that was segmented."
        if replaced is not None:
            sentence += f" Replaces the selection {replaced.sop_instance_uid}."
        dataset = highdicom.ko.KeyObjectSelectionDocument(
            evidence=images,
            content=highdicom.ko.KeyObjectSelection(
                document_title=OF_INTEREST,
                referenced_objects=images,
                observer_device_context=device_observer(report),
                description=plain_text(sentence),
            ),
            series_instance_uid=result_uid(self.kind, "series", report, reference, stamp),
            series_number=series_number(stamp, 7),
            sop_instance_uid=result_uid(self.kind, "instance", report, reference, stamp),
            instance_number=1,
            series_description=f"{SERIES_DESCRIPTION_PREFIX}Key images (research)",
            **equipment_arguments(report, reference, stamp),
        )
        finish(dataset, reference, stamp)
        return EncodedObject(kind=self.kind, dataset=dataset)


def key_slices(report: Report, reference: ReferenceSeries) -> tuple[int, ...]:
    """The slices that show each of the largest lesions' longest diameter, or else most of all tumour; from 0."""
    labels = labels_of(report)
    if labels is None:
        return ()
    to_voxel = np.linalg.inv(reference.grid.affine)
    found = []
    for lesion in report.lesions[:_MOST]:
        if lesion.longest is not None:
            middle = np.add(lesion.longest.start_mm, lesion.longest.end_mm) / 2
            found.append(round(float((to_voxel @ (*middle, 1.0))[2])))
    on_grid = [k for k in dict.fromkeys(found) if 0 <= k < len(reference.slices)]
    return tuple(sorted(on_grid)) or (int((labels > 0).sum(axis=(0, 1)).argmax()),)
