"""The result objects of one run.

A new kind is one class in its own file and one entry here (docs/adding-a-result.md).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from dicom_node.errors import Permanent
from dicom_node.result_kinds import ResultKind
from dicom_node.results.encoded import EncodedObject
from dicom_node.results.evidence import Evidence
from dicom_node.results.key_objects import KeyObjectEncoder
from dicom_node.results.lint import lint
from dicom_node.results.lint_rule import Defect
from dicom_node.results.secondary_capture import CaptureEncoder
from dicom_node.results.seg import FORMS, SegmentationEncoder
from dicom_node.results.sr import ReportEncoder
from dicom_node.results.sr_viewer import ViewerReportEncoder
from dicom_node.results.stamp import RunStamp
from dicom_node.results.written_report import PdfEncoder
from pipeline.report import Report


class ResultEncoder(Protocol):
    """Writes one kind of result object."""

    @property
    def kind(self) -> str:
        """What destinations ask for: 'SEG', 'SR', ..."""
        ...

    @property
    def sop_class_uid(self) -> str:
        """SOP class of the objects it makes: what is proposed to destinations."""
        ...

    def encode(
        self, report: Report, evidence: Evidence, stamp: RunStamp, previous: Sequence[EncodedObject]
    ) -> EncodedObject | None:
        """The object, or None where this run has none of this kind.

        previous: the objects of the encoders before this one, to refer to. The same arguments must give the same
        bytes: no clock, no random UID (`stamp.result_uid`).
        """
        ...


#: In the order they are made: an object refers to those before it.
ENCODERS: tuple[ResultEncoder, ...] = (
    *(SegmentationEncoder(form) for form in FORMS),
    ReportEncoder(),
    ViewerReportEncoder(),
    CaptureEncoder(),
    KeyObjectEncoder(),
    PdfEncoder(),
)


class ResultDefective(Permanent):
    """An encoded object that would be refused or misread; it must not leave. `defects` say why."""

    code = "result-defective"

    def __init__(self, kind: str, defects: Sequence[Defect]) -> None:
        listed = "; ".join(f"{d.code}: {d.text}" for d in defects)
        super().__init__(f"the {kind} is not fit to be sent: {listed}. Keep the run's folder and report this")
        self.kind = kind
        self.defects = tuple(defects)


def encode_all(
    report: Report,
    evidence: Evidence,
    stamp: RunStamp,
    kinds: Collection[str] = (ResultKind.SEG, ResultKind.SR),
    encoders: Sequence[ResultEncoder] = ENCODERS,
) -> tuple[EncodedObject, ...]:
    """The results of these kinds, in the order of the encoders, each without a defect.

    Raises:
        ResultDefective: an encoder wrote an object that `lint` finds fault with.
    """
    checked = encode_checked(report, evidence, stamp, kinds, encoders)
    for result, defects in checked:
        if defects:
            raise ResultDefective(result.kind, defects)
    return tuple(result for result, _ in checked)


def encode_checked(
    report: Report,
    evidence: Evidence,
    stamp: RunStamp,
    kinds: Collection[str],
    encoders: Sequence[ResultEncoder] = ENCODERS,
) -> list[tuple[EncodedObject, tuple[Defect, ...]]]:
    """The results of these kinds, each with every defect that a profile of the lint finds in it."""
    encoded: list[EncodedObject] = []
    checked = []
    for encoder in encoders:
        if encoder.kind not in kinds:
            continue
        result = encoder.encode(report, evidence, stamp, tuple(encoded))
        if result is None:
            continue
        encoded.append(result)
        checked.append((result, lint(result.dataset, evidence)))
    return checked
