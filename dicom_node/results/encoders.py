"""The result objects of one run.

A new kind is one class in its own file and one entry here (docs/adding-a-result.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from dicom_node.errors import Permanent
from dicom_node.results.encoded import EncodedObject
from dicom_node.results.evidence import Evidence
from dicom_node.results.lint import Defect, lint
from dicom_node.results.seg import SegmentationEncoder
from dicom_node.results.sr import ReportEncoder
from dicom_node.results.stamp import RunStamp
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


ENCODERS: tuple[ResultEncoder, ...] = (SegmentationEncoder(), ReportEncoder())


class ResultDefective(Permanent):
    """An encoded object that would be refused or misread; it must not leave. `defects` say why."""

    code = "result-defective"

    def __init__(self, kind: str, defects: Sequence[Defect]) -> None:
        listed = "; ".join(f"{d.code}: {d.text}" for d in defects)
        super().__init__(f"the {kind} is not fit to be sent: {listed}. Keep the run's folder and report this")
        self.kind = kind
        self.defects = tuple(defects)


def encode_all(
    report: Report, evidence: Evidence, stamp: RunStamp, encoders: Sequence[ResultEncoder] = ENCODERS
) -> tuple[EncodedObject, ...]:
    """Every result of a run, in order, each without a defect.

    Raises:
        ResultDefective: an encoder wrote an object that `lint` finds fault with.
    """
    encoded: list[EncodedObject] = []
    for encoder in encoders:
        result = encoder.encode(report, evidence, stamp, tuple(encoded))
        if result is None:
            continue
        defects = lint(result.dataset, evidence)
        if defects:
            raise ResultDefective(result.kind, defects)
        encoded.append(result)
    return tuple(encoded)
