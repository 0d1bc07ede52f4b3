"""How old a patient was, by the dates in the headers, and whether a child: the models were trained on grown-ups."""

from __future__ import annotations

from datetime import date, datetime

from pipeline.report import Flag

ADULT_YEARS = 18


def age_years(birth_date: str, study_date: str) -> int | None:
    """Whole years on the day of the study; None where a date (DA) is missing, no date, or contradicts the other."""
    born, studied = _date(birth_date), _date(study_date)
    if born is None or studied is None or not born <= studied:
        return None
    return studied.year - born.year - ((studied.month, studied.day) < (born.month, born.day))


def age_flags(birth_date: str, study_date: str) -> tuple[Flag, ...]:
    """A flag where the patient was under 18 on the day of the study; none where a date (DA) is missing or no date.

    The text tells neither date nor age.
    """
    years = age_years(birth_date, study_date)
    if years is None or years >= ADULT_YEARS:
        return ()
    text = f"The patient was under {ADULT_YEARS} at the time of the study; the models were trained on grown-ups."
    return (Flag(code="patient-child", text=text),)


def _date(text: str) -> date | None:
    try:
        return datetime.strptime(text.strip(), "%Y%m%d").date()
    except ValueError:
        return None
