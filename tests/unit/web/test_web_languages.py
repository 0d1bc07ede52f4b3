"""The pages in every language: nothing is missing in a catalogue, nothing is left over, and the choice is kept."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from jinja2 import DictLoader, Environment

import web
from pipeline.followup import RESPONSE_NOTICE
from pipeline.report import RESEARCH_NOTICE
from storage.lifecycle import ScanState
from storage.vocabulary import AccountStatus, DeliveryState, Role
from web import page_languages
from web.page_languages import LANGUAGES, catalogue, choose, messages, script_messages, speak

PACKAGE = Path(web.__file__).parent
OTHERS = sorted(set(LANGUAGES) - {"en"})


def refusals() -> Iterator[str]:
    """The fixed texts of refusals: the third argument of Problem(...)."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id != "Problem":
                continue
            detail = node.args[2] if len(node.args) == 3 else None
            if isinstance(detail, ast.Constant):
                yield str(detail.value)


def of_templates() -> set[str]:
    return {one for path in PACKAGE.rglob("*.html") for one in messages(path.read_text(encoding="utf-8"))}


def of_scripts() -> set[str]:
    own = (path for path in (PACKAGE / "static").glob("*.js"))
    return {one for path in own for one in script_messages(path.read_text(encoding="utf-8"))}


def of_data() -> set[str]:
    states = {
        one.value.replace("_", " ").replace("-", " ")
        for kind in (ScanState, DeliveryState, AccountStatus, Role)
        for one in kind
    }
    return (
        states
        | {"accepted", "rejected", "on hold", "volume", "diameters"}
        | {"axial", "coronal", "sagittal", "ok", "not ok", RESEARCH_NOTICE, RESPONSE_NOTICE}
    )


@pytest.mark.parametrize("language", OTHERS)
def test_no_entry_is_missing(language: str) -> None:
    missing = (of_templates() | of_scripts() | of_data() | set(refusals())) - set(catalogue(language))
    assert not missing, f"add to web/languages/{language}.yaml: {sorted(missing)}"


@pytest.mark.parametrize("language", OTHERS)
def test_expressions_are_kept_and_words_end_as_text(language: str) -> None:
    for message, said in catalogue(language).items():
        assert set(re.findall(r"{\w+}", said)) <= set(re.findall(r"{\w+}", message)), message
        assert not re.search(r"[<>]|{%|{{", said), message
        assert message.count("%d") == said.count("%d"), message


@pytest.mark.parametrize("language", OTHERS)
def test_every_page_compiles_in_the_language(language: str, shared_client: TestClient) -> None:
    environment = shared_client.app.state.context.templates[language].env  # type: ignore[attr-defined]
    for name in environment.list_templates(extensions=["html"]):
        environment.get_template(name)


def spoken(source: str, words: dict[str, str], monkeypatch: pytest.MonkeyPatch, **values: Any) -> str:
    monkeypatch.setattr(page_languages, "catalogue", lambda _: words)
    environment = Environment(loader=DictLoader({"page": source}), autoescape=True)
    speak(environment, "de", PACKAGE / "nothing")
    return environment.get_template("page").render(**values)


@pytest.mark.parametrize(
    ("source", "words", "expected"),
    [
        ("<p>Good <b>day</b></p>", {"Good": "Guten", "day": "Tag"}, "<p>Guten <b>Tag</b></p>"),
        ("<p>\n  {{ n }} of {{ m }}\n</p>", {"{1} of {2}": "{2}, davon {1}"}, "<p>\n  9, davon 4\n</p>"),
        ('<a title="Go" class="Go">Go</a>', {"Go": "Los"}, '<a title="Los" class="Go">Los</a>'),
        ('<i{% if n > 3 %} id="a"{% endif %}>Go</i>', {"Go": "Los"}, '<i id="a">Los</i>'),
        ('{{ name or "No name" }}', {"No name": "Ohne Namen"}, "Ohne Namen"),
        ('{{ "x" if n == 4 else "y" }} {# Go #}', {"x": "no", "y": "no", "Go": "no"}, "x "),
        ("{{ state | tr }}{{ n | tr }}", {"done": "fertig"}, "fertig4"),
        ("<p>Go</p>", {"Go": "a & b"}, "<p>a & b</p>"),
        ("<p>Stay</p>", {"Go": "Los"}, "<p>Stay</p>"),
    ],
)
def test_a_template_says_what_the_catalogue_says(
    source: str, words: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert spoken(source, words, monkeypatch, n=4, m=9, name="", state="done") == expected


def test_what_people_typed_is_escaped_in_every_language(monkeypatch: pytest.MonkeyPatch) -> None:
    typed = '<script>"{1}'
    said = spoken("<p>Waits for {{ it }}</p>", {"Waits for {1}": "Wartet auf {1}"}, monkeypatch, it=typed)
    assert said == "<p>Wartet auf &lt;script&gt;&#34;{1}</p>"


@pytest.mark.parametrize(
    ("cookie", "accepted", "expected"),
    [
        ("", "", "en"),
        ("", "de-AT,de;q=0.9,en;q=0.5", "de"),
        ("", "fr, en;q=0.4, de;q=0.8", "de"),
        ("", "en-GB, de;q=0.9", "en"),
        ("", "de;q=0", "en"),
        ("", "de;q=x,;;,,,*", "en"),
        ("en", "de", "en"),
        ("de", "en", "de"),
        ("../../etc", "en", "en"),
    ],
)
def test_the_visitors_own_choice_counts_then_the_browsers(cookie: str, accepted: str, expected: str) -> None:
    assert choose(cookie, accepted) == expected


def test_a_page_is_german_where_the_browser_asks_and_stays_so_by_the_switch(node: Any, client: TestClient) -> None:
    german = client.get("/sign-in", headers={"Accept-Language": "de"})
    assert '<html lang="de">' in german.text
    assert "<h1>Anmelden</h1>" in german.text
    assert (german.headers["Content-Language"], "Accept-Language" in german.headers["Vary"]) == ("de", True)
    assert "<h1>Sign in</h1>" in client.get("/sign-in").text
    chosen = client.post("/language", data={"language": "de", "next": "/register?a=1"}, follow_redirects=False)
    assert (chosen.status_code, chosen.headers["Location"]) == (303, "/register?a=1")
    assert "Konto beantragen" in client.get("/register").text
    client.post("/language", data={"language": "en"})
    assert "Ask for an account" in client.get("/register", headers={"Accept-Language": "de"}).text


@pytest.mark.parametrize("elsewhere", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:1"])
def test_the_switch_leads_nowhere_else(client: TestClient, elsewhere: str) -> None:
    answer = client.post("/language", data={"language": "de", "next": elsewhere}, follow_redirects=False)
    assert answer.headers["Location"] == "/"


def test_an_unknown_language_and_another_site_are_refused(client: TestClient) -> None:
    assert client.post("/language", data={"language": "xx"}).status_code == 422
    answer = client.post("/language", data={"language": "de"}, headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


def test_refusals_on_pages_are_in_the_language(node: Any, browser: Any) -> None:
    client = browser(node)
    page = client.get("/users", headers={"Accept-Language": "de"})
    assert page.status_code == 403
    assert "Diese Seite ist für die Verwaltung." in page.text
    assert (
        client.get("/api/users", headers={"Accept-Language": "de"}).json()["detail"].startswith("This needs the role")
    )
