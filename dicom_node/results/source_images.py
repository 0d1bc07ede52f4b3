"""The source images as highdicom's constructors need them: complete, of one orientation, free of identity.

Real headers lack type 2 attributes, hold sexes and character sets that the library refuses, and put an enhanced image's
orientation into every frame. None of that may stop a result, so the constructors get cleaned copies; the identity is
copied verbatim from the true headers afterwards (`stamp.finish`).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from types import MappingProxyType

from pydicom import DataElement, Dataset
from pydicom.datadict import dictionary_VR
from pydicom.tag import BaseTag, Tag

from dicom_node.results.evidence import ReferenceSeries
from dicom_node.results.stamp import IDENTITY_KEYWORDS

#: The character set says how the other texts are to be read.
_KEPT = frozenset({"StudyInstanceUID", "SpecificCharacterSet"})
#: What the constructors get without a value, by its VR; None for what they do not get at all.
_EMPTIED: Mapping[BaseTag, str | None] = MappingProxyType(
    {
        Tag(keyword): None if keyword.endswith("Sequence") else dictionary_VR(keyword)
        for keyword in IDENTITY_KEYWORDS
        if keyword not in _KEPT
    }
)


def source_images(reference: ReferenceSeries) -> list[Dataset]:
    """Cleaned headers: single-frame images in k order, or one multi-frame whose frame k + 1 is slice k.

    highdicom takes one multi-frame image only; a series of several is put together here for as long as it builds.
    """
    if reference.multi_frame:
        return [_multi_frame(reference)]
    images = [without_identity(dataset) for dataset in reference.datasets]
    for image in images:
        # highdicom wants the orientations equal to the last digit; the evidence has held them to the grid.
        _replace(image, "ImageOrientationPatient", images[0].ImageOrientationPatient)
        _mend_lengths(image, reference.grid.spacing_mm[2])
    return images


def evidence_images(reference: ReferenceSeries) -> list[Dataset]:
    """Every instance of the reference series, without identity: what a report lists."""
    return [without_identity(dataset) for dataset in reference.datasets]


def restore_references(result: Dataset, reference: ReferenceSeries) -> None:
    """Make a result made from `source_images` refer to the true instances and frames, in place."""
    if not reference.multi_frame:
        return
    sources = [
        source
        for frame in result.PerFrameFunctionalGroupsSequence
        for derivation in frame.get("DerivationImageSequence", [])
        for source in derivation.SourceImageSequence
    ]
    # The segments' frames of one slice share their item: each is to be renumbered once.
    for source in {id(source): source for source in sources}.values():
        true = reference.slices[int(source.ReferencedFrameNumber) - 1]
        source.ReferencedSOPInstanceUID = true.sop_instance_uid
        source.ReferencedFrameNumber = true.frame_number
    result.SourceImageSequence = [reference_to(dataset) for dataset in reference.datasets]
    result.ReferencedSeriesSequence[0].ReferencedInstanceSequence = [
        reference_to(dataset) for dataset in reference.datasets
    ]


def reference_to(dataset: Dataset) -> Dataset:
    """The item that refers to an image."""
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    return item


def _multi_frame(reference: ReferenceSeries) -> Dataset:
    image = without_identity(reference.first)
    used = [copy.deepcopy(reference.frame_groups(k)) for k in range(len(reference.slices))]
    shared = copy.deepcopy(reference.first.SharedFunctionalGroupsSequence[0])
    for keyword in ("PlaneOrientationSequence", "PixelMeasuresSequence"):
        if keyword not in shared:
            setattr(shared, keyword, copy.deepcopy(used[0][keyword].value))
    _mend_lengths(shared.PixelMeasuresSequence[0], reference.grid.spacing_mm[2])
    _replace(image, "SharedFunctionalGroupsSequence", [shared])
    _replace(image, "PerFrameFunctionalGroupsSequence", used)
    _replace(image, "NumberOfFrames", len(used))
    return image


def without_identity(dataset: Dataset) -> Dataset:
    """A copy that shares its elements with `dataset`, but for identity: emptied, or left out where that may be."""
    # Raw elements are taken as they are: decoding all of a header would stop at any odd value in it.
    elements = {tag: element for tag, element in dataset.items() if tag not in _EMPTIED}
    for tag, empty in _EMPTIED.items():
        if empty is not None:
            # An own one: setting an attribute of a dataset writes into its element.
            elements[tag] = DataElement(tag, empty, None)
    return Dataset(elements)


def _mend_lengths(item: Dataset, spacing_mm: float) -> None:
    """Give what holds the pixel measures a slice thickness and no unusable slice spacing, in place.

    Our grid follows from the positions: these two may hold anything and the series is read all the same.
    """
    if not _length(item, "SliceThickness"):
        _replace(item, "SliceThickness", spacing_mm)
    if not _length(item, "SpacingBetweenSlices"):
        item.pop("SpacingBetweenSlices", None)


def _length(item: Dataset, keyword: str) -> float | None:
    """In mm; None where it is absent, empty, no number or not finite."""
    try:
        value = float(item.get(keyword) or 0.0)
    except (TypeError, ValueError):  # several values; decoding text that is no number
        return None
    return value if math.isfinite(value) else None


def _replace(image: Dataset, keyword: str, value: object) -> None:
    """Set an attribute of a copy.

    The copy shares its element objects with the true header: setting in place would write through to that.
    """
    image.pop(keyword, None)
    setattr(image, keyword, value)
