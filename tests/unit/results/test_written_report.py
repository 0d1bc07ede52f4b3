"""The report for people: both languages, any name, nothing cut, the tumour where it is, and the objects made of it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset, dcmread

from dicom_node.follow_up_notes import FAILED, NO_EARLIER
from dicom_node.results.encoders import encode_all
from dicom_node.results.evidence import HistoryPoint
from dicom_node.results.report_facts import report_facts
from dicom_node.results.report_language import LanguageUnusable, load_language
from dicom_node.results.report_templates import TemplateUnusable, fill
from dicom_node.results.stamp import EncodingOptions
from dicom_node.results.written_report import WrittenReport, subject_of, write_report
from pipeline import measured, measurements
from pipeline.followup import FollowUp, Visit
from pipeline.longitudinal.response import PRODUCTS, VOLUMES
from pipeline.overlay import LABEL_COLOURS
from pipeline.report import Flag, Label, Measurement, Segmentation, SkipCode, Skipped, Stage
from pipeline.survival import NO_MODEL, Prognosis
from tests.phantom_results import STAMP, Case, phantom_case

HISTORY = tuple(
    HistoryPoint(study_date=date, volumes_ml={"WT": wt, "ET": et})
    for date, wt, et in (("20250102", 20.0, 5.0), ("20250402", 33.0, 9.5), ("20260102", 45.5, 14.0))
)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return phantom_case(tmp_path_factory.mktemp("study"), 3)


def written(case: Case, language: str = "en", header: Dataset | None = None, **options: object) -> WrittenReport:
    chosen = EncodingOptions(language=language, **options)  # type: ignore[arg-type]
    subject = subject_of(case.evidence.reference.first if header is None else header, STAMP)
    flags = (Flag(code="low-coverage", text="The series covers 90 % of the head."),)
    return write_report(replace(case.report, flags=flags), subject, case.evidence.volume, HISTORY, chosen)


def words_of(pdf: bytes, tool: str, folder: Path) -> list[tuple[int, str, tuple[float, ...], tuple[float, float]]]:
    """Each word of the PDF: page, text, box, and the page's size, by poppler."""
    (folder / "report.pdf").write_bytes(pdf)
    told = subprocess.run(
        [tool, "-bbox", folder / "report.pdf", "-"], check=True, capture_output=True, text=True
    ).stdout
    found, page, size = [], 0, (0.0, 0.0)
    for line in told.splitlines():
        if sides := re.search(r'<page width="([\d.]+)" height="([\d.]+)"', line):
            page, size = page + 1, (float(sides[1]), float(sides[2]))
        elif word := re.search(
            r'<word xMin="([-\d.]+)" yMin="([-\d.]+)" xMax="([-\d.]+)" yMax="([-\d.]+)">(.*)</word>', line
        ):
            found.append((page, word[5], tuple(float(word[n]) for n in (1, 2, 3, 4)), size))
    return found


@pytest.mark.parametrize(("language", "said"), [("en", "Measurements"), ("de", "Messwerte")])
def test_two_pages_with_every_word_inside_them(
    case: Case, language: str, said: str, tmp_path: Path, debian_tool: Callable[[str], str]
) -> None:
    words = words_of(written(case, language).pdf, debian_tool("pdftotext"), tmp_path)
    assert {page for page, *_ in words} == {1, 2}
    assert said in {text for _, text, *_ in words}
    for _, text, (left, top, right, bottom), (width, height) in words:
        assert 30 <= left <= right <= width - 30, text
        assert 20 <= top <= bottom <= height - 20, text


def test_a_page_that_is_too_full_is_set_smaller_and_not_cut(
    case: Case, tmp_path: Path, debian_tool: Callable[[str], str]
) -> None:
    flags = tuple(Flag(code=f"f{n}", text=f"Flag number{n} " + 30 * "about something long ") for n in range(30))
    report = replace(case.report, flags=flags)
    made = write_report(report, subject_of(case.evidence.reference.first, STAMP), case.evidence.volume)
    words = words_of(made.pdf, debian_tool("pdftotext"), tmp_path)
    assert {page for page, *_ in words} == {1, 2}
    assert {f"number{n}" for n in range(30)} <= {text for _, text, *_ in words}
    assert all(box[3] <= size[1] - 20 for _, _, box, size in words)


