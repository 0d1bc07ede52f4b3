"""How one series scores: what its words say, what its timing says, whether contrast was given, how fit it is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from dicom_node.inbound.series_headers import SeriesHeaders
from dicom_node.inbound.slice_geometry import find_gaps


class Weighting(StrEnum):
    """The contrast of a series, contrast agent apart. The last three fill no role."""

    T1 = "T1"
    T2 = "T2"
    FLAIR = "FLAIR"
    PD = "PD"
    T2_STAR = "T2*"
    STIR = "STIR"


@dataclass(frozen=True, kw_only=True)
class Scored:
    """A sum of points and the sentences that say where they came from."""

    points: int
    reasons: tuple[str, ...]


# What may stand glued before a weighting: 'AXT1', 'SAGT2', '3DT1'.
_GLUED = r"(?: | s|ax|axi|axial|tra|sag|cor|obl|3d|2d|w|se|tse|fse|ir)"
_T1 = re.compile(_GLUED + r"t1(?![0-9])| mp ?rage| mpr | mp2rage| bravo| f?spgr| tfl| vibe| thrive| tfe| t1w")
_T2 = re.compile(_GLUED + r"t2(?![0-9])")
_FLAIR = re.compile(r"flair| dark ?fl| tirm")
_T1_FLAIR = re.compile(r"t1w? (\w+ )?flair|flair t1")
_STIR = re.compile(r" stir ")
_PD = re.compile(r" pdw? | proton| dp ")

_WITHOUT = re.compile(
    r" (pre|precontrast|pregad\w*|nativ\w*|ohne|sans|sin|senza|unenhanced|plain|avant|antes|vor|basal|non ?con\w*|"
    r"no ?con\w*|no ?gad\w*|noncontrast|non ?gad\w*|zonder|sem|utan|uten|uden|fore|for|bez|przed|pred|kontrastsiz|"
    r"oncesi|ilman|без|до|нативн\w*)(?= )| (without|wo|w o)(?= )(?! (fs|fat))|平扫|平掃|単純|造影前|비조영"
)
_WITH = re.compile(
    r" (post(?! ?(fossa|op|er|tx|rt|treat|surg|chemo|rad|ther|resec|biops))\w*|gad\w*|gd\w*|ce|c\+|\+ ?c|\+ ?g\w*|\+|"
    r"contrast\w*|kontrast\w*|km\+?|\+ ?km|mdc|mdk|enhanced|"
    r"inj\w*|apres|despues|depois|dopo|nach|na|met|com|con|avec|mit|efter|etter|po|sonrasi|kontrastli|iv|"
    r"после|с контраст\w*|контраст\w*|dotarem|gadovist|magnevist|multihance|prohance|clariscan|vueway|elucirem)(?= )"
    r"|t1 ?(w )?(\+|c\+?|ce|gd|km)(?= )|[a-z0-9]\+(c|gd|gad|km|g)(?= )|"
    r"(mprage|bravo|spgr|vibe|space|tse|fse|se|tfe|t1w?)\+|增强|增強|造影(?!前)|(?<!비)조영"
)
_NO_AGENT = frozenset(
    {"", "NO", "NONE", "N", "NOT", "OHNE", "W/O", "WITHOUT", "-", "0", "N/A", "NA", "FALSE", "KEINE", "NO CONTRAST"}
)
_FAT_SUPPRESSED = re.compile(r" (fs|fatsat|fat ?sat|spair|spir|dixon|stir|we)(?= )")


def said_weighting(series: SeriesHeaders) -> Weighting | None:
    """The weighting the description names."""
    words = series.words
    if _T1_FLAIR.search(words):
        return Weighting.T1
    if _FLAIR.search(words):
        return Weighting.FLAIR
    if _STIR.search(words):
        return Weighting.STIR
    if _T1.search(words):
        return Weighting.T1
    if _T2.search(words):
        return Weighting.T2
    return Weighting.PD if _PD.search(words) else None


def timed_weighting(series: SeriesHeaders) -> tuple[Weighting | None, str]:
    """The weighting that TR, TE and TI (ms) give, and the sentence; None where they are missing or say nothing."""
    h = series.first
    tr, te, ti = h.repetition_time_ms, h.echo_time_ms, h.inversion_time_ms
    if te is None and ti is None:
        return None, "no echo time in the header"
    text = ", ".join(f"{n} {v:.4g} ms" for n, v in (("TR", tr), ("TE", te), ("TI", ti)) if v is not None)
    gradient = "GR" in h.scanning_sequence or (not h.scanning_sequence and tr is not None and tr < 100)
    gradient = gradient and "SE" not in h.scanning_sequence
    weighting: Weighting | None = None
    if ti is not None and ti >= 1400 and (te is None or te >= 50):
        weighting = Weighting.FLAIR
    elif te is None:
        weighting = None
    elif gradient:
        weighting = Weighting.T2_STAR if te >= 15 else Weighting.T1 if tr is None or tr <= 3500 else None
    elif ti is not None and 80 <= ti <= 400:
        weighting = Weighting.STIR
    elif ti is not None and 400 < ti < 1400 and te <= 60:
        weighting = Weighting.T1
    elif tr is None:
        weighting = Weighting.T2 if te >= 60 else None
    elif tr >= 1500:
        weighting = Weighting.T2 if te >= 60 else Weighting.PD
    elif te <= 35:
        weighting = Weighting.T1
    return weighting, text


def weighting_of(series: SeriesHeaders) -> tuple[Weighting | None, Scored]:
    """The weighting of a series with the points for how surely; timing rules over words where they contradict."""
    said = said_weighting(series)
    timed, text = timed_weighting(series)
    if said is None and timed is None:
        return None, Scored(points=0, reasons=("neither its description nor its timing tells its contrast",))
    if said == timed or timed is None:
        points = 90 if timed else 50
        reasons = [f"its description says {said}"] + ([f"its timing fits {timed} ({text})"] if timed else [text])
        return said, Scored(points=points, reasons=tuple(reasons))
    if said is None:
        return timed, Scored(points=60, reasons=(f"its timing fits {timed} ({text})",))
    if (said, timed) == (Weighting.FLAIR, Weighting.T2) and series.first.inversion_time_ms is None:
        return said, Scored(points=75, reasons=("its description says FLAIR", f"its timing fits, TI missing ({text})"))
    if (said, timed) == (Weighting.T2, Weighting.FLAIR):
        return timed, Scored(points=80, reasons=(f"its timing fits FLAIR ({text})",))
    if (said, timed) == (Weighting.T2, Weighting.PD) and (series.first.echo_time_ms or 0) >= 40:
        return said, Scored(points=50, reasons=("its description says T2", f"its echo time is short for it ({text})"))
    contradiction = f"its description says {said} instead"
    return timed, Scored(points=40, reasons=(f"its timing fits {timed} ({text})", contradiction))


def said_contrast(series: SeriesHeaders) -> bool | None:
    """True: the description says an agent was given; False: it says none was; None: it says neither or both."""
    words = re.sub(r" (without|wo|w o|ohne) (fs|fat\w*)(?= )", " ", series.words)
    without, given = _WITHOUT.search(words) is not None, _WITH.search(words) is not None
    if without and re.search(r" (pre|w) (and |& )?(post|wo)", words):
        return None
    return False if without else True if given else None


def tagged_contrast(series: SeriesHeaders) -> bool:
    """True where ContrastBolusAgent (or its code) names an agent."""
    return any(h.contrast_agent.strip().upper() not in _NO_AGENT for h in series.headers)


def fitness(series: SeriesHeaders) -> Scored:
    """Points for how useful a series' slices are: thin before thick, 3D before 2D, whole before part."""
    points, reasons = 0, []
    if series.is_3d:
        points += 10
        reasons.append("3D acquisition")
    if (step := series.step_mm) is not None:
        thin = round(max(0.0, min(15.0, (6.0 - step) * 3.0)))
        points += thin
        reasons.append(f"slices {step:.1f} mm apart")
    if not series.is_3d and series.orientation == "axial":
        points += 5
        reasons.append("axial")
    if _FAT_SUPPRESSED.search(series.words) or "FS" in series.first.scan_options:
        points -= 5
        reasons.append("fat suppressed")
    if (extent := series.extent_mm) is not None and extent < 80:
        points -= 20
        reasons.append(f"covers only {extent:.0f} mm")
    if gaps := find_gaps(np.array(series.distinct_mm)):
        points -= 25
        reasons.append(f"has {len(gaps)} gap{'' if len(gaps) == 1 else 's'}")
    if "DERIVED" in series.image_type:
        points -= 30
        reasons.append("derived image")
    return Scored(points=points, reasons=tuple(reasons))
