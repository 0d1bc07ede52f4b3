"""Why a series or an object cannot be used: the codes, and the error for an object that cannot be parsed."""

from __future__ import annotations

from enum import StrEnum

from dicom_node.errors import Permanent


class Refusal(StrEnum):
    """The `code` of every `SeriesRefused` raised in `dicom_node.inbound`; docs/series-roles.md explains each."""

    TOO_FEW_SLICES = "TOO_FEW_SLICES"
    TOO_LARGE = "TOO_LARGE"
    GEOMETRY_GAP = "GEOMETRY_GAP"
    GEOMETRY_INVALID = "GEOMETRY_INVALID"
    DUPLICATE_POSITION = "DUPLICATE_POSITION"
    ORIENTATION_INCONSISTENT = "ORIENTATION_INCONSISTENT"
    GANTRY_TILT = "GANTRY_TILT"
    NOT_A_VOLUME = "NOT_A_VOLUME"
    NOT_AN_IMAGE = "NOT_AN_IMAGE"
    AFFINE_DISAGREES = "AFFINE_DISAGREES"
    VOXELS_DISAGREE = "VOXELS_DISAGREE"
    UNDECODABLE = "UNDECODABLE"
    PIXELS_INVALID = "PIXELS_INVALID"
    SYNTAX_UNSUPPORTED = "SYNTAX_UNSUPPORTED"
    CONVERTER_REFUSED = "CONVERTER_REFUSED"


class ObjectUnreadable(Permanent):
    """A received object whose data set cannot be parsed; `reason` says where it broke, without any of its values."""

    code = "object-unreadable"

    def __init__(self, reason: str) -> None:
        super().__init__(f"the data set cannot be parsed: {reason}")
        self.reason = reason
