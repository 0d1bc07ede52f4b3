"""The words of the written report and the pictures, by file: `languages/en.yaml`, `de.yaml`, or one's own folder."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml

from dicom_node.errors import Permanent
from dicom_node.results.stamp import EncodingOptions

_OURS = Path(__file__).parent / "languages"


class LanguageUnusable(Permanent):
    """The report's language has no file, or its file lacks words."""

    code = "language-unusable"


def load_language(options: EncodingOptions) -> dict[str, Any]:
    """The words of `options.language`, from the templates folder before ours; what is absent there is English.

    Raises:
        LanguageUnusable: no such file, or not a mapping.
    """
    return _load(options.language, options.templates)


@cache
def _load(language: str, templates: Path | None) -> dict[str, Any]:
    english = _read(_OURS / "en.yaml")
    for folder in (templates, _OURS):
        path = None if folder is None else folder / f"{language}.yaml"
        if path is not None and path.is_file():
            return _merged(english, _read(path))
    raise LanguageUnusable(f"results.language: there is no {language}.yaml; put one into the folder results.templates")


def _read(path: Path) -> dict[str, Any]:
    try:
        words = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise LanguageUnusable(f"{path}: cannot be read as YAML ({type(error).__name__})") from None
    if not isinstance(words, dict):
        raise LanguageUnusable(f"{path}: must be keys and words")
    return words


def _merged(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if both else value
    return merged
