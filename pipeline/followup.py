"""One patient over time: plain frozen values of a report, oldest visit first, the present one last."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

RESPONSE_NOTICE = (
    "Suggested from images alone, by the thresholds of RANO 2.0: no verdict. Steroid dose, clinical state, treatment "
    "and its dates are unknown to this program; pseudoprogression, radionecrosis, cysts, cavities and blood are not "
    "told apart; the baseline is the earliest visit that this node has analysed. A physician decides."
)


class LesionChange(StrEnum):
    """What became of a lesion since the visit before. `FIRST`: seen at the patient's first visit here."""

    FIRST = "first"
    SAME = "same"
    NEW = "new"
    MERGED = "merged"
    SPLIT = "split"


class Category(StrEnum):
    """Suggested imaging-only response. `NOT_EVALUABLE`: nothing measurable to compare with, or the baseline itself."""

    COMPLETE = "CR"
    PARTIAL = "PR"
    STABLE = "SD"
    PROGRESSIVE = "PD"
    NOT_EVALUABLE = "NE"


@dataclass(frozen=True, kw_only=True)
class VisitLesion:
    """One lesion at one visit. number: in that visit's report. from_uids: what merged into it, or what it split from.

    product_mm2: of its enhancing part, 0 where it has none. measurable, target: by RANO, at that visit.
    """

    tracking_uid: str
    number: int
    change: LesionChange
    volume_ml: float
    enhancing_ml: float
    product_mm2: float = 0.0
    measurable: bool = False
    target: bool = False
    from_uids: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Visit:
    """One analysed study of the patient. key: of the analysis run. volumes_ml: region or label to mL, those measured.

    vanished: tracking UIDs that the visit before had and this one has not; what merged is not among them. after: Study
    Instance UID of the visit that this one was laid on, empty where there was none, None in visits of older releases.
    """

    key: str
    study_uid: str
    day: date
    volumes_ml: dict[str, float]
    lesions: tuple[VisitLesion, ...] = ()
    vanished: tuple[str, ...] = ()
    after: str | None = None

    @property
    def enhancing_ml(self) -> float:
        """Volume of enhancing tumour in mL."""
        return self.volumes_ml.get("ET", 0.0)


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """How the visit before was laid on this one: rigid, by the two reference series.

    to_previous: rows of the 4 x 4 from a point of this visit's reference to that of the visit before, RAS+ mm; empty in
    reports of older releases.
    """

    rotation_deg: float
    translation_mm: float
    overlap: float
    to_previous: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True, kw_only=True)
class ChangeRow:
    """A line of the table of change. quantity: e.g. 'volume'; subject: 'ET', 'targets'...; tracking_uid: of one lesion.

    None where the lesion was not there. percent_*: of the earlier value; None where that is 0 or missing.
    """

    quantity: str
    subject: str
    unit: str
    baseline: float | None
    previous: float | None
    current: float | None
    percent_since_baseline: float | None
    percent_since_previous: float | None
    tracking_uid: str = ""


@dataclass(frozen=True, kw_only=True)
class Response:
    """A suggested category with its arithmetic. method: what was compared; unit: of the three numbers.

    confirmed: seen again 28 days or more later; None for categories that need no confirmation. first_progression: the
    day the category was first PD, also where it is no longer. arithmetic: sentences that a person can check.
    """

    method: str
    unit: str
    category: Category
    baseline: float
    nadir: float
    current: float
    confirmed: bool | None
    first_progression: date | None
    arithmetic: tuple[str, ...]
    notice: str = RESPONSE_NOTICE


@dataclass(frozen=True, kw_only=True)
class FollowUp:
    """visits: oldest first, this study's last. note: what a reader should know, e.g. why nothing was compared.

    diameters, volume: the two suggested categories; None where this is the first visit.
    """

    visits: tuple[Visit, ...]
    alignment: Alignment | None = None
    changes: tuple[ChangeRow, ...] = ()
    diameters: Response | None = None
    volume: Response | None = None
    note: str = ""

    @property
    def current(self) -> Visit:
        """This study."""
        return self.visits[-1]
