"""Every command in the documents: it exists with these options; the quick ones are run as they stand."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command
from typer.testing import CliRunner

from dicom_node.cli import application
from dicom_node.config import ENVIRONMENT_PREFIX, load_config

REPOSITORY = Path(__file__).resolve().parents[3]
DOCUMENTS = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
READERS = ("pacs-administrators", "radiologists", "it-security", "developers")
#: Commands that are done in a moment and need no node: run here for real, in a folder of their own.
QUICK = ("sbom", "conformance", "check", "scrub", "audit verify", "audit export", "support-bundle")
TARGETS = set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)


def lines(path: Path) -> Iterator[list[str]]:
    """The words of each command line of a document's shell blocks, comments and redirections left out."""
    for block in blocks(path, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            if re.search(r"\b(tumor-node|make|python3? -m)\b", line) and "curl" not in line:
                for part in re.split(r"&&|;", line):
                    try:
                        words = shlex.split(part, comments=True)
                    except ValueError:
                        continue  # the first half of a quoted program: other tests run those
                    yield [word for word in words if word not in ("<", ">", "...")]


def tumor_node_lines() -> list[tuple[str, list[str]]]:
    found = []
    for path in DOCUMENTS:
        for words in lines(path):
            for place, word in enumerate(words):
                called = place == 0 or (place == 3 and words[0] == "sudo")
                if called and Path(word).name == "tumor-node" and place + 1 < len(words):
                    found.append((path.name, words[place + 1 :]))
    return found


def quick_lines() -> list[list[str]]:
    of_readers = [words for document, words in tumor_node_lines() if document.startswith("for-")]
    return [words for words in of_readers if " ".join(words).startswith(QUICK)]


def program_lines() -> list[tuple[str, list[str]]]:
    told = [(path.name, words) for path in DOCUMENTS for words in lines(path) if words[:1] in (["make"], ["python"])]
    text = {path.name: path.read_text(encoding="utf-8") for path in DOCUMENTS}
    named = re.compile(r"`((?:make|python -m) [^`]+)`")
    inline = [(name, match.split()) for name, body in text.items() for match in named.findall(body)]
    return [*told, *inline]


def named(value: str | list[str]) -> str:
    return value if isinstance(value, str) else " ".join(value)[:60]


def parsed(arguments: list[str]) -> None:
    """Take the words as the command line would, down to the last command; raise where it would not."""
    command: Any = get_command(application())
    left = list(arguments)
    while hasattr(command, "commands") and left[:1] != ["--help"]:
        name = left.pop(0)
        assert name in command.commands, f"there is no command {name}"
        command = command.commands[name]
    options = {word.partition("=")[0] for word in left if word.startswith("-") and word != "-"}
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    assert options <= known | {"--help"}, f"no such option: {options - known}"


@pytest.mark.parametrize(("document", "arguments"), tumor_node_lines(), ids=named)
def test_a_command_exists_with_its_options(document: str, arguments: list[str]) -> None:
    parsed(arguments)


@pytest.mark.parametrize(("document", "words"), program_lines(), ids=named)
def test_a_target_or_a_module_exists(document: str, words: list[str]) -> None:
    if words[0] == "make":
        assert {word for word in words[1:2] if not word.startswith(".")} <= TARGETS
        return
    assert find_spec(words[2]) is not None, words


def test_the_four_readers_have_commands_or_need_none() -> None:
    have = {name for name in READERS if any(document == f"for-{name}.md" for document, _ in tumor_node_lines())}
    assert have == set(READERS) - {"radiologists"}


@pytest.mark.parametrize("arguments", quick_lines(), ids=named)
def test_a_quick_command_of_the_readers_runs(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"{ENVIRONMENT_PREFIX}MODELS__FOLDER", str(REPOSITORY / "models"))
    monkeypatch.chdir(tmp_path)
    words = [word.replace("/tmp/", f"{tmp_path}/") for word in arguments]
    if words[0] == "check":
        words.append("--quick")  # loading the networks is tried elsewhere
    done = CliRunner().invoke(application(), words)
    # No worker runs and nobody is to be sent to: that is all `check` may find.
    assert done.exit_code == 0 or (words[0] == "check" and "things are wrong" in done.output), done.output


def test_the_settings_of_the_readers_are_settings(tmp_path: Path) -> None:
    snippets = [block for name in READERS for block in blocks(REPOSITORY / f"docs/for-{name}.md", "yaml")]
    assert snippets
    for snippet in snippets:
        path = tmp_path / "config.yaml"
        path.write_text(snippet)
        assert load_config(path).node.ae_title == "BTNODE"
        assert yaml.safe_load(snippet)


def test_links_between_documents_lead_somewhere() -> None:
    for path in DOCUMENTS:
        for link in re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8")):
            assert (path.parent / link).exists(), f"{path.name}: {link}"
