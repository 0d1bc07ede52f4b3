"""A campaign that can be stopped and taken up: one line of JSON for each case that was judged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class CampaignRecord:
    """Lines in a file; None keeps them in memory alone."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.lines: list[dict[str, Any]] = []
        if path is not None and path.exists():
            self.lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

    def has(self, case: str) -> bool:
        """Whether this case was judged before."""
        return any(line["case"] == case for line in self.lines)

    def add(self, case: str, **told: Any) -> None:
        """Note a case; what is written is on disk before the next begins."""
        self.lines.append({"case": case, **told})
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(self.lines[-1]) + "\n")
