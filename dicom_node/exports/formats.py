"""The table of export formats: a new one is a file with a writer and a line here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dicom_node.errors import Permanent
from dicom_node.exports.content import ExportScan
from dicom_node.exports.fhir import write_fhir
from dicom_node.exports.hl7_oru import write_hl7
from dicom_node.exports.masks import write_nifti
from dicom_node.exports.research import write_research
from dicom_node.exports.surfaces import write_glb, write_obj, write_stl
from dicom_node.exports.tables import write_csv, write_json, write_parquet


class UnknownFormat(Permanent):
    """A format that is not in the table."""

    code = "unknown-format"


@dataclass(frozen=True, kw_only=True)
class ExportFormat:
    """write: the files of one scan into a folder, their paths returned; none where the scan has nothing of the kind."""

    text: str
    write: Callable[[ExportScan, Path], list[Path]]


FORMATS: Mapping[str, ExportFormat] = {
    "json": ExportFormat(text="the whole report", write=write_json),
    "csv": ExportFormat(text="every number, one a line", write=write_csv),
    "parquet": ExportFormat(text="the same table with types, for pandas and its like", write=write_parquet),
    "nifti": ExportFormat(text="labels and regions on the reference series' own grid", write=write_nifti),
    "stl": ExportFormat(text="surfaces in RAS+ mm", write=write_stl),
    "obj": ExportFormat(text="surfaces in RAS+ mm", write=write_obj),
    "glb": ExportFormat(text="surfaces as one coloured scene", write=write_glb),
    "fhir": ExportFormat(text="FHIR R4B: DiagnosticReport, ImagingStudy, Observations", write=write_fhir),
    "hl7": ExportFormat(text="HL7 v2.5.1 ORU^R01", write=write_hl7),
    "research": ExportFormat(text="DICOM, NIfTI and numbers without identity, as a zip", write=write_research),
}


def export(scans: Sequence[ExportScan], formats: Sequence[str], out: Path) -> Iterator[Path]:
    """Write every scan in every format below `out`, which is made; yields the files as they are written.

    Raises:
        UnknownFormat: nothing is written. OSError.
    """
    unknown = sorted(set(formats) - FORMATS.keys())
    if unknown:
        raise UnknownFormat(f"no export format is called {', '.join(unknown)}; there are {', '.join(FORMATS)}")
    out.mkdir(parents=True, exist_ok=True)
    for scan in scans:
        for name in formats:
            yield from FORMATS[name].write(scan, out)
