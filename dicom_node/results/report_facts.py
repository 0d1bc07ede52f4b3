"""What the written report says, in the reader's language, before it has a form: lines, rows and pictures.

The templates of HTML and PDF lay out the same facts, so that the two cannot say different things.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydicom import Dataset
from pydicom.valuerep import PersonName

from dicom_node.results.evidence import HistoryPoint
from dicom_node.results.pictures import Panel, labels_of, three_planes
from dicom_node.results.report_course import prognosis_lines, response_lines, visits, why_no_history
from dicom_node.results.report_words import Words
from pipeline.anatomy import Place
from pipeline.overlay import LABEL_COLOURS
from pipeline.report import Finding, Measurement, Report, Skipped
from pipeline.volume import Volume

#: More lesions than this would not fit the page; the SR has them all.
MOST_LESIONS = 8
_LONG, _SHORT = "longest axial diameter", "perpendicular axial diameter"
_SUBJECTS = ("WT", "TC", "ET", "NCR", "ED")


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """Who and what was examined, and by what. header: a source image, None for an upload without DICOM."""

    header: Dataset | None
    analysed_at: datetime
    software_version: str


@dataclass(frozen=True, kw_only=True, eq=False)
class ReportFacts:
    """What the templates lay out. Texts are plain; the templates escape them.

    no_history: stands in place of the curve where the history makes none.
    """

    words: dict[str, Any]
    identity: tuple[tuple[str, str], ...]
    findings: tuple[str, ...]
    numbers: tuple[tuple[str, str, str, str, str], ...]
    has_intervals: bool
    others: tuple[tuple[str, str], ...]
    lesions: tuple[tuple[str, str, str, str, str], ...]
    more_lesions: str
    models: tuple[str, ...]
    flags: tuple[str, ...]
    pictures: tuple[tuple[str, Panel], ...]
    legend: tuple[tuple[str, tuple[int, int, int]], ...]
    history: tuple[HistoryPoint, ...]
    no_history: str
    response: tuple[str, ...]
    prognosis: tuple[str, ...]
    notice: str


def report_facts(
    report: Report, subject: Subject, volume: Volume | None, history: Sequence[HistoryPoint], words: dict[str, Any]
) -> ReportFacts:
    """The facts of a report. volume: the reference series for the pictures, None for none."""
    say = Words(words)
    numbers = () if isinstance(report.measurements, Skipped) else report.measurements
    panels = () if volume is None else three_planes(report, volume)
    return ReportFacts(
        words=words,
        identity=_identity(report, subject, say),
        findings=tuple(_findings(report, numbers, say)),
        numbers=tuple(_rows(numbers, say)),
        has_intervals=any(m.low is not None for m in numbers),
        others=tuple(_others(numbers, say)),
        lesions=tuple(_lesions(report, say)),
        more_lesions=_more(report, words),
        models=tuple(_models(report, say)),
        flags=tuple(_flags(report, say)),
        pictures=tuple(
            (
                words["picture_caption"].format(
                    plane=words["names"].get(one.plane, one.plane), index=one.index + 1, count=one.count
                ),
                one,
            )
            for one in panels
        ),
        legend=tuple((words["names"].get(label.name, label.name), rgb) for label, rgb in LABEL_COLOURS.items()),
        history=tuple(history) or visits(report),
        no_history=words[why_no_history(report)],
        response=tuple(response_lines(report, say)),
        prognosis=tuple(prognosis_lines(report, say)),
        notice=words["notice"],
    )


def _identity(report: Report, subject: Subject, say: Words) -> tuple[tuple[str, str], ...]:
    words, header = say.words, subject.header if subject.header is not None else Dataset()
    lines = [
        ("patient", person_text(header.get("PatientName"))),
        ("patient_id", str(header.get("PatientID") or "")),
        ("birth_date", say.date(str(header.get("PatientBirthDate") or ""))),
        ("sex", str(header.get("PatientSex") or "")),
        ("study_date", say.date(str(header.get("StudyDate") or ""))),
        ("study", str(header.get("StudyDescription") or "")),
        ("accession", str(header.get("AccessionNumber") or "")),
        ("analysed", subject.analysed_at.strftime(f"{words['date']} %H:%M")),
        ("software", f"brain-tumor-node {subject.software_version}"),
        ("series_read", ", ".join(role.value for role in report.roles)),
    ]
    return tuple((str(words[key]), text.strip() or str(words["unknown"])) for key, text in lines)


def person_text(name: object) -> str:
    """A Person Name for people: family and given name, and the name in its own script where there is one."""
    parts = PersonName(name) if isinstance(name, str) else name
    if not isinstance(parts, PersonName):
        return ""
    shown = ", ".join(part for part in (parts.family_name, parts.given_name) if part)
    own = " ".join(part for part in str(parts.ideographic or "").split("^") if part)
    return f"{shown} ({own})" if shown and own else shown or own


def _findings(report: Report, numbers: Sequence[Measurement], say: Words) -> list[str]:
    words, told = say.words, []
    if isinstance(report.detection, Finding):
        found = report.detection
        key = "tumor_found" if found.value == "tumour" else "no_tumor"
        told.append(words[key].format(percent=say.percent(found.probability), role=found.role.value))
    if isinstance(report.tumour_type, Finding):
        kind = report.tumour_type
        told.append(
            words["type_found"].format(type=say.name("types", kind.value), percent=say.percent(kind.probability))
        )
        listed = [f"{say.name('types', n)} {say.percent(p)} %" for n, p in kind.probabilities.items()]
        told.append(words["type_list"].format(list=", ".join(listed)))
    total = {m.subject: m.value for m in numbers if m.lesion is None and m.quantity == "volume"}
    if labels_of(report) is not None and "WT" in total:
        told.append(words["volume_found"].format(wt=say.number(total["WT"]), et=say.number(total.get("ET", 0.0))))
        told.append(words["lesions_found"].format(count=len(report.lesions)))
        told += _diameters(report, say)
    elif not isinstance(report.segmentation, Skipped) and labels_of(report) is None:
        told.append(words["nothing_segmented"])
    told += [
        words["not_run"].format(
            stage=say.name("stages", s.stage.value), reason=words["skips"].get(s.code.value, s.reason)
        )
        for s in report.skipped
    ]
    return told


def _diameters(report: Report, say: Words) -> list[str]:
    drawn = [lesion for lesion in report.lesions if lesion.longest is not None]
    if not drawn:
        return []
    largest = max(drawn, key=lambda lesion: lesion.longest.length_mm if lesion.longest else 0.0)
    short = largest.perpendicular
    key = "diameter_alone" if short is None else "diameter_found"
    long_mm = None if largest.longest is None else largest.longest.length_mm
    short_mm = None if short is None else short.length_mm
    return [say.words[key].format(long=say.number(long_mm), short=say.number(short_mm), lesion=largest.number)]


def _rows(numbers: Sequence[Measurement], say: Words) -> list[tuple[str, str, str, str, str]]:
    """Part, volume, interval, longest and perpendicular diameter, of all lesions together."""
    totals = {(m.subject, m.quantity): m for m in numbers if m.lesion is None}
    subjects = [s for s in _SUBJECTS if any((s, q) in totals for q in ("volume", _LONG, _SHORT))]
    rows = []
    for subject in subjects:
        volume = totals.get((subject, "volume"))
        interval = "–"
        if volume is not None and volume.low is not None:
            interval = f"{say.number(volume.low)} – {say.number(volume.high)} mL"
        across = (totals.get((subject, quantity)) for quantity in (_LONG, _SHORT))
        long, short = ("–" if m is None else f"{say.number(m.value)} mm" for m in across)
        told = "–" if volume is None else f"{say.number(volume.value, 2)} mL"
        rows.append((f"{say.name('names', subject)} ({subject})", told, interval, long, short))
    return rows


def _others(numbers: Sequence[Measurement], say: Words) -> list[tuple[str, str]]:
    """Whatever else was measured of all lesions together, by its own name."""
    return [
        (f"{say.name('quantities', m.quantity)}, {say.name('names', m.subject)}", say.quantity(m.value, m.unit))
        for m in numbers
        if m.lesion is None and (m.quantity not in ("volume", _LONG, _SHORT) or m.subject not in _SUBJECTS)
    ]


def _lesions(report: Report, say: Words) -> list[tuple[str, str, str, str, str]]:
    rows = []
    for lesion in report.lesions[:MOST_LESIONS]:
        lines = (lesion.longest, lesion.perpendicular)
        long, short = ("–" if line is None else f"{say.number(line.length_mm)} mm" for line in lines)
        place = "–" if lesion.place is None else _place(lesion.place, say)
        rows.append((str(lesion.number), f"{say.number(lesion.volume_ml, 2)} mL", long, short, place))
    return rows


def _place(place: Place, say: Words) -> str:
    side = say.name("sides", place.side.value)
    return f"{say.name('regions', place.region.value)}, {side} ({say.percent(place.region_sureness)} %)"


def _more(report: Report, words: dict[str, Any]) -> str:
    more = len(report.lesions) - MOST_LESIONS
    return str(words["more_lesions"]).format(count=more) if more > 0 else ""


def _models(report: Report, say: Words) -> list[str]:
    lines = [
        say.words["model_line"].format(
            task=say.name("tasks", model.task), name=model.name, version=model.version, hash=model.weights_sha256[:12]
        )
        for model in report.models
    ]
    return list(dict.fromkeys(lines))


def _flags(report: Report, say: Words) -> list[str]:
    told = [say.words["flags"].get(flag.code, flag.text) for flag in report.flags]
    told += [
        say.words["registration"].format(
            role=one.role.value,
            reference=report.reference_role.value,
            mm=say.number(one.translation_mm),
            degrees=say.number(one.rotation_deg),
            overlap=say.number(one.overlap, 2),
        )
        for one in report.registrations
    ]
    return told
