"""Who the phantom claims to be. Every name says that it is one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PhantomPatient:
    """birth_date: YYYYMMDD. charset: values of (0008,0005), to which `name` must be encodable."""

    patient_id: str
    name: str = "PHANTOM^NODE"
    birth_date: str = "19600101"
    sex: str = "O"
    charset: tuple[str, ...] = ("ISO_IR 100",)


def plain_patient(seed: int) -> PhantomPatient:
    """The patient a study of this seed belongs to unless another is given."""
    return PhantomPatient(patient_id=f"PHANTOM-{seed:05d}", sex="F" if seed % 2 else "M")


def accented_patient(seed: int) -> PhantomPatient:
    """A name in Latin-1."""
    return PhantomPatient(patient_id=f"PHANTOM-{seed:05d}", name="PHANTÔME^NÖDE^ÉLÉONORE", charset=("ISO_IR 100",))


def japanese_patient(seed: int) -> PhantomPatient:
    """A name in three groups (romanised, ideographic, phonetic) with ISO 2022 escapes, as PS3.5 annex H writes it."""
    return PhantomPatient(
        patient_id=f"PHANTOM-{seed:05d}",
        name="PHANTOM^NODE=模型^頭部=もけい^とうぶ",
        charset=("", "ISO 2022 IR 87"),
    )
