"""Which results go where, and which may not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dicom_node.result_kinds import RECORD_KINDS
from dicom_node.results.lint_rule import Profile


@dataclass(frozen=True, kw_only=True)
class Routing:
    """Which destinations receive which kinds of result, by their names.

    fallbacks: the kinds that only replace what is refused. profiles: whose demands an object must meet to be sent.
    """

    kinds_by_destination: Mapping[str, tuple[str, ...]]
    fallbacks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    profiles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def destinations(self, kind: str) -> list[str]:
        """Names of the destinations that a `kind` is owed to."""
        return [name for name, kinds in self.kinds_by_destination.items() if kind in kinds]

    def kinds(self) -> set[str]:
        """The kinds a run makes: the record, and what else a destination may come to need."""
        asked = (*self.kinds_by_destination.values(), *self.fallbacks.values())
        return {*RECORD_KINDS, *(kind for kinds in asked for kind in kinds)}

    def held(self, destination: str, defects: Sequence[Mapping[str, Any]]) -> str:
        """Why an object with these defects may not go to a destination; empty where it may."""
        profiles = {*self.profiles.get(destination, tuple(Profile)), Profile.DICOM}
        told = [f"{d['code']}: {d['text']}" for d in defects if profiles & set(d["profiles"])]
        return f"held, not sent: {'; '.join(dict.fromkeys(told))}" if told else ""
