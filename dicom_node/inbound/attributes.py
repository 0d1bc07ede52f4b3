"""Tolerant access to a Dataset's values: a missing, empty, multi-valued or garbage value is None, and is noted."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

_MAX_TEXT = 1024


class Attributes:
    """Reads one Dataset (or one item of a sequence) by keyword; `problems` collects what could not be read.

    Values never appear in `problems`: they may hold patient data.
    """

    def __init__(self, dataset: Dataset, problems: list[str] | None = None) -> None:
        self._dataset = dataset
        self.problems: list[str] = [] if problems is None else problems

    def _raw(self, keyword: str) -> Any:
        try:
            return self._dataset.get(keyword)
        except Exception as error:  # a broken value raises on conversion, each VR in its own way
            self._note(keyword, type(error).__name__)
            return None

    def _note(self, keyword: str, what: str) -> None:
        self.problems.append(f"{keyword}: {what}")

    def _values(self, keyword: str) -> list[Any]:
        value = self._raw(keyword)
        if value is None:
            return []
        if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
            return [value]
        return list(value)

    def text(self, keyword: str) -> str:
        """First value as text without padding; '' where absent."""
        value = self._raw(keyword)
        if isinstance(value, MultiValue):
            self._note(keyword, f"{len(value)} values where one belongs")
            value = value[0] if value else None
        if value is None:
            return ""
        text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
        return text.strip(" \x00")[:_MAX_TEXT]

    def words(self, keyword: str) -> tuple[str, ...]:
        """All values as upper-case text."""
        return tuple(w for w in (str(v).strip(" \x00").upper()[:_MAX_TEXT] for v in self._values(keyword)) if w)

    def number(self, keyword: str) -> float | None:
        """First value as a finite float."""
        values = self.numbers(keyword)
        return values[0] if values else None

    def integer(self, keyword: str) -> int | None:
        """First value as an int."""
        number = self.number(keyword)
        return None if number is None else int(number)

    def numbers(self, keyword: str, count: int | None = None) -> tuple[float, ...]:
        """All values as finite floats; () where one is not, or where `count` is given and differs."""
        values = self._values(keyword)
        if not values or (len(values) == 1 and values[0] == ""):
            return ()
        try:
            numbers = tuple(float(v) for v in values)
        except (TypeError, ValueError):
            self._note(keyword, "not a number")
            return ()
        if not all(map(math.isfinite, numbers)):
            self._note(keyword, "NaN or infinite")
            return ()
        if count is not None and len(numbers) != count:
            self._note(keyword, f"{len(numbers)} values where {count} belong")
            return ()
        return numbers

    def items(self, keyword: str) -> list[Attributes]:
        """The items of a sequence; [] where absent or broken."""
        value = self._raw(keyword)
        if not isinstance(value, Iterable) or isinstance(value, (str, bytes)):
            return []
        return [Attributes(item, self.problems) for item in value if isinstance(item, Dataset)]

    def item(self, keyword: str) -> Attributes:
        """The first item of a sequence, or an empty one."""
        items = self.items(keyword)
        return items[0] if items else Attributes(Dataset(), self.problems)

    def has(self, keyword: str) -> bool:
        """True where the attribute is there, whatever its value."""
        return keyword in self._dataset
