"""The files of a finished run that people may download: a fixed table, never a path from a request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from storage.files import FileStore


@dataclass(frozen=True, kw_only=True)
class Download:
    """One file: its media type and what people are told it is."""

    media_type: str
    label: str


#: Key in the URL, which is also the file's name in the run's folder.
DOWNLOADS: Mapping[str, Download] = MappingProxyType(
    {
        "report.pdf": Download(media_type="application/pdf", label="the report, two pages"),
        "report.html": Download(media_type="text/html", label="the same report as one page"),
        "report.json": Download(media_type="application/json", label="all findings and measurements"),
        "segmentation.nii.gz": Download(media_type="application/gzip", label="labels 0, 1, 2, 4 on the reference grid"),
        "reference.nii.gz": Download(media_type="application/gzip", label="the reference series"),
        "seg.dcm": Download(media_type="application/dicom", label="DICOM segmentation"),
        "seg-regions.dcm": Download(
            media_type="application/dicom", label="DICOM segmentation of the regions WT and TC"
        ),
        "sr.dcm": Download(media_type="application/dicom", label="DICOM structured report"),
        "sr-viewer.dcm": Download(media_type="application/dicom", label="DICOM report of the diameters, for viewers"),
    }
)


def download_path(files: FileStore, run_id: str, key: str) -> Path | None:
    """Return the file of a run, None where the key is none of the table's or the run has no such file."""
    if key not in DOWNLOADS:
        return None
    path = files.run_folder(run_id) / key
    return path if path.is_file() and not path.is_symlink() else None


def available_downloads(files: FileStore, run_id: str) -> list[str]:
    """Return the keys a run has files for, in the table's order."""
    return [key for key in DOWNLOADS if download_path(files, run_id, key) is not None]
