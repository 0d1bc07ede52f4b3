"""Deterministic UIDs: the same parts always give the same UID, so a step run twice writes the same objects."""

from __future__ import annotations

from uuid import UUID, uuid5

#: Fixed for the life of the project. Another value would give every derived object a new identity.
NAMESPACE = UUID("6f1d3c52-8f0e-5b1c-9d2a-4c7b0a1e5d33")


def derive_uid(*parts: str) -> str:
    """UID below 2.25 (PS3.5 B.2: a UUID as one decimal integer), derived from `parts` in order.

    Each part is prefixed with its length, so ("ab", "c") and ("a", "bc") differ.

    Raises:
        ValueError: no part is given.
    """
    if not parts:
        raise ValueError("a derived UID needs at least one part to be derived from")
    name = "".join(f"{len(part)}:{part}" for part in parts)
    return f"2.25.{uuid5(NAMESPACE, name).int}"
