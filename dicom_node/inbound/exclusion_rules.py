"""Which series can never fill a role, and why: a table of rules, first match wins. See docs/series-roles.md."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from dicom_node.inbound.series_headers import SeriesHeaders
from dicom_node.inbound.slice_geometry import MIN_SLICES

_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_SPECTROSCOPY = "1.2.840.10008.5.1.4.1.1.4.2"

#: Body parts that exclude a series. A list of those that do not would fail on every language and misspelling of BRAIN.
_OTHER_PARTS = frozenset(
    {"SPINE", "CSPINE", "TSPINE", "LSPINE", "SSPINE", "NECK", "CHEST", "THORAX", "ABDOMEN", "PELVIS", "BREAST", "HEART"}
    | {"LIVER", "PROSTATE", "KNEE", "SHOULDER", "HIP", "ANKLE", "FOOT", "WRIST", "HAND", "ELBOW", "EXTREMITY"}
)


@dataclass(frozen=True, kw_only=True)
class Exclusion:
    """Why a series fills no role. code: stable word; reason: a sentence a reader of the result understands."""

    code: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class _Rule:
    code: str
    reason: str
    applies: Callable[[SeriesHeaders], bool]


def _says(pattern: str) -> Callable[[SeriesHeaders], bool]:
    compiled = re.compile(pattern)
    return lambda s: compiled.search(s.words) is not None


def _typed(*values: str) -> Callable[[SeriesHeaders], bool]:
    wanted = frozenset(values)
    return lambda s: bool(wanted & s.image_type)


def _type_or_says(pattern: str, *values: str) -> Callable[[SeriesHeaders], bool]:
    says, typed = _says(pattern), _typed(*values)
    return lambda s: says(s) or typed(s)


def _diffusion(s: SeriesHeaders) -> bool:
    weighted = any(h.b_value is not None for h in s.headers) or any(f.b_value for h in s.headers for f in h.frames)
    return weighted or _DIFFUSION(s)


def _several_volumes(s: SeriesHeaders) -> bool:
    positions, images = len(s.distinct_mm), len(s.planes)
    if positions < MIN_SLICES or images < 2 * positions:
        return False
    # A series sent twice under new UIDs has doubles as well; several echoes, times or b-values tell the difference.
    dimensions = {(h.echo_number, h.temporal_position, h.echo_time_ms) for h in s.headers}
    dimensions |= {(None, f.temporal_index, f.echo_time_ms) for h in s.headers for f in h.frames}
    return len(dimensions) > 1


_DIFFUSION = _type_or_says(
    r" [de]?adc| dwi| dti| diff| trace|tracew| tensor| colfa| fa map| b ?\d{3,4} | ivim| dki| resolve ",
    "DIFFUSION", "ADC", "EADC", "ADC_UNSPECIFIED", "TRACEW", "TRACE", "FA", "TENSOR", "DIFFUSION_B0",
)  # fmt: skip

RULES: tuple[_Rule, ...] = (
    _Rule(
        code="OWN_OBJECT", reason="this node made it",
        applies=lambda s: s.first.own_object,
    ),
    _Rule(
        code="SPECTROSCOPY", reason="a spectroscopy object, not an image",
        applies=lambda s: s.first.sop_class_uid == _SPECTROSCOPY or _says(r" svs | csi | press | mrs |spectro")(s),
    ),
    _Rule(
        code="SCREENSHOT", reason="a secondary capture or screen save, not an acquired image",
        applies=lambda s: s.first.sop_class_uid.startswith(_SECONDARY_CAPTURE)
        or _type_or_says(r"screen ?(shot|save|grab)|snapshot", "SCREEN SAVE", "SCREENSHOT")(s),
    ),
    _Rule(
        code="NOT_MR", reason="its modality is not MR",
        applies=lambda s: s.first.modality not in ("MR", ""),
    ),
    _Rule(
        code="NOT_AN_IMAGE", reason="its SOP class is not an MR image",
        applies=lambda s: not s.first.is_mr_image,
    ),
    _Rule(
        code="BURNED_IN", reason="text is burned into its pixels",
        applies=lambda s: any(h.burned_in_annotation for h in s.headers),
    ),
    _Rule(
        code="LOCALIZER", reason="a localizer",
        applies=_type_or_says(
            r"locali[sz]er|locali[sz]ador|reperage| loc | 3 ?pl(ane)? loc| scout|aahscout| pilot | survey| plan scan|"
            r" topogram| 3 ?plane| smartbrain",
            "LOCALIZER", "SCOUT",
        ),
    ),
    _Rule(code="DIFFUSION", reason="a diffusion series or map", applies=_diffusion),
    _Rule(
        code="CALIBRATION", reason="a calibration or field map scan",
        applies=_type_or_says(
            r" calib| asset| ref(erence)? ?scan| coil ?(sens|survey)| senseref| b0 | b1 ?map| field ?map|fieldmapping|"
            r" shim| gre field| noise ",
            "FIELDMAPHZ", "B0 MAP", "B1 MAP",
        ),
    ),
    _Rule(
        code="PERFUSION", reason="a perfusion series or map",
        applies=_type_or_says(
            r" perf| asl | pcasl | pasl | dsc | dce | dyn | dynamic|(r|rel)cb[vf]| cb[vf] |"
            r" mtt | ttp | tmax | ktrans | twist | tricks ",
            "PERFUSION", "ASL", "RCBF", "RCBV", "CBF", "CBV", "MTT", "TTP", "PBP",
        ),
    ),
    _Rule(
        code="SUBTRACTION", reason="a subtraction of other series",
        applies=_type_or_says(r" sub | subs | subtr| minus | resta ", "SUBTRACTION", "SUB", "SUBTRACT"),
    ),
    _Rule(
        code="FUNCTIONAL", reason="a functional series",
        applies=_type_or_says(r" fmri| bold | resting| rest ?state", "FMRI"),
    ),
    _Rule(
        code="SUSCEPTIBILITY", reason="a susceptibility or T2* series",
        applies=_type_or_says(
            r" s?swi| swan| venobold| suscept| qsm | minip | t2 ?\*| t2 ?star| hemo |"
            r" medic | merge | mag images| pha images",
            "SWI", "MNIP", "SUSCEPTIBILITY",
        ),
    ),
    _Rule(
        code="ANGIOGRAPHY", reason="an angiography",
        applies=_type_or_says(
            r" tof| mra | mrv | cemra| angio| venogr| inhance| phase ?contrast| pca? 3d| pc3d", "TOF", "ANGIO"
        ),
    ),
    _Rule(
        code="PHASE", reason="a phase, real or imaginary image",
        applies=_type_or_says(
            r" pha | phase map",
            "P", "PHASE", "PHASE MAP", "REAL", "IMAGINARY", "R", "I", "P_SE", "P_FFE", "P_IR",
        ),
    ),
    _Rule(
        code="PARAMETER_MAP", reason="a computed parameter map",
        applies=_type_or_says(
            r" t[12] ?map| r[12] ?map| t1 ?mapping| mrf | synth| magic ",
            "T1 MAP", "T2 MAP", "T2_STAR MAP", "R2 MAP", "R2_STAR MAP", "T1_MAP", "T2_MAP",
        ),
    ),
    _Rule(
        code="REFORMAT", reason="reformatted or projected from another series",
        applies=_type_or_says(
            r"(rage|bravo|tfe|spgr|flair|space|tse|km|gd|vibe) (\w+ )?mpr | mpr range| mip | reformat\w*| refmt|"
            r" curved",
            "MPR", "CSA MPR", "CSAMPR", "REFORMATTED", "REFORMAT", "PROJECTION IMAGE",
            "MIP", "MAX_IP", "MIN_IP", "MAXIMUM", "PJN",
        ),
    ),
    _Rule(
        code="DERIVED", reason="derived from another series",
        applies=lambda s: "DERIVED" in s.image_type
        and "ORIGINAL" not in s.image_type
        and ("SECONDARY" in s.image_type or _says(" mpr ")(s)),
    ),
    _Rule(
        code="STEADY_STATE", reason="a steady-state series, without a role here",
        applies=_says(r" ciss| fiesta| trufi| true ?fisp| bssfp| b ?ffe "),
    ),
    _Rule(
        code="MOSAIC", reason="its slices are tiled into one image",
        applies=_typed("MOSAIC"),
    ),
    _Rule(
        code="EPI", reason="an echo-planar series",
        applies=lambda s: "EP" in s.first.scanning_sequence
        or s.first.sequence_name.lower().lstrip("*").startswith("ep"),
    ),
    _Rule(
        code="OTHER_BODY_PART", reason="it does not show the brain",
        applies=lambda s: s.first.body_part in _OTHER_PARTS
        or _says(r" (c|t|l)? ?spine | spinal | wirbel| hws | bws | lws | neck | hals | orbit\w* | knee | abdomen ")(s),
    ),
    _Rule(
        code="SEVERAL_VOLUMES", reason="several echoes, times or b-values in one series",
        applies=_several_volumes,
    ),
    _Rule(
        code="TOO_FEW_SLICES", reason=f"fewer than {MIN_SLICES} slices",
        applies=lambda s: min(s.slice_count, len(s.distinct_mm) or s.slice_count) < MIN_SLICES,
    ),
)  # fmt: skip


def exclusion_of(series: SeriesHeaders) -> Exclusion | None:
    """The first rule that keeps `series` out of every role, None where it is a candidate."""
    for rule in RULES:
        if rule.applies(series):
            return Exclusion(code=rule.code, reason=rule.reason)
    return None