def test_the_picture_in_the_pdf_is_coloured_where_the_tumour_is(
    case: Case, tmp_path: Path, debian_tool: Callable[[str], str]
) -> None:
    """Each label's colour stands on page one in about the share that it has in the three slices shown."""
    (tmp_path / "r.pdf").write_bytes(written(case).pdf)
    subprocess.run(
        [debian_tool("pdftoppm"), "-r", "72", "-png", "-l", "1", tmp_path / "r.pdf", tmp_path / "p"], check=True
    )
    (page,) = tmp_path.glob("p*.png")
    pixels = np.asarray(Image.open(page).convert("RGB")).astype(int)
    panels = [picture.pixels.astype(int) for _, picture in _pictures(case)]
    scale = (pixels.shape[1] * (595 - 85 - 17) / 595 / 3 / panels[0].shape[1]) ** 2

    def red(rgb: np.ndarray) -> int:
        return int(((rgb[..., 0] - rgb[..., 1] > 60) & (rgb[..., 0] - rgb[..., 2] > 60)).sum())

    shown, expected = red(pixels), sum(red(panel) for panel in panels) * scale
    assert LABEL_COLOURS[Label.ET] == (255, 60, 60)
    assert expected > 20
    assert shown == pytest.approx(expected, rel=0.35)


def _pictures(case: Case) -> list[tuple[str, object]]:
    subject = subject_of(None, STAMP)
    facts = report_facts(case.report, subject, case.evidence.volume, (), load_language(EncodingOptions()))
    return list(facts.pictures)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "山田 太郎"),
        ("Hong^Gildong=洪^吉洞=홍^길동", "洪 吉洞"),
        ("Люкceмбypг^Анна", "Люкceмбypг"),
        ("Παπαδόπουλος^Γιώργος", "Παπαδόπουλος"),
        ("قباني^لنزار", "قباني"),
        ("Müller^<b>&Co", "Müller"),
        ("Yamada^Tarou=\x1b$B;3ED\x1b(B", "Yamada, Tarou"),  # escape codes of a character set that is not declared
        ("Young\x0c\x00\ud800", "Young"),
        ("", "not stated"),
    ],
)
def test_any_name_is_written(
    case: Case, name: str, shown: str, tmp_path: Path, debian_tool: Callable[[str], str]
) -> None:
    header = Dataset()
    header.SpecificCharacterSet, header.PatientName, header.PatientID = "ISO_IR 192", name, "7"
    made = written(case, header=header)
    assert shown in made.html
    assert "<b>&Co" not in made.html
    assert words_of(made.pdf, debian_tool("pdftotext"), tmp_path)


def test_the_same_run_gives_the_same_bytes_and_another_language_another_object(case: Case) -> None:
    assert written(case) == written(case)
    english, german = (
        encode_all(case.report, case.evidence, replace(STAMP, options=EncodingOptions(language=one)), ["PDF"])[0]
        for one in ("en", "de")
    )
    assert english.sop_instance_uid != german.sop_instance_uid
    data = dcmread(BytesIO(german.to_bytes()))
    pdf = bytes(data.EncapsulatedDocument)[: data.EncapsulatedDocumentLength]
    assert pdf.startswith(b"%PDF-")
    assert pdf.rstrip().endswith(b"%%EOF")
    assert len(data.SourceInstanceSequence) == len(case.evidence.reference.datasets)


