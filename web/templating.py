"""Jinja2 with everything escaped, and the few filters the pages need."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from fastapi.templating import Jinja2Templates
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from web import page_languages

_LONGEST_SHOWN = 200


def person(name: str) -> str:
    """Return a DICOM person name for reading: 'Curie^Marie=...' becomes 'Curie, Marie'. Cut at 200 characters."""
    parts = [part.strip() for part in name.partition("=")[0].split("^")]
    family, rest = parts[0], " ".join(part for part in parts[1:] if part)
    shown = f"{family}, {rest}" if family and rest else family or rest
    return shown if len(shown) <= _LONGEST_SHOWN else shown[: _LONGEST_SHOWN - 1] + "…"


def dicom_date(text: str) -> str:
    """Return '20260131' as '2026-01-31' and anything else as it is."""
    found = re.fullmatch(r"(\d{4})(\d\d)(\d\d)", text)
    return "-".join(found.groups()) if found else text[:32]


def duration(seconds: float) -> str:
    """Return seconds as '42 s', '12 min' or '3 h 5 min'."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def make_templates(folder: Path, scripts: Path, **constants: object) -> Mapping[str, Jinja2Templates]:
    """Return the templates below a folder by language; constants are known to all of them.

    scripts: the folder of their scripts.
    """
    return {language: _templates(folder, scripts, language, constants) for language in page_languages.LANGUAGES}


def _templates(folder: Path, scripts: Path, language: str, constants: Mapping[str, object]) -> Jinja2Templates:
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(person=person, dicom_date=dicom_date, duration=duration)
    environment.globals.update(constants)
    page_languages.speak(environment, language, scripts)
    return Jinja2Templates(env=environment)
