"""docs/reliability/faults.md: every fault has a case, and every case it names is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
ROWS = re.findall(r"^\| (\d+) \|(.*)\|$", (REPOSITORY / "docs/reliability/faults.md").read_text(), re.MULTILINE)
CASE = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
FAULTS = 66


@cache
def functions_of(path: str) -> frozenset[str]:
    tree = ast.parse((REPOSITORY / path).read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_every_fault_has_its_row() -> None:
    assert [int(number) for number, _ in ROWS] == list(range(1, FAULTS + 1))


@pytest.mark.parametrize(("number", "row"), ROWS, ids=[number for number, _ in ROWS])
def test_a_fault_has_cases_that_exist(number: str, row: str) -> None:
    cases = CASE.findall(row)
    assert cases, f"fault {number} has no case"
    missing = [f"{path}::{name}" for path, name in cases if name not in functions_of(path)]
    assert missing == []


def test_the_list_is_as_long_as_the_one_agreed(shared_data: Path) -> None:
    agreed = (shared_data.parent / "FAULTS.md").read_text()
    assert len(re.findall(r"^\d+\. ", agreed, re.MULTILINE)) == FAULTS
