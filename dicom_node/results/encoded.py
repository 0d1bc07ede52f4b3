"""One finished result object."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO

from pydicom import Dataset


@dataclass(frozen=True, kw_only=True, eq=False)
class EncodedObject:
    """A DICOM object ready to be written. kind: 'SEG', 'SR', ...: what a destination may ask for."""

    kind: str
    dataset: Dataset

    @property
    def sop_instance_uid(self) -> str:
        """SOP Instance UID."""
        return str(self.dataset.SOPInstanceUID)

    @property
    def sop_class_uid(self) -> str:
        """SOP Class UID."""
        return str(self.dataset.SOPClassUID)

    @property
    def series_instance_uid(self) -> str:
        """Series Instance UID, of a series that holds this object alone."""
        return str(self.dataset.SeriesInstanceUID)

    def to_bytes(self) -> bytes:
        """The object as a DICOM file (PS3.10), the same bytes whenever it is encoded from the same run."""
        file = BytesIO()
        self.dataset.save_as(file, enforce_file_format=True)
        return file.getvalue()
