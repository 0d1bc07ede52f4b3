"""What each tissue is to a 3 T scanner: T1, T2 and proton density.

T1, T2: Stanisz et al., Magn Reson Med 2005;54:507 and Wansapura et al., J Magn Reson Imaging 1999;9:531 for grey and
white matter, muscle and blood; de Bazelaire et al., Radiology 2004;230:652 for fat and marrow; tumour and oedema within
the ranges of Badve et al., Am J Neuroradiol 2017;38:492. Proton density relative to water: Tofts, Quantitative MRI of
the Brain, 2003. Bone, mucosa and vitreous are rounded guesses: nothing is measured on them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np

from dicom_node.phantom.fields import generator


class Tissue(IntEnum):
    """Every material of the phantom; the number is its index in a table of signals."""

    AIR = 0
    FAT = 1
    MUSCLE = 2
    BONE = 3
    MARROW = 4
    VITREOUS = 5
    CSF = 6
    GREY = 7
    WHITE = 8
    DEEP_GREY = 9
    BLOOD = 10
    OEDEMA = 11
    ENHANCING = 12
    NECROSIS = 13
    MUCOSA = 14


@dataclass(frozen=True, kw_only=True)
class Relaxation:
    """t1_ms, t2_ms, proton_density (water 1), adc in 1e-3 mm2/s, uptake of gadolinium in mmol/L at imaging time."""

    t1_ms: float
    t2_ms: float
    proton_density: float
    adc: float = 0.8
    uptake_mmol: float = 0.0


RELAXATION: dict[Tissue, Relaxation] = {
    Tissue.AIR: Relaxation(t1_ms=1000, t2_ms=1, proton_density=0),
    Tissue.FAT: Relaxation(t1_ms=380, t2_ms=110, proton_density=0.85, adc=0.1, uptake_mmol=0.03),
    Tissue.MUSCLE: Relaxation(t1_ms=1412, t2_ms=45, proton_density=0.78, adc=1.2, uptake_mmol=0.1),
    Tissue.BONE: Relaxation(t1_ms=400, t2_ms=1.5, proton_density=0.15, adc=0.1),
    Tissue.MARROW: Relaxation(t1_ms=500, t2_ms=55, proton_density=0.45, adc=0.4, uptake_mmol=0.05),
    Tissue.VITREOUS: Relaxation(t1_ms=4200, t2_ms=1500, proton_density=1.0, adc=2.9),
    Tissue.CSF: Relaxation(t1_ms=4200, t2_ms=1800, proton_density=1.0, adc=3.0),
    Tissue.GREY: Relaxation(t1_ms=1400, t2_ms=99, proton_density=0.82, adc=0.85, uptake_mmol=0.02),
    Tissue.WHITE: Relaxation(t1_ms=880, t2_ms=70, proton_density=0.70, adc=0.72, uptake_mmol=0.01),
    Tissue.DEEP_GREY: Relaxation(t1_ms=1220, t2_ms=80, proton_density=0.79, adc=0.78, uptake_mmol=0.02),
    Tissue.BLOOD: Relaxation(t1_ms=1700, t2_ms=60, proton_density=0.80, adc=1.5, uptake_mmol=0.45),
    Tissue.OEDEMA: Relaxation(t1_ms=1600, t2_ms=185, proton_density=0.80, adc=1.45, uptake_mmol=0.01),
    Tissue.ENHANCING: Relaxation(t1_ms=1600, t2_ms=150, proton_density=0.80, adc=1.05, uptake_mmol=0.25),
    Tissue.NECROSIS: Relaxation(t1_ms=2600, t2_ms=330, proton_density=0.95, adc=1.9, uptake_mmol=0.02),
    Tissue.MUCOSA: Relaxation(t1_ms=1500, t2_ms=110, proton_density=0.85, adc=1.6, uptake_mmol=0.2),
}

#: Gadobutrol in plasma at 3 T, L/(mmol s): r1 and r2 (Rohrer et al., Invest Radiol 2005;40:715).
R1_PER_MMOL_S = 5.0
R2_PER_MMOL_S = 7.1


def with_gadolinium(tissue: Relaxation, dose: float = 1.0) -> Relaxation:
    """The tissue after contrast; `dose` scales the uptake. Relaxation rates add: 1/T = 1/T0 + r C."""
    concentration = tissue.uptake_mmol * dose
    return replace(
        tissue,
        t1_ms=1000 / (1000 / tissue.t1_ms + R1_PER_MMOL_S * concentration),
        t2_ms=1000 / (1000 / tissue.t2_ms + R2_PER_MMOL_S * concentration),
    )


def patient_tissues(seed: int, spread: float = 0.04) -> dict[Tissue, Relaxation]:
    """One patient's tissues: literature values, each T1 and T2 scaled by a log-normal factor of sd `spread`.

    Tumour tissues vary more from patient to patient, and their uptake by a factor of 0.6 to 1.5.
    """
    rng = generator(seed, "tissues")
    found: dict[Tissue, Relaxation] = {}
    for tissue, values in RELAXATION.items():
        tumour = tissue in (Tissue.OEDEMA, Tissue.ENHANCING, Tissue.NECROSIS)
        # A tumour's T1 stays above that of white matter in every patient: it is never bright before contrast.
        t1, t2 = np.exp(np.clip(rng.standard_normal(2), -2, 2) * spread * (1.5 if tumour else 1))
        uptake = float(rng.uniform(0.6, 1.5)) if tissue is Tissue.ENHANCING else 1.0
        found[tissue] = replace(
            values,
            t1_ms=values.t1_ms * float(t1),
            t2_ms=values.t2_ms * float(t2),
            uptake_mmol=values.uptake_mmol * uptake,
        )
    return found
