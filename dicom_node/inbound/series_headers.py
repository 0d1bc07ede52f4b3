"""One series as its instances' headers, with the few facts about it that rules ask for."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dicom_node.inbound.headers import InstanceHeader
from dicom_node.inbound.slice_geometry import Plane, normal_of, planes_of, positions_mm

#: Letters that no decomposition makes plain.
_PLAIN = str.maketrans({"ı": "i", "ł": "l", "ø": "o", "ß": "ss"})
_PLANES = ("sagittal", "coronal", "axial")


@dataclass(frozen=True, kw_only=True)
class SeriesHeaders:
    """The headers of one series, at least one, in any order."""

    series_instance_uid: str
    headers: tuple[InstanceHeader, ...]

    @property
    def first(self) -> InstanceHeader:
        """The header that stands for what all instances share."""
        return self.headers[0]

    @property
    def description(self) -> str:
        """SeriesDescription, else ProtocolName (GE writes the whole exam's protocol there, so it comes second)."""
        return self.first.series_description or self.first.protocol_name

    @cached_property
    def words(self) -> str:
        """The description in lower case without accents; all but letters of any script, digits, + and * are single
        blanks, one at either end too."""
        decomposed = unicodedata.normalize("NFKD", self.description.lower())
        plain = "".join(letter for letter in decomposed if not unicodedata.combining(letter)).translate(_PLAIN)
        return " " + " ".join(re.split(r"[^\w+*]+|_+", plain)) + " "

    @cached_property
    def image_type(self) -> frozenset[str]:
        """Every value of ImageType in any instance or frame."""
        values = {w for h in self.headers for w in h.image_type}
        values |= {w for h in self.headers for f in h.frames for w in f.frame_type}
        return frozenset(values)

    @property
    def is_3d(self) -> bool:
        """True for a 3D acquisition."""
        return self.first.acquisition_type == "3D"

    @cached_property
    def acquired(self) -> str:
        """Earliest acquisition as sortable text, '' where unknown."""
        return min((h.acquisition_datetime for h in self.headers if h.acquisition_datetime), default="")

    @cached_property
    def planes(self) -> tuple[Plane, ...]:
        """The slices that have a usable place."""
        return tuple(p for p in planes_of(self.headers) if p.usable)

    @cached_property
    def slice_count(self) -> int:
        """Images in the series, frames counted one by one."""
        return sum(max(1, len(h.frames), h.number_of_frames) for h in self.headers)

    @cached_property
    def distinct_mm(self) -> tuple[float, ...]:
        """Distinct positions along the first slice's normal, ascending, in mm."""
        if not self.planes:
            return ()
        return tuple(float(v) for v in np.unique(np.round(positions_mm(self.planes), 2)))

    @cached_property
    def step_mm(self) -> float | None:
        """Median distance between neighbouring slices, else SpacingBetweenSlices, else SliceThickness."""
        if len(self.distinct_mm) > 1:
            return float(np.median(np.diff(self.distinct_mm)))
        return self.first.spacing_between_slices_mm or self.first.slice_thickness_mm

    @property
    def extent_mm(self) -> float | None:
        """Length of the stack along its normal, None where fewer than two places are known."""
        if len(self.distinct_mm) < 2:
            return None
        return self.distinct_mm[-1] - self.distinct_mm[0] + (self.step_mm or 0.0)

    @cached_property
    def orientation(self) -> str:
        """'axial', 'coronal' or 'sagittal' by the nearest body axis; '' where unknown."""
        if not self.planes:
            return ""
        return _PLANES[int(np.argmax(np.abs(normal_of(self.planes[0]))))]


def group_by_series(headers: Iterable[InstanceHeader]) -> tuple[SeriesHeaders, ...]:
    """Headers gathered by SeriesInstanceUID, in order of first appearance."""
    groups: dict[str, list[InstanceHeader]] = {}
    for header in headers:
        groups.setdefault(header.series_instance_uid, []).append(header)
    return tuple(SeriesHeaders(series_instance_uid=uid, headers=tuple(group)) for uid, group in groups.items())
