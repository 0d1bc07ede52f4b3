from __future__ import annotations

import pytest

from dicom_node.phantom.acquisition import SEQUENCES
from dicom_node.phantom.contrast import PulseSequence, signal, signal_table
from dicom_node.phantom.tissues import RELAXATION, Relaxation, Tissue, patient_tissues, with_gadolinium
from dicom_node.phantom.vendors import VENDORS, instance_numbers
from pipeline.volume import SeriesRole


@pytest.mark.parametrize("vendor", VENDORS)
def test_each_contrast_orders_the_tissues_as_a_radiologist_knows_them(vendor: str) -> None:
    series = VENDORS[vendor].series
    t1, t1ce, t2, flair = (signal_table(series[role].sequence, RELAXATION) for role in SeriesRole)
    assert t1[Tissue.CSF] < t1[Tissue.GREY] < t1[Tissue.WHITE] < t1[Tissue.FAT]
    assert t2[Tissue.WHITE] < t2[Tissue.GREY] < t2[Tissue.OEDEMA] < t2[Tissue.CSF]
    assert flair[Tissue.CSF] < 0.4 * flair[Tissue.WHITE] < flair[Tissue.GREY] < flair[Tissue.OEDEMA]
    assert t1ce[Tissue.ENHANCING] > 1.4 * t1ce[Tissue.WHITE]
    assert t1[Tissue.ENHANCING] < t1[Tissue.WHITE]
    assert t1ce[Tissue.WHITE] == pytest.approx(t1[Tissue.WHITE], rel=0.1)
    assert t1ce[Tissue.BLOOD] > 1.5 * t1[Tissue.BLOOD]


@pytest.mark.parametrize("seed", range(20))
def test_no_patient_enhances_before_contrast_or_loses_oedema_on_flair(seed: int) -> None:
    tissues = patient_tissues(seed)
    t1, t1ce, _, flair = (signal_table(SEQUENCES[role], tissues) for role in SeriesRole)
    assert t1[Tissue.ENHANCING] < t1[Tissue.WHITE] < t1ce[Tissue.ENHANCING]
    assert t1[Tissue.OEDEMA] < t1[Tissue.WHITE]
    assert flair[Tissue.OEDEMA] > 1.1 * flair[Tissue.GREY]


def test_gadolinium_adds_rates() -> None:
    tissue = Relaxation(t1_ms=1000, t2_ms=100, proton_density=1, uptake_mmol=0.2)
    after = with_gadolinium(tissue)
    assert after.t1_ms == pytest.approx(500)  # 1/s + 5 L/(mmol s) x 0.2 mmol/L = 2/s
    assert after.t2_ms == pytest.approx(1000 / 11.42)
    assert with_gadolinium(tissue, 0) == tissue


def test_spin_echo_is_the_textbook_formula() -> None:
    water = Relaxation(t1_ms=1000, t2_ms=100, proton_density=1)
    got = signal(PulseSequence(kind="se", repetition_ms=1000, echo_ms=100), water)
    assert got == pytest.approx((1 - 0.36788) * 0.36788, rel=1e-4)


def test_an_unknown_sequence_is_named() -> None:
    water = Relaxation(t1_ms=1000, t2_ms=100, proton_density=1)
    with pytest.raises(ValueError, match="no signal equation for 'fiesta'"):
        signal(PulseSequence(kind="fiesta", repetition_ms=5, echo_ms=2), water)
    with pytest.raises(ValueError, match="inversion time"):
        signal(PulseSequence(kind="flair", repetition_ms=9000, echo_ms=90), water)


@pytest.mark.parametrize(
    ("numbering", "expected"),
    [("ascending", [1, 2, 3, 4, 5]), ("descending", [5, 4, 3, 2, 1]), ("interleaved", [1, 4, 2, 5, 3])],
)
def test_instance_numbers(numbering: str, expected: list[int]) -> None:
    assert instance_numbers(numbering, 5) == expected  # type: ignore[arg-type]
