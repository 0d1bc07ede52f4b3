"""The report's templates: ours, or those of the folder `results.templates`, filled with the facts.

`report.html` becomes the page, `report.xml` the PDF's content (`report_pdf.py` lays it out).
"""

from __future__ import annotations

import base64
import re
from functools import cache
from pathlib import Path

import jinja2
from pydicom.valuerep import DA

from dicom_node.errors import Permanent
from dicom_node.results.pictures import Panel
from dicom_node.results.report_curve import COLOURS, curve
from dicom_node.results.report_facts import ReportFacts
from dicom_node.results.stamp import EncodingOptions

_OURS = Path(__file__).parent / "templates"
_NOT_IN_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class TemplateUnusable(Permanent):
    """A report template of the hospital's own cannot be filled."""

    code = "template-unusable"


def fill(name: str, facts: ReportFacts, options: EncodingOptions) -> str:
    """The template `name` with the facts in it, everything escaped, without the characters that XML cannot hold.

    Raises:
        TemplateUnusable: a template of one's own has an error; the message names file and line.
    """
    words = facts.words
    try:
        text = (
            _environment(options.templates)
            .get_template(name)
            .render(
                f=facts,
                w=words,
                language=options.language,
                curve=curve(facts.history),
                colours=COLOURS,
                lesion_head=(words["lesion"], words["volume"], words["long_axis"], words["short_axis"], words["place"]),
                base64=_base64,
                day=lambda date: DA(date).strftime(words["date"]),
            )
        )
        # Headers in the wrong character set keep escape codes; a report is made of them all the same.
        return _NOT_IN_XML.sub("\N{REPLACEMENT CHARACTER}", text)
    except jinja2.TemplateError as error:
        line = getattr(error, "lineno", None)
        where = f" line {line}" if line else ""
        raise TemplateUnusable(f"report template {name}{where}: {error.message}; see results.templates") from None


@cache
def _environment(folder: Path | None) -> jinja2.Environment:
    folders = [str(_OURS)] if folder is None else [str(folder), str(_OURS)]
    # Every name must exist: a word misspelt in a template must not become an empty place in a report.
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folders), autoescape=True, undefined=jinja2.StrictUndefined
    )


def _base64(picture: Panel) -> str:
    return base64.b64encode(picture.png()).decode("ascii")
