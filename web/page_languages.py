"""The pages' languages. The templates speak English; a catalogue `languages/CODE.yaml` says what they say instead.

A message is a run of text of a template between two tags or statements, or one of the attributes that people read; its
expressions are {1}, {2}, ... in order. Texts in quotes within expressions and statements are messages too: those of
several words, and words with a capital. So a page is written in English alone, and a test says what a catalogue lacks.
Words that are data (a state, a role, a refusal) go through the filter `tr`, those of scripts through `t("...")`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment
from jinja2.ext import Extension

FOLDER = Path(__file__).parent / "languages"
ENGLISH = "en"
#: What each language calls itself.
LANGUAGES = {ENGLISH: "English", "de": "Deutsch"}
COOKIE = "btn_language"

_STATEMENT = r"{%.*?%}|{#.*?#}"
_EXPRESSION = r"{{.*?}}"
_TAG = rf"<(?:[^<>{{]|{_STATEMENT}|{_EXPRESSION}|{{(?![%{{#]))*>"
_PIECES = re.compile(rf"({_STATEMENT}|{_TAG})|((?:{_EXPRESSION}|[^<{{]|{{(?![%{{#])|<(?![a-z/!]))+)", re.DOTALL)
_CODE = re.compile(rf"{_STATEMENT}|{_EXPRESSION}", re.DOTALL)
_READ = re.compile(
    rf'(\s(?:aria-label|aria-roledescription|placeholder|alt|title|label)=")((?:[^"{{]|{_EXPRESSION})*)"'
)
_EXPRESSIONS = re.compile(_EXPRESSION, re.DOTALL)
_QUOTED = re.compile(r'"([^"\\]*)"')
_IS_TEXT = re.compile(r"(?=.*[^\W\d_]{3})(?:[A-Z][^/<>{}=]*|[^/%<>{}=\s][^/%<>{}=]* [^/%<>{}=]*)")
_SCRIPT_CALLS = re.compile(r'\bt\("([^"]+)"')


class UnusableCatalogue(ValueError):
    """A catalogue that cannot be read. The message names the file and the entry."""


def catalogue(language: str) -> Mapping[str, str]:
    """Return what a language says for each message; nothing for English.

    Raises:
        UnusableCatalogue.
    """
    if language == ENGLISH:
        return {}
    path = FOLDER / f"{language}.yaml"
    try:
        words = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise UnusableCatalogue(f"{path.name} cannot be read: {type(error).__name__}") from None
    if not isinstance(words, dict):
        raise UnusableCatalogue(f"{path.name} must be messages and what to say instead")
    for message, said in words.items():
        if not isinstance(message, str) or not isinstance(said, str):
            raise UnusableCatalogue(f"{path.name}: {message!r} must be text for text; put it in quotes")
    return words


def choose(cookie: str, accepted: str) -> str:
    """Return the language of an answer: the visitor's own choice, else the browser's favourite of ours, else English.

    accepted: the header Accept-Language.
    """
    if cookie in LANGUAGES:
        return cookie
    wanted: list[tuple[float, str]] = []
    for part in accepted[:500].split(","):
        name, _, rest = part.partition(";")
        weight = re.fullmatch(r"\s*q=([01](?:\.\d{0,3})?)\s*", rest) if rest else None
        if not rest or weight:
            wanted.append((-float(weight[1]) if weight else -1.0, name.strip().lower().partition("-")[0]))
    known = [name for weight, name in sorted(wanted, key=lambda one: one[0]) if name in LANGUAGES and weight < 0]
    return known[0] if known else ENGLISH


def messages(source: str) -> set[str]:
    """Return every message of a template, as its catalogue would name it."""
    found: set[str] = set()

    def note(message: str) -> None:
        found.add(message)

    _translated(source, note)
    return found


def script_messages(source: str) -> set[str]:
    """Return every message of a script."""
    return set(_SCRIPT_CALLS.findall(source))


def _translated(source: str, say: Callable[[str], str | None]) -> str:
    def attribute(found: re.Match[str]) -> str:
        return f'{found[1]}{_run(found[2], say)}"'

    def quoted(found: re.Match[str]) -> str:
        said = say(found[1]) if _IS_TEXT.fullmatch(found[1]) else None
        return found[0] if said is None else json.dumps(said, ensure_ascii=False)

    def code(found: re.Match[str]) -> str:
        return found[0] if found[0].startswith("{#") else _QUOTED.sub(quoted, found[0])

    def piece(found: re.Match[str]) -> str:
        return _READ.sub(attribute, found[1]) if found[1] else _run(found[2], say)

    # Code last: its quoted texts are part of no message, for a message has {1} in its place.
    return _CODE.sub(code, _PIECES.sub(piece, source))


def _run(text: str, say: Callable[[str], str | None]) -> str:
    """One run of text with what is said instead, its white space and its expressions kept."""
    expressions: list[str] = []

    def number(found: re.Match[str]) -> str:
        expressions.append(found[0])
        return f"{{{len(expressions)}}}"

    bare = _EXPRESSIONS.sub(number, text)
    message = " ".join(bare.split())
    if not re.search(r"[^\W\d_]", re.sub(r"{\d+}|&\w+;", "", message)):
        return text
    said = say(message)
    if said is None:
        return text
    before, after = bare[: len(bare) - len(bare.lstrip())], bare[len(bare.rstrip()) :]
    return before + re.sub(r"{(\d+)}", lambda found: expressions[int(found[1]) - 1], said) + after


class _InLanguage(Extension):
    """Puts a language's words into a template before it is compiled."""

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        said: Mapping[str, str] = self.environment.globals["words"]  # type: ignore[assignment]
        return _translated(source, said.get) if said else source


def speak(environment: Environment, language: str, scripts: Path) -> None:
    """Have an environment's templates speak a language. scripts: the folder whose scripts run on their pages."""
    words = catalogue(language)

    def said(text: Any) -> Any:
        return words.get(text, text) if isinstance(text, str) else text

    environment.globals.update(
        words=words,
        language=language,
        languages=LANGUAGES,
        script_words={message: words[message] for message in _of_scripts(scripts) if message in words},
    )
    environment.filters["tr"] = said
    environment.add_extension(_InLanguage)


def _of_scripts(folder: Path) -> Iterator[str]:
    for path in sorted(folder.glob("*.js")):
        yield from sorted(script_messages(path.read_text(encoding="utf-8")))
