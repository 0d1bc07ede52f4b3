"""The report as a PDF: two pages, fonts embedded, the same bytes whenever it is made from the same facts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from io import BytesIO
from types import MappingProxyType
from typing import Any
from xml.etree import ElementTree

from pydicom.valuerep import DA
from reportlab import rl_config
from reportlab.graphics.shapes import Circle, Drawing, Line, PolyLine, Rect, String
from reportlab.lib.colors import Color, HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Frame, Image, KeepInFrame, Paragraph, Spacer, Table, TableStyle

from dicom_node.results.report_curve import COLOURS, curve
from dicom_node.results.report_facts import ReportFacts
from dicom_node.results.report_fonts import BOLD, PLAIN, markup, style
from dicom_node.results.report_templates import TemplateUnusable, fill
from dicom_node.results.stamp import EncodingOptions

# Binary streams: reportlab's text form of them is a fifth larger and slower to make than the rest of the document.
rl_config.useA85 = 0

_MARGIN = 15 * mm
_WIDTH, _HEIGHT = A4[0] - 2 * _MARGIN, A4[1] - 2 * _MARGIN - 8 * mm
_LINE, _SOFT = HexColor("#d5dbe1"), HexColor("#5a6572")

_Flowables = list[Any]


def report_pdf(facts: ReportFacts, options: EncodingOptions) -> bytes:
    """The PDF. A page that holds too much is set smaller as a whole, so that nothing is cut.

    Raises:
        TemplateUnusable: a template of one's own is no XML, or has an element that is not known.
    """
    try:
        pages = ElementTree.fromstring(fill("report.xml", facts, options).strip())
    except ElementTree.ParseError as error:
        raise TemplateUnusable(f"report template report.xml gives no XML: {error}; see results.templates") from None
    file = BytesIO()
    # invariant: no clock and no random identifier in the file.
    style("p")  # registers the fonts
    canvas = Canvas(file, pagesize=A4, invariant=1, lang=options.language, initialFontName=PLAIN)
    canvas.setTitle(facts.words["title"])
    canvas.setAuthor("brain-tumor-node")
    for number, page in enumerate(pages, 1):
        flowables = [made for element in page for made in _made(element, facts)]
        frame = Frame(_MARGIN, _MARGIN + 8 * mm, _WIDTH, _HEIGHT, 0, 0, 0, 0)
        frame.addFromList([KeepInFrame(_WIDTH, _HEIGHT, flowables, mode="shrink")], canvas)
        _foot(canvas, facts, number, len(pages))
        canvas.showPage()
    canvas.save()
    return file.getvalue()


def _foot(canvas: Canvas, facts: ReportFacts, number: int, pages: int) -> None:
    canvas.setStrokeColor(_LINE)
    canvas.line(_MARGIN, _MARGIN + 5 * mm, A4[0] - _MARGIN, _MARGIN + 5 * mm)
    canvas.setFillColor(_SOFT)
    canvas.setFont(BOLD, 7.5)
    canvas.drawString(_MARGIN, _MARGIN, facts.words["research_use"])
    canvas.setFont(PLAIN, 7.5)
    canvas.drawRightString(A4[0] - _MARGIN, _MARGIN, facts.words["page"].format(page=number, pages=pages))


def _made(element: ElementTree.Element, facts: ReportFacts) -> _Flowables:
    maker = _MAKERS.get(element.tag)
    if maker is None:
        known = ", ".join(_MAKERS)
        raise TemplateUnusable(f"report template report.xml: <{element.tag}> is none of {known}; see results.templates")
    return maker(element, facts)


def _text(name: str) -> Callable[[ElementTree.Element, ReportFacts], _Flowables]:
    return lambda element, facts: [Paragraph(markup(_words(element)), style(name))]


def _words(element: ElementTree.Element) -> str:
    return " ".join("".join(element.itertext()).split())


def _list(element: ElementTree.Element, facts: ReportFacts) -> _Flowables:
    return [Paragraph(markup(_words(item)), style("li"), bulletText="•") for item in element]


def _table(element: ElementTree.Element, facts: ReportFacts) -> _Flowables:
    shares = [float(share) for share in element.get("widths", "").split()]
    rows = [
        [Paragraph(markup(_words(cell)), style("head" if n == 0 else "cell")) for cell in row]
        for n, row in enumerate(element)
    ]
    rules = [("LINEBELOW", (0, 0), (-1, -1), 0.5, _LINE), ("VALIGN", (0, 0), (-1, -1), "TOP")]
    rules += [("LEFTPADDING", (0, 0), (-1, -1), 0), ("TOPPADDING", (0, 0), (-1, -1), 1.5)]
    rules += [("BOTTOMPADDING", (0, 0), (-1, -1), 2.5)]
    return [Table(rows, colWidths=[_WIDTH * share / sum(shares) for share in shares], style=TableStyle(rules))]


def _pairs(element: ElementTree.Element, facts: ReportFacts) -> _Flowables:
    cells = [
        Paragraph(
            f'<font color="#5a6572">{markup(pair.get("label", ""))}:</font> {markup(_words(pair))}', style("cell")
        )
        for pair in element
    ]
    half = -(-len(cells) // 2)
    rows = [[cells[n], cells[n + half] if n + half < len(cells) else ""] for n in range(half)]
    rules = [("VALIGN", (0, 0), (-1, -1), "TOP"), ("LEFTPADDING", (0, 0), (-1, -1), 0)]
    rules += [("TOPPADDING", (0, 0), (-1, -1), 1), ("BOTTOMPADDING", (0, 0), (-1, -1), 1)]
    return [Table(rows, colWidths=[_WIDTH / 2, _WIDTH / 2], style=TableStyle(rules))]


def _pictures(element: ElementTree.Element, facts: ReportFacts) -> _Flowables:
    side = (_WIDTH - 2 * 3 * mm) / 3
    pictures = [Image(BytesIO(one.png()), side, side) for _, one in facts.pictures]
    captions = [Paragraph(markup(caption), style("small")) for caption, _ in facts.pictures]
    rules = [("LEFTPADDING", (0, 0), (-1, -1), 0), ("RIGHTPADDING", (0, 0), (-1, -1), 3 * mm)]
    rules += [("TOPPADDING", (0, 0), (-1, -1), 2), ("BOTTOMPADDING", (0, 0), (-1, -1), 3)]
    return [Table([pictures, captions], colWidths=[side + 3 * mm] * len(pictures), style=TableStyle(rules))]


def _legend(element: ElementTree.Element, facts: ReportFacts) -> _Flowables:
    return [_key([(name, rgb) for name, rgb in facts.legend])]


def _key(entries: list[tuple[str, tuple[int, int, int]]]) -> Drawing:
    drawing = Drawing(_WIDTH, 12)
    x = 0.0
    for name, rgb in entries:
        drawing.add(Rect(x, 2, 8, 8, fillColor=_colour(rgb), strokeColor=None))
        drawing.add(String(x + 12, 3, name, fontName=PLAIN, fontSize=8))
        x += 30 + 5.2 * len(name)
    return drawing


def _curve(element: ElementTree.Element, facts: ReportFacts) -> _Flowables:
    drawn = curve(facts.history)
    if drawn is None:
        return []
    width, height, left, low = _WIDTH * 0.95, 120.0, 40.0, 18.0
    drawing = Drawing(_WIDTH, height + 14)
    drawing.add(String(0, height + 4, facts.words["history_axis"], fontName=PLAIN, fontSize=8, fillColor=_SOFT))

    def place(x: float, y: float) -> tuple[float, float]:
        return left + 20 + x * (width - left - 40), low + y * (height - low - 6)

    for share, text in drawn.ticks:
        y = place(0, share)[1]
        drawing.add(Line(left, y, width, y, strokeColor=_LINE))
        drawing.add(String(left - 5, y - 3, text, fontName=PLAIN, fontSize=8, textAnchor="end"))
    for x, date in drawn.dates:
        shown = DA(date).strftime(facts.words["date"])
        drawing.add(String(place(x, 0)[0], 4, shown, fontName=PLAIN, fontSize=8, textAnchor="middle"))
    for subject, line in drawn.lines.items():
        points = [place(x, y) for x, y in line]
        flat = [value for point in points for value in point]
        drawing.add(PolyLine(flat, strokeColor=_colour(COLOURS[subject]), strokeWidth=1.5))
        for x, y in points:
            drawing.add(Circle(x, y, 2, fillColor=_colour(COLOURS[subject]), strokeColor=None))
    return [drawing, _key([(facts.words["names"][s], COLOURS[s]) for s in drawn.lines])]


def _colour(rgb: tuple[int, int, int]) -> Color:
    return Color(*(value / 255 for value in rgb))


_MAKERS: Mapping[str, Callable[[ElementTree.Element, ReportFacts], _Flowables]] = MappingProxyType(
    {
        **{name: _text(name) for name in ("title", "notice", "h", "p", "small")},
        "ul": _list,
        "table": _table,
        "pairs": _pairs,
        "pictures": _pictures,
        "legend": _legend,
        "curve": _curve,
        "space": lambda element, facts: [Spacer(0, 4 * mm)],
    }
)
