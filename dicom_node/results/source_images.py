"""The source images as highdicom's constructors need them: complete, of one orientation, free of identity.

Real headers lack type 2 attributes, hold sexes and character sets that the library refuses, and put an enhanced image's
orientation into every frame. None of that may stop a result, so the constructors get cleaned copies; the identity is
copied verbatim from the true headers afterwards (`stamp.finish`).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

from pydicom import Dataset

from dicom_node.results.evidence import ReferenceSeries
from dicom_node.results.stamp import IDENTITY_KEYWORDS

#: The character set says how the other texts are to be read.
_KEPT = frozenset({"StudyInstanceUID", "SpecificCharacterSet"})


def source_images(reference: ReferenceSeries) -> list[Dataset]:
    """Cleaned headers: single-frame images in k order, or one multi-frame whose frame k + 1 is slice k."""
    if reference.multi_frame:
        return [_multi_frame(reference)]
    images = [_without_identity(dataset) for dataset in reference.datasets]
    for image in images:
        # highdicom wants the orientations equal to the last digit; the evidence has held them to the grid.
        _replace(image, "ImageOrientationPatient", images[0].ImageOrientationPatient)
        if not image.get("SliceThickness"):
            _replace(image, "SliceThickness", reference.grid.spacing_mm[2])
    return images


def restore_frame_numbers(frames: Sequence[Dataset], reference: ReferenceSeries) -> None:
    """Undo the renumbering of `source_images` in the references of a result's per-frame groups, in place."""
    if not reference.multi_frame:
        return
    for frame in frames:
        for derivation in frame.get("DerivationImageSequence", []):
            for source in derivation.SourceImageSequence:
                k = int(source.ReferencedFrameNumber) - 1
                source.ReferencedFrameNumber = reference.slices[k].frame_number


def _multi_frame(reference: ReferenceSeries) -> Dataset:
    image = _without_identity(reference.first)
    frames = reference.first.PerFrameFunctionalGroupsSequence
    used = [copy.deepcopy(frames[(s.frame_number or 1) - 1]) for s in reference.slices]
    shared = copy.deepcopy(reference.first.SharedFunctionalGroupsSequence[0])
    for keyword in ("PlaneOrientationSequence", "PixelMeasuresSequence"):
        if keyword not in shared:
            setattr(shared, keyword, copy.deepcopy(used[0][keyword].value))
    measures = shared.PixelMeasuresSequence[0]
    if not measures.get("SliceThickness"):
        measures.SliceThickness = reference.grid.spacing_mm[2]
    _replace(image, "SharedFunctionalGroupsSequence", [shared])
    _replace(image, "PerFrameFunctionalGroupsSequence", used)
    _replace(image, "NumberOfFrames", len(used))
    return image


def _without_identity(dataset: Dataset) -> Dataset:
    image = Dataset()
    # Raw elements are taken as they are: decoding all of a header would stop at any odd value in it.
    image.update(dict(dataset.items()))
    for keyword in IDENTITY_KEYWORDS:
        if keyword in _KEPT:
            continue
        _replace(image, keyword, None)
    if "SpacingBetweenSlices" in image and not image.SpacingBetweenSlices:
        del image.SpacingBetweenSlices
    return image


def _replace(image: Dataset, keyword: str, value: object) -> None:
    """Set an attribute of a copy; None empties it, and takes a sequence away.

    The copy shares its element objects with the true header: setting in place would write through to that.
    """
    image.pop(keyword, None)
    if value is not None or not keyword.endswith("Sequence"):
        setattr(image, keyword, value)
