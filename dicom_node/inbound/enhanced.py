"""Enhanced multi-frame objects: the per-frame and shared functional groups read into one plain value per frame."""

from __future__ import annotations

from dataclasses import dataclass

from dicom_node.inbound.attributes import Attributes

#: More frames than this in one object are not read (a hostile count; 4D perfusion stays below).
MAX_FRAMES = 100_000


@dataclass(frozen=True, kw_only=True)
class FrameHeader:
    """What one frame says about its plane, its place among the dimensions, and its contrast.

    position: mm, LPS+. orientation: row cosines then column cosines. pixel_spacing_mm: between rows, between columns.
    rescale: (slope, intercept) or None where the frame carries none.
    """

    number: int
    position: tuple[float, ...]
    orientation: tuple[float, ...]
    pixel_spacing_mm: tuple[float, ...]
    frame_type: tuple[str, ...] = ()
    stack_id: str = ""
    in_stack_position: int | None = None
    temporal_index: int | None = None
    echo_time_ms: float | None = None
    b_value: float | None = None
    rescale: tuple[float, float] | None = None


def read_frames(dataset: Attributes) -> tuple[FrameHeader, ...]:
    """Every frame of an enhanced object in file order; () where it has no per-frame functional groups."""
    shared = dataset.item("SharedFunctionalGroupsSequence")
    frames = dataset.items("PerFrameFunctionalGroupsSequence")
    if len(frames) > MAX_FRAMES:
        dataset.problems.append(f"PerFrameFunctionalGroupsSequence: {len(frames)} frames")
        return ()
    return tuple(_frame(number, frame, shared) for number, frame in enumerate(frames, start=1))


def group(keyword: str, frame: Attributes, shared: Attributes) -> Attributes:
    """A functional group's item, of the frame where it has one, else shared (PS3.3 C.7.6.16.1)."""
    return frame.item(keyword) if frame.has(keyword) else shared.item(keyword)


def _frame(number: int, frame: Attributes, shared: Attributes) -> FrameHeader:
    content = frame.item("FrameContentSequence")
    measures = group("PixelMeasuresSequence", frame, shared)
    values = group("PixelValueTransformationSequence", frame, shared)
    slope, intercept = values.number("RescaleSlope"), values.number("RescaleIntercept")
    return FrameHeader(
        number=number,
        position=group("PlanePositionSequence", frame, shared).numbers("ImagePositionPatient", 3),
        orientation=group("PlaneOrientationSequence", frame, shared).numbers("ImageOrientationPatient", 6),
        pixel_spacing_mm=measures.numbers("PixelSpacing", 2),
        frame_type=group("MRImageFrameTypeSequence", frame, shared).words("FrameType"),
        stack_id=content.text("StackID"),
        in_stack_position=content.integer("InStackPositionNumber"),
        temporal_index=content.integer("TemporalPositionIndex"),
        echo_time_ms=group("MREchoSequence", frame, shared).number("EffectiveEchoTime"),
        b_value=group("MRDiffusionSequence", frame, shared).number("DiffusionBValue"),
        rescale=None if slope is None else (slope, intercept or 0.0),
    )