def test_a_hospitals_own_templates_and_language_go_first(case: Case, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("<p>{{ w.title }} | {{ f.findings[0] }}</p>")
    (tmp_path / "fr.yaml").write_text("title: Analyse de tumeur\n")
    made = written(case, "fr", templates=tmp_path)
    assert made.html.startswith("<p>Analyse de tumeur | A tumor is suggested by the images (probability 97 %")
    (tmp_path / "report.html").write_text("{{ w.titel }}")
    with pytest.raises(TemplateUnusable, match=r"report\.html"):
        written(case, "fr", templates=tmp_path)
    with pytest.raises(LanguageUnusable, match=r"no xx\.yaml"):
        written(case, "xx")
    other = tmp_path / "other"
    other.mkdir()
    (other / "report.xml").write_text("<report><page><blink>x</blink></page></report>")
    with pytest.raises(TemplateUnusable, match="<blink> is none of"):
        written(case, templates=other)


def test_what_was_segmented_and_could_not_be_measured_is_not_called_clear(case: Case) -> None:
    failed = Skipped(stage=Stage.MEASURE, code=SkipCode.STAGE_FAILED, reason="MemoryError: no room")
    subject, volume = subject_of(case.evidence.reference.first, STAMP), case.evidence.volume
    labels = case.report.segmentation
    assert isinstance(labels, Segmentation)
    unmeasured = replace(case.report, measurements=failed, lesions=(), bidimensional=())
    assert "No voxel was marked" not in write_report(unmeasured, subject, volume).html
    clear = replace(unmeasured, segmentation=replace(labels, labels=np.zeros_like(labels.labels)))
    assert "No voxel was marked" in write_report(clear, subject, volume).html


def test_languages_have_the_same_words() -> None:
    english, german = (load_language(EncodingOptions(language=one)) for one in ("en", "de"))
    assert set(english) == set(german)
    assert len(english["limit_list"]) == len(german["limit_list"])


def test_the_key_images_are_the_slices_of_the_longest_diameters(case: Case) -> None:
    (made,) = encode_all(case.report, case.evidence, STAMP, ["KO"])
    references = {
        str(item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID)
        for item in made.dataset.ContentSequence
        if "ReferencedSOPSequence" in item
    }
    reference = case.evidence.reference
    largest = case.report.lesions[0].longest
    assert largest is not None
    k = round(float((np.linalg.inv(reference.grid.affine) @ (*largest.start_mm, 1.0))[2]))
    assert reference.slices[k].sop_instance_uid in references


def test_the_capture_is_marked_for_research_and_coloured(case: Case) -> None:
    (made,) = encode_all(case.report, case.evidence, STAMP, ["SC"])
    pixels = made.dataset.pixel_array.astype(int)
    assert "Research use only" in made.dataset.ImageComments
    assert ((pixels[..., 0] - pixels[..., 1]) > 60).sum() > 100
    assert made.dataset.ImageType[2] == "MONTAGE"


def test_what_is_measured_and_suggested_has_german_names_and_a_count_is_a_whole_number(case: Case) -> None:
    words = load_language(EncodingOptions(language="de"))
    quantities = {
        value
        for module in (measured, measurements)
        for name, value in vars(module).items()
        if name.isupper() and not name.startswith("_") and isinstance(value, str)
    }
    assert {"volume", "number of lesions"} <= quantities <= words["quantities"].keys()
    assert {PRODUCTS.method, VOLUMES.method} <= words["methods"].keys()
    count = Measurement(quantity=measured.LESION_COUNT, subject="WT", value=2.0, unit="1")
    assert isinstance(case.report.measurements, tuple)
    report = replace(case.report, measurements=(*case.report.measurements, count), prognosis=Prognosis(reason=NO_MODEL))
    asked = replace(case, report=report)
    html = " ".join(re.sub("<[^>]+>", " ", written(asked, "de").html).split())
    assert "Zahl der Herde, Gesamter Tumor 2 " in html
    assert "Keine: kein Modell installiert." in html
    assert "None: no model installed." in written(asked).html


VISIT = Visit(key="r1", study_uid="1.2", day=date(2026, 3, 4), volumes_ml={"WT": 1.0})
FAILED_FLAG = Flag(code=FAILED, text="The earlier studies of this patient could not be compared: OSError.")


@pytest.mark.parametrize(
    ("follow_up", "flags", "key"),
    [
        (FollowUp(visits=(VISIT,), note=NO_EARLIER), (), "no_history"),
        (None, (), "not_compared"),  # switched off, an upload, or a study without a date
        (None, (FAILED_FLAG,), "not_comparable"),
        (FollowUp(visits=(VISIT,), note="not compared: the study has no Patient ID"), (), "not_compared"),
        (
            FollowUp(visits=(VISIT,), note="not compared: the study of 2025-01-02 cannot be laid on this one"),
            (),
            "not_compared",
        ),
    ],
)
@pytest.mark.parametrize("language", ["en", "de"])
def test_no_earlier_analysis_is_said_to_be_known_only_where_it_was_looked_for(
    case: Case, follow_up: FollowUp | None, flags: tuple[Flag, ...], key: str, language: str
) -> None:
    options = EncodingOptions(language=language)
    words = load_language(options)
    report = replace(case.report, follow_up=follow_up, flags=flags)
    facts = report_facts(report, subject_of(None, STAMP), None, (), words)
    for name in ("report.html", "report.xml"):
        made = fill(name, facts, options)
        told = {one for one in ("no_history", "not_compared", "not_comparable") if words[one] in made}
        assert told == {key}, name
