"""Signal equations: from a tissue's T1, T2 and proton density to what a pulse sequence shows of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import cos, exp, log, radians, sin

import numpy as np

from dicom_node.phantom.tissues import Relaxation, Tissue, with_gadolinium
from pipeline.volume import FloatArray


@dataclass(frozen=True, kw_only=True)
class PulseSequence:
    """Timing of one sequence. Times in ms, the angle in degrees.

    kind: "mprage", "spgr" (spoiled gradient echo), "se" (spin echo, fast or not), "flair", "dwi" or "swi".
    repetition_ms: between excitations; for "mprage" between inversions, the excitations `echo_spacing_ms` apart.
    b_value: s/mm2. gadolinium: dose after contrast, 0 before.
    """

    kind: str
    repetition_ms: float
    echo_ms: float
    inversion_ms: float | None = None
    flip_deg: float = 90.0
    echo_spacing_ms: float = 7.5
    train: int = 1
    b_value: float | None = None
    gadolinium: float = 0.0


def _mprage(s: PulseSequence, t: Relaxation) -> float:
    # Steady state of inversion, delay, a train of small flips, delay (Deichmann et al., NeuroImage 2000;12:112).
    if s.inversion_ms is None:
        raise ValueError("an MPRAGE needs an inversion time")
    angle = radians(s.flip_deg)
    seen_t1 = 1 / (1 / t.t1_ms - log(cos(angle)) / s.echo_spacing_ms)
    driven = (1 - exp(-s.echo_spacing_ms / t.t1_ms)) / (1 - exp(-s.echo_spacing_ms / seen_t1))
    readout = s.train * s.echo_spacing_ms
    before = s.inversion_ms - readout / 2
    after = s.repetition_ms - before - readout
    e1, e2, e3 = exp(-before / t.t1_ms), exp(-readout / seen_t1), exp(-after / t.t1_ms)
    settled = (1 - e3 + driven * (1 - e2) * e3 + (1 - e1) * e2 * e3) / (1 + e1 * e2 * e3)
    start = 1 - (1 + settled) * e1
    half = exp(-readout / 2 / seen_t1)
    return abs(driven + (start - driven) * half) * sin(angle) * exp(-s.echo_ms / t.t2_ms)


def _spgr(s: PulseSequence, t: Relaxation) -> float:
    angle, e1 = radians(s.flip_deg), exp(-s.repetition_ms / t.t1_ms)
    return sin(angle) * (1 - e1) / (1 - cos(angle) * e1) * exp(-s.echo_ms / t.t2_ms)


def _spin_echo(s: PulseSequence, t: Relaxation) -> float:
    return (1 - exp(-s.repetition_ms / t.t1_ms)) * exp(-s.echo_ms / t.t2_ms)


def _flair(s: PulseSequence, t: Relaxation) -> float:
    if s.inversion_ms is None:
        raise ValueError("a FLAIR needs an inversion time")
    recovered = 1 - 2 * exp(-s.inversion_ms / t.t1_ms) + exp(-(s.repetition_ms - s.echo_ms) / t.t1_ms)
    return abs(recovered) * exp(-s.echo_ms / t.t2_ms)


def _dwi(s: PulseSequence, t: Relaxation) -> float:
    return _spin_echo(s, t) * exp(-(s.b_value or 0.0) * t.adc / 1000)


_EQUATIONS: dict[str, Callable[[PulseSequence, Relaxation], float]] = {
    "mprage": _mprage,
    "spgr": _spgr,
    "se": _spin_echo,
    "flair": _flair,
    "dwi": _dwi,
    "swi": _spgr,
}


def signal(sequence: PulseSequence, tissue: Relaxation) -> float:
    """Signal magnitude of one tissue; the same arbitrary unit for every tissue of one sequence.

    Raises:
        ValueError: an unknown kind of sequence, or an inversion sequence without its inversion time.
    """
    if sequence.kind not in _EQUATIONS:
        raise ValueError(f"no signal equation for '{sequence.kind}': one of {', '.join(_EQUATIONS)}")
    seen = with_gadolinium(tissue, sequence.gadolinium)
    return seen.proton_density * _EQUATIONS[sequence.kind](sequence, seen)


def signal_table(sequence: PulseSequence, tissues: Mapping[Tissue, Relaxation]) -> FloatArray:
    """Signals by tissue number, float32 (number of tissues,), scaled so that white matter of a normal scan is about 1.

    The scale comes from the sequence alone (a reference tissue of T1 1000 ms, T2 90 ms, PD 0.8), so a patient's
    brighter or darker tissue stays brighter or darker, before and after contrast.
    """
    plain = replace(sequence, gadolinium=0.0)
    unit = signal(plain, Relaxation(t1_ms=1000, t2_ms=90, proton_density=0.8, adc=0.75))
    table = np.zeros(len(Tissue), dtype=np.float32)
    for tissue, values in tissues.items():
        table[tissue] = signal(sequence, values) / unit
    if sequence.kind in ("se", "flair", "dwi"):
        # Blood leaves the slice between the pulses of a spin echo: a flow void.
        table[Tissue.BLOOD] *= np.float32(0.15)
    return table
