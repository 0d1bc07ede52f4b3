"""Fonts and styles of the PDF.

DejaVu Sans is embedded: Latin, Greek, Cyrillic, and more. Chinese, Japanese and Korean names are set in the fonts that
PDF viewers bring for those scripts, as a font with all of their characters is larger than everything else here; what no
font has becomes a box. Scripts written from right to left stand in the order of their characters.
"""

from __future__ import annotations

from functools import cache
from xml.sax.saxutils import escape

from reportlab.lib.colors import HexColor
from reportlab.lib.styles import ParagraphStyle
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfbase.ttfonts import TTFont

from dicom_node.results.pictures import FONTS

PLAIN, BOLD = "DejaVuSans", "DejaVuSans-Bold"
_JAPANESE, _KOREAN = "HeiseiMin-W3", "HYSMyeongJo-Medium"


@cache
def _registered() -> frozenset[int]:
    """Register the fonts once; the characters that DejaVu has."""
    for name in (PLAIN, BOLD):
        pdfmetrics.registerFont(TTFont(name, str(FONTS / f"{name}.ttf")))
    pdfmetrics.registerFontFamily(PLAIN, normal=PLAIN, bold=BOLD, italic=PLAIN, boldItalic=BOLD)
    for name in (_JAPANESE, _KOREAN):
        pdfmetrics.registerFont(UnicodeCIDFont(name))
    return frozenset(pdfmetrics.getFont(PLAIN).face.charToGlyph)


def markup(text: str) -> str:
    """Plain text as a paragraph's markup, each character in a font that has it."""
    known = _registered()
    runs: list[tuple[str, str]] = []
    for character in text:
        font = _font_of(character, known)
        shown = character if font or ord(character) in known else "\N{WHITE SQUARE}"
        if runs and runs[-1][0] == font:
            runs[-1] = (font, runs[-1][1] + shown)
        else:
            runs.append((font, shown))
    return "".join(f'<font name="{font}">{escape(run)}</font>' if font else escape(run) for font, run in runs)


def _font_of(character: str, known: frozenset[int]) -> str:
    """The name of another font than DejaVu, empty for DejaVu."""
    point = ord(character)
    if point in known:
        return ""
    if 0x1100 <= point <= 0x11FF or 0xAC00 <= point <= 0xD7AF:
        return _KOREAN
    if 0x2E80 <= point <= 0x9FFF or 0xF900 <= point <= 0xFAFF or 0xFF00 <= point <= 0xFFEF:
        return _JAPANESE
    return ""


@cache
def style(name: str) -> ParagraphStyle:
    """The style of an element of the PDF's template."""
    _registered()
    base = ParagraphStyle(
        "p",
        fontName=PLAIN,
        bulletFontName=PLAIN,
        fontSize=9,
        leading=12,
        textColor=HexColor("#1b1f24"),
        splitLongWords=1,
    )
    made = {
        "p": {},
        "title": {"fontName": BOLD, "fontSize": 17, "leading": 22},
        "notice": {
            "fontName": BOLD,
            "fontSize": 8.5,
            "leading": 11.5,
            "backColor": HexColor("#fff4d6"),
            "borderPadding": 4,
            "spaceBefore": 6,
            "spaceAfter": 9,
        },
        "h": {
            "fontName": BOLD,
            "fontSize": 11.5,
            "leading": 15,
            "spaceBefore": 9,
            "spaceAfter": 3,
            "textColor": HexColor("#2f5d8a"),
        },
        "small": {"fontSize": 7.5, "leading": 10, "textColor": HexColor("#5a6572"), "spaceBefore": 2},
        "li": {"leftIndent": 11, "bulletIndent": 2, "spaceBefore": 1.5},
        "cell": {"fontSize": 8.5, "leading": 11},
        "head": {"fontName": BOLD, "fontSize": 8.5, "leading": 11},
    }
    return ParagraphStyle(name, parent=base, **made[name])
