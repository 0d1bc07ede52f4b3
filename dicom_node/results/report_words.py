"""How the written report puts numbers, dates and names into the reader's language."""

from __future__ import annotations

from datetime import datetime
from typing import Any


class Words:
    """Numbers, dates and names in one language. words: of `load_language`."""

    def __init__(self, words: dict[str, Any]) -> None:
        self.words = words

    def number(self, value: float | None, digits: int = 1) -> str:
        """With the language's decimal sign; a dash for None."""
        return "–" if value is None else f"{value:.{digits}f}".replace(".", str(self.words["decimal"]))

    def quantity(self, value: float, unit: str) -> str:
        """With its unit; a count without."""
        return self.number(value, 0) if unit == "1" else f"{self.number(value, 2)} {unit}"

    def percent(self, share: float) -> str:
        """Of a share 0..1, without the sign."""
        return self.number(100 * share, 0)

    def name(self, group: str, key: str) -> str:
        """What a code of this group is called; the code itself where the language has no word."""
        return str(self.words[group].get(key, key))

    def date(self, text: str) -> str:
        """Of DICOM's YYYYMMDD."""
        try:
            return datetime.strptime(text[:8], "%Y%m%d").strftime(self.words["date"])
        except ValueError:
            return str(self.words["unknown"])
