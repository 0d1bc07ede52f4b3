"""Markdown as the statement needs it: headings, paragraphs and tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pydicom.uid import UID


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """One table."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "/") for cell in line) + " |" for line in lines)


#: Younger than the library's list.
_YOUNGER = {"1.2.840.10008.5.1.4.1.1.66.7": "Label Map Segmentation Storage"}


def document(*blocks: str) -> str:
    """Blocks with an empty line between them, and one line end."""
    return "\n\n".join(block.strip("\n") for block in blocks if block) + "\n"


def named(uid: str) -> str:
    """A UID's name where the standard gives it one."""
    name = _YOUNGER.get(uid, UID(uid).name)
    return "private" if name == uid else name


def uid_rows(uids: Iterable[str], *more: object) -> list[tuple[object, ...]]:
    """Rows of name and UID, by name, each with the same further cells."""
    return [
        (named(uid), uid, *more) for uid in sorted(uids, key=lambda uid: (named(uid) == "private", named(uid), uid))
    ]
