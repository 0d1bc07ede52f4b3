"""From a live ORM object to the frozen dataclass that may leave this package."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar

from storage.tables import Base

R = TypeVar("R")


def detached(row_type: type[R], record: Base, **given: Any) -> R:
    """A `row_type` whose fields are taken from `given` first, else from the attributes of `record` of the same name."""
    names = [field.name for field in fields(row_type)]  # type: ignore[arg-type]
    return row_type(**{name: given[name] if name in given else getattr(record, name) for name in names})
