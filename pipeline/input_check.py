"""Does a study look like what the models know? Where not, a flag says so; nothing is changed, left out or guessed.

Looked at: how much of the brain is there, whether each series looks like its role, whether the patient moved, whether
the head is a child's, whether grey values are cut off. docs/input-check.md has every rule and what it was measured on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pipeline.contrast_table import TABLE
from pipeline.input_contrast import contrast_flags
from pipeline.input_coverage import coverage_flags, size_flags
from pipeline.input_grey import grey_flags
from pipeline.input_images import check_images
from pipeline.input_motion import motion_flags
from pipeline.preparation import PreparedStudy
from pipeline.report import Flag


def check_inputs(study: PreparedStudy) -> tuple[Flag, ...]:
    """Flags for what does not look like what the models know. Never raises: a check that fails is itself flagged."""
    checks: tuple[tuple[str, Callable[[], Iterable[Flag]]], ...] = (
        ("coverage", lambda: coverage_flags(study)),
        ("size", lambda: size_flags(study)),
        ("contrast", lambda: _contrast(study)),
        ("motion", lambda: motion_flags(study)),
        ("grey values", lambda: grey_flags(study)),
    )
    flags: list[Flag] = []
    for name, check in checks:
        try:
            flags += check()
        except Exception as error:  # a check of odd images must not cost the analysis of them
            text = f"The input check of the {name} could not be made: {type(error).__name__}: {error}"
            flags.append(Flag(code="input-check-failed", text=text))
    return tuple(flags)


def _contrast(study: PreparedStudy) -> Iterable[Flag]:
    seen = check_images(study.volumes, study.transforms, study.brain, study.grid)
    return contrast_flags(seen.images, seen.brain, TABLE)
