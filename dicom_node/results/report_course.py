"""What the written report says of the patient over time: visits, suggested categories, and survival where asked."""

from __future__ import annotations

from dicom_node.follow_up_notes import FAILED, NO_EARLIER
from dicom_node.results.evidence import HistoryPoint
from dicom_node.results.report_words import Words
from pipeline.report import Report


def visits(report: Report) -> tuple[HistoryPoint, ...]:
    """The volumes of the patient's visits, oldest first; none where the report has no follow-up."""
    followed = report.follow_up
    if followed is None:
        return ()
    return tuple(HistoryPoint(study_date=f"{v.day:%Y%m%d}", volumes_ml=v.volumes_ml) for v in followed.visits)


def why_no_history(report: Report) -> str:
    """The key of what is true where no curve is drawn; that no earlier analysis is known only where it was looked."""
    if report.follow_up is not None and report.follow_up.note == NO_EARLIER:
        return "no_history"
    return "not_comparable" if any(flag.code == FAILED for flag in report.flags) else "not_compared"


def response_lines(report: Report, say: Words) -> list[str]:
    """The suggested categories with their arithmetic; what they leave open stands with them."""
    followed = report.follow_up
    if followed is None:
        return []
    told = [followed.note] if followed.note else []
    for one in (followed.diameters, followed.volume):
        if one is not None:
            told.append(
                say.words["response"].format(method=say.name("methods", one.method), category=one.category.value)
                + " "
                + " ".join(one.arithmetic)
            )
    notices = {one.notice for one in (followed.diameters, followed.volume) if one is not None}
    return [*told, *sorted(notices)]


def prognosis_lines(report: Report, say: Words) -> list[str]:
    """What was asked of survival and what came of it, always with its warning; nothing where nobody asked."""
    asked = report.prognosis
    if asked is None:
        return []
    if asked.survival is None:
        return [say.words["no_survival"].format(reason=say.name("no_survival_reasons", asked.reason))]
    told = say.words["survival"].format(
        median=say.number(asked.survival.median_months),
        low=say.number(asked.survival.low_months),
        high=say.number(asked.survival.high_months),
        coverage=say.percent(asked.survival.coverage),
        name=asked.model_name,
        version=asked.model_version,
    )
    return [told, asked.warning]
