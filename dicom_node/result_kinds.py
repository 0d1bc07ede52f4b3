"""The kinds of result: what a destination's `kinds` and `fallback` may name."""

from __future__ import annotations

from enum import StrEnum


class ResultKind(StrEnum):
    """One kind of result object. docs/results.md says what each is for."""

    SEG = "SEG"
    SEG_REGIONS = "SEG-REGIONS"
    LABELMAP = "LABELMAP"
    SR = "SR"
    SR_VIEWER = "SR-VIEWER"
    SC = "SC"
    KO = "KO"
    PDF = "PDF"
    #: Of no run: it follows from a review.
    REJECTION = "REJECTION"


#: Made in every run, whoever asks for them: the record that other objects refer to.
RECORD_KINDS: tuple[ResultKind, ...] = (
    ResultKind.SEG,
    ResultKind.SEG_REGIONS,
    ResultKind.SR,
    ResultKind.SR_VIEWER,
)
