"""The Image Library (TID 1600) of a report: which images it is about."""

from __future__ import annotations

from collections.abc import Sequence

import highdicom.sr as hd
from pydicom import Dataset
from pydicom.sr.coding import Code

from dicom_node.results import codes
from dicom_node.results.evidence import ReferenceSeries

_CONTEXT = hd.RelationshipTypeValues.HAS_ACQ_CONTEXT
_CONTAINS = hd.RelationshipTypeValues.CONTAINS


def image_library(images: Sequence[Dataset], reference: ReferenceSeries) -> hd.ContainerContentItem:
    """One group for the reference series: what its images share once, then the images.

    highdicom's own repeats fourteen descriptors for every slice: 5 s and 600 kB for a 3D series.
    """
    rows, columns = int(reference.first.Rows), int(reference.first.Columns)
    width_mm, height_mm, _ = reference.grid.spacing_mm
    group = hd.ContainerContentItem(name=codes.IMAGE_LIBRARY_GROUP, relationship_type=_CONTAINS)
    group.ContentSequence = hd.ContentSequence(
        [
            hd.CodeContentItem(name=codes.MODALITY, value=codes.MAGNETIC_RESONANCE, relationship_type=_CONTEXT),
            hd.UIDRefContentItem(
                name=codes.FRAME_OF_REFERENCE_UID,
                value=reference.frame_of_reference_uid,
                relationship_type=_CONTEXT,
            ),
            _number(codes.PIXEL_ROWS, rows, codes.PIXELS),
            _number(codes.PIXEL_COLUMNS, columns, codes.PIXELS),
            _number(codes.HORIZONTAL_SPACING, round(width_mm, 6), codes.MILLIMETER),
            _number(codes.VERTICAL_SPACING, round(height_mm, 6), codes.MILLIMETER),
            *(
                hd.ImageContentItem(
                    name=codes.SOURCE,
                    referenced_sop_class_uid=str(image.SOPClassUID),
                    referenced_sop_instance_uid=str(image.SOPInstanceUID),
                    relationship_type=_CONTAINS,
                )
                for image in images
            ),
        ]
    )
    library = hd.ContainerContentItem(name=codes.IMAGE_LIBRARY, relationship_type=_CONTAINS)
    library.ContentSequence = hd.ContentSequence([group])
    return library


def _number(name: Code, value: float, unit: Code) -> hd.NumContentItem:
    return hd.NumContentItem(name=name, value=value, unit=unit, relationship_type=_CONTEXT)
