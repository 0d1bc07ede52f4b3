"""The web's door to the export formats."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dicom_node.errors import Permanent
from dicom_node.exports.content import read_scan
from dicom_node.store import Store
from storage.errors import NotFound
from web.exporting import ExportKind, NothingToExport

_MEDIA_TYPES = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
    "nifti": "application/gzip",
    "stl": "model/stl",
    "obj": "model/obj",
    "glb": "model/gltf-binary",
    "fhir": "application/fhir+json",
    "hl7": "application/edi-hl7v2",
    "research": "application/zip",
}


class ExportDoor:
    """Implements `web.exporting.ScanExporter` over the node's store. The formats' libraries are loaded at first use."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def kinds(self) -> Mapping[str, ExportKind]:
        """See `web.exporting.ScanExporter`."""
        from dicom_node.exports.formats import FORMATS

        return {
            name: ExportKind(text=one.text, media_type=_MEDIA_TYPES.get(name, "application/octet-stream"))
            for name, one in FORMATS.items()
        }

    def write(self, scan_id: str, kind: str, folder: Path) -> list[Path]:
        """See `web.exporting.ScanExporter`."""
        from dicom_node.exports.formats import export

        store = self._store
        try:
            return list(export([read_scan(scan_id, store.scans, store.studies, store.files)], [kind], folder))
        except (NotFound, Permanent) as error:
            raise NothingToExport(str(error)) from error
