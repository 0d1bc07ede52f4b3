"""The pictures of what spoke for a classifier's answer, as the page shows them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

_LIST = "attention.json"


class AttentionStage(StrEnum):
    """The stages that have a picture."""

    DETECT = "detect"
    CLASSIFY = "classify"


_HEADINGS = {AttentionStage.DETECT: "Tumour detection", AttentionStage.CLASSIFY: "Tumour type"}


@dataclass(frozen=True, kw_only=True)
class AttentionView:
    """One picture: which answer and slice it explains, and how it was made. nothing_found: no place spoke for it."""

    stage: AttentionStage
    heading: str
    class_name: str
    role: str
    position_mm: float
    method: str
    model: str
    nothing_found: bool


def attention_file(folder: Path, stage: AttentionStage) -> Path | None:
    """The picture of a stage in a run's folder, None where there is none."""
    path = folder / f"attention-{stage.value}.png"
    return path if path.is_file() and not path.is_symlink() else None


def attention_views(folder: Path) -> tuple[AttentionView, ...]:
    """Every picture of a run, detection first; () before they are made, and where their list cannot be read."""
    try:
        listed = json.loads((folder / _LIST).read_bytes())
    except (OSError, ValueError):
        return ()
    views = [_view(one) for one in listed if isinstance(one, Mapping)] if isinstance(listed, list) else []
    return tuple(view for view in views if view is not None and attention_file(folder, view.stage) is not None)


def _view(one: Mapping[str, object]) -> AttentionView | None:
    try:
        stage = AttentionStage(str(one["stage"]))
        return AttentionView(
            stage=stage,
            heading=_HEADINGS[stage],
            class_name=str(one["class"]),
            role=str(one["role"]),
            position_mm=float(str(one["position_mm"])),
            method=str(one["method"]),
            model=str(one["model"]),
            nothing_found=one.get("nothing_found") is True,
        )
    except (KeyError, ValueError):
        return None
