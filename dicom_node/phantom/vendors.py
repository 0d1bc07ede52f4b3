"""How Siemens, GE and Philips scanners fill the headers of the same four series.

Modelled on real headers: words of descriptions, ImageType, sequence tags, whether contrast is recorded, how instances
are numbered, and how pixels are stored. Nothing here is measured by the phantom; it is what a reader has to cope with.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from dicom_node.phantom.acquisition import SEQUENCES
from dicom_node.phantom.contrast import PulseSequence
from pipeline.volume import SeriesRole

VendorName = Literal["siemens", "ge", "philips"]
Numbering = Literal["ascending", "descending", "interleaved"]


@dataclass(frozen=True, kw_only=True)
class SeriesHabit:
    """The header of one series. descriptions: one is drawn per study.

    recorded_tr_ms: what (0018,0080) says where that is not the sequence's own repetition time (gradient echo trains
    record the time between excitations). agent: (0018,0010), or None where the scanner leaves contrast unrecorded.
    """

    descriptions: tuple[str, ...]
    image_type: tuple[str, ...]
    scanning_sequence: tuple[str, ...]
    sequence_variant: tuple[str, ...]
    scan_options: tuple[str, ...]
    sequence: PulseSequence
    three_dimensional: bool
    sequence_name: str | None = None
    recorded_tr_ms: float | None = None
    records_inversion: bool = True
    agent: str | None = None


@dataclass(frozen=True, kw_only=True)
class Vendor:
    """One make of scanner.

    bits_stored, signed, white_level: how pixels are stored, and the stored value of white matter. slope_range:
    limits of the rescale slope, or None where none is written. number_step: series are numbered in these steps.
    """

    name: VendorName
    manufacturer: str
    models: tuple[str, ...]
    software: str
    station: str
    study_descriptions: tuple[str, ...]
    numbering: Numbering
    number_step: int
    bits_stored: int
    signed: bool
    white_level: float
    slope_range: tuple[float, float] | None
    series: dict[SeriesRole, SeriesHabit]


_T1, _T1CE, _T2, _FLAIR = (SEQUENCES[r] for r in (SeriesRole.T1, SeriesRole.T1CE, SeriesRole.T2, SeriesRole.FLAIR))

_SIEMENS_3D = SeriesHabit(
    descriptions=("t1_mprage_sag_p2_iso", "t1_mpr_sag_iso", "T1 MPRAGE SAG", "anat-T1w_acq-tfl"),
    image_type=("ORIGINAL", "PRIMARY", "M", "ND", "NORM"),
    scanning_sequence=("GR", "IR"),
    sequence_variant=("SK", "SP", "MP"),
    scan_options=("IR", "WE"),
    sequence=_T1,
    three_dimensional=True,
    sequence_name="*tfl3d1_16ns",
)
SIEMENS = Vendor(
    name="siemens",
    manufacturer="SIEMENS",
    models=("Prisma", "Skyra", "MAGNETOM Vida"),
    software="syngo MR E11",
    station="MRC35062",
    study_descriptions=("MR^Kopf", "Head^Tumor", "MRT Schädel mit KM"),
    numbering="ascending",
    number_step=1,
    bits_stored=12,
    signed=False,
    white_level=420,
    slope_range=None,
    series={
        SeriesRole.T1: _SIEMENS_3D,
        SeriesRole.T1CE: replace(
            _SIEMENS_3D,
            descriptions=("t1_mprage_tra_p2_iso_KM", "t1_mprage_tra_iso +KM", "t1_mprage_tra_Gd", "T1 MPRAGE TRA post"),
            sequence=_T1CE,
            agent="Gadovist",
        ),
        SeriesRole.T2: SeriesHabit(
            descriptions=("t2_tse_tra_p2", "t2_tse_tra_448", "T2 TSE TRA"),
            image_type=("ORIGINAL", "PRIMARY", "M", "NORM", "DIS2D"),
            scanning_sequence=("SE",),
            sequence_variant=("SK", "SP", "OSP"),
            scan_options=("PFP", "SAT1"),
            sequence=_T2,
            three_dimensional=False,
            sequence_name="*tse2d1_18",
        ),
        SeriesRole.FLAIR: SeriesHabit(
            descriptions=("t2_tirm_tra_dark-fluid", "t2_tirm_tra_dark-fluid_p2", "t2_flair_tra", "T2 FLAIR TRA"),
            image_type=("ORIGINAL", "PRIMARY", "M", "NORM", "DIS2D"),
            scanning_sequence=("SE", "IR"),
            sequence_variant=("SK", "SP", "MP", "OSP"),
            scan_options=("IR", "PFP", "FS"),
            sequence=_FLAIR,
            three_dimensional=False,
            sequence_name="*tir2d1rs16_154",
        ),
    },
)

_BRAVO = replace(_T1, repetition_ms=1900, inversion_ms=650, flip_deg=10, echo_ms=3.2, echo_spacing_ms=6.5, train=150)
_GE_3D = SeriesHabit(
    descriptions=("Sag T1 BRAVO", "SAG 3D FSPGR", "Sag BRAVO T1"),
    image_type=("ORIGINAL", "PRIMARY", "OTHER"),
    scanning_sequence=("GR",),
    sequence_variant=("SS", "SP", "SK"),
    scan_options=("FAST_GEMS", "EDR_GEMS", "ACC_GEMS"),
    sequence=_BRAVO,
    three_dimensional=True,
    recorded_tr_ms=8.2,
    # The preparation is not in the sequence tags (no IR), and the standard then forbids the inversion time.
    records_inversion=False,
)
GE = Vendor(
    name="ge",
    manufacturer="GE MEDICAL SYSTEMS",
    models=("DISCOVERY MR750", "SIGNA Premier", "SIGNA Architect"),
    software="27\\LX\\MR Software release:DV26.0_R03_1831.b",
    station="GEHCMR1",
    study_descriptions=("MRI BRAIN W WO CONTRAST", "MR BRAIN WITHOUT AND WITH"),
    numbering="descending",
    number_step=1,
    bits_stored=16,
    signed=True,
    white_level=2600,
    slope_range=None,
    series={
        SeriesRole.T1: _GE_3D,
        # The agent is left unrecorded, as often on this make: only the description tells the two apart.
        SeriesRole.T1CE: replace(
            _GE_3D,
            descriptions=("Ax T1 BRAVO +C", "+C AX T1 BRAVO", "AX 3D FSPGR POST", "Ax 3D T1 POST GAD"),
            sequence=replace(_BRAVO, gadolinium=1.0),
        ),
        SeriesRole.T2: SeriesHabit(
            descriptions=("Ax T2 FRFSE", "Ax T2 PROPELLER", "AX T2 FSE"),
            image_type=("ORIGINAL", "PRIMARY", "OTHER"),
            scanning_sequence=("SE",),
            sequence_variant=("SK",),
            scan_options=("FAST_GEMS", "FC_SLICE_AX_GEMS", "TRF_GEMS"),
            sequence=replace(_T2, repetition_ms=5200, echo_ms=102, train=21),
            three_dimensional=False,
        ),
        SeriesRole.FLAIR: SeriesHabit(
            descriptions=("Ax T2 FLAIR", "AX FLAIR", "Ax FLAIR PROPELLER"),
            image_type=("ORIGINAL", "PRIMARY", "OTHER"),
            scanning_sequence=("SE", "IR"),
            sequence_variant=("SK",),
            scan_options=("FAST_GEMS", "SAT_GEMS", "TRF_GEMS"),
            sequence=replace(_FLAIR, repetition_ms=9002, echo_ms=95, inversion_ms=2470, train=24),
            three_dimensional=False,
        ),
    },
)

_TFE = replace(_T1, repetition_ms=2500, inversion_ms=920, flip_deg=8, echo_ms=3.7, echo_spacing_ms=8.1, train=170)
_PHILIPS_3D = SeriesHabit(
    descriptions=("sT1W_3D_TFE", "T1W_3D_TFE_SAG", "3D_T1_TFE"),
    image_type=("ORIGINAL", "PRIMARY", "M_FFE", "M", "FFE"),
    scanning_sequence=("GR",),
    sequence_variant=("MP",),
    scan_options=("OTHER",),
    sequence=_TFE,
    three_dimensional=True,
    recorded_tr_ms=8.1,
    # TFE headers leave the inversion time out.
    records_inversion=False,
)
PHILIPS = Vendor(
    name="philips",
    manufacturer="Philips Medical Systems",
    models=("Ingenia", "Achieva dStream", "Ingenia Elition X"),
    software="5.7.1\\5.7.1.2",
    station="PHILIPS-MR3",
    study_descriptions=("IRM cérébrale", "MRI HERSENEN", "Neuro/Tumor"),
    numbering="interleaved",
    number_step=100,
    bits_stored=12,
    signed=False,
    white_level=700,
    slope_range=(0.4, 4.2),
    series={
        SeriesRole.T1: _PHILIPS_3D,
        SeriesRole.T1CE: replace(
            _PHILIPS_3D,
            descriptions=("sT1W_3D_TFE_GADO", "T1W_3D_TFE +C", "3D_T1_TFE_post_Gd"),
            sequence=replace(_TFE, gadolinium=1.0),
            agent="GADOLINIUM",
        ),
        SeriesRole.T2: SeriesHabit(
            descriptions=("T2W_TSE", "T2W_TSE_tra", "T2W_TSE_MV"),
            image_type=("ORIGINAL", "PRIMARY", "M_SE", "M", "SE"),
            scanning_sequence=("SE",),
            sequence_variant=("SK",),
            scan_options=("OTHER",),
            sequence=replace(_T2, repetition_ms=3000, echo_ms=80, train=15),
            three_dimensional=False,
        ),
        SeriesRole.FLAIR: SeriesHabit(
            descriptions=("FLAIR_longTR", "T2W_FLAIR", "T2W_FLAIR_SPIR"),
            image_type=("ORIGINAL", "PRIMARY", "M_IR", "M", "IR"),
            scanning_sequence=("IR",),
            sequence_variant=("SK",),
            scan_options=("OTHER",),
            sequence=replace(_FLAIR, repetition_ms=11000, echo_ms=105, inversion_ms=2700, train=27),
            three_dimensional=False,
        ),
    },
)

VENDORS: dict[VendorName, Vendor] = {"siemens": SIEMENS, "ge": GE, "philips": PHILIPS}


def instance_numbers(numbering: Numbering, slices: int) -> list[int]:
    """The InstanceNumber of each slice k: 1 to `slices`, in the vendor's order."""
    if numbering == "ascending":
        return list(range(1, slices + 1))
    if numbering == "descending":
        return list(range(slices, 0, -1))
    order = [*range(0, slices, 2), *range(1, slices, 2)]
    numbers = [0] * slices
    for number, k in enumerate(order, start=1):
        numbers[k] = number
    return numbers
