"""Small DICOM series and headers made from plain numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from dicom_node.inbound.headers import MR_IMAGE, InstanceHeader
from dicom_node.inbound.part10 import file_head
from dicom_node.inbound.series_headers import SeriesHeaders
from dicom_node.uids import derive_uid

#: Row cosines, column cosines (LPS) of the three body planes and an oblique one; all exact or rounded as scanners do.
ORIENTATIONS = {
    "axial": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    "sagittal": (0.0, 1.0, 0.0, 0.0, 0.0, -1.0),
    "coronal": (1.0, 0.0, 0.0, 0.0, 0.0, -1.0),
    "oblique": (0.98480775, 0.0, 0.17364818, 0.03015369, 0.98480775, -0.17101007),
}


def encode(dataset: Dataset, syntax: str = ExplicitVRLittleEndian) -> bytes:
    """The data set's bytes in a native syntax, without file meta information."""
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = UID(syntax).is_implicit_VR, UID(syntax).is_little_endian
    write_dataset(buffer, dataset)
    return bytes(buffer.getvalue())


def write_file(path: Path, dataset: Dataset, syntax: str = ExplicitVRLittleEndian) -> Path:
    path.write_bytes(file_head(dataset.SOPClassUID, dataset.SOPInstanceUID, syntax) + encode(dataset, syntax))
    return path


def make_dataset(
    pixels: NDArray[Any], position: Sequence[float], orientation: Sequence[float], number: int, **attributes: Any
) -> Dataset:
    """One classic MR slice. pixels: (rows, columns), 16 bit unsigned."""
    dataset = Dataset()
    dataset.SOPClassUID = MR_IMAGE
    dataset.SOPInstanceUID = derive_uid("test", "instance", str(attributes.get("SeriesInstanceUID")), str(number))
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3", "1.2.3.4"
    dataset.FrameOfReferenceUID = "1.2.3.5"
    dataset.PatientID, dataset.PatientName, dataset.Modality = "P1", "Test^Person", "MR"
    dataset.SeriesDescription, dataset.InstanceNumber = "t1", number
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    dataset.ImagePositionPatient = [f"{v:.6f}" for v in position]
    dataset.ImageOrientationPatient = [f"{v:.8f}" for v in orientation]
    dataset.PixelSpacing = [1.25, 0.75]
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 0
    dataset.add_new("PixelData", "OW", pixels.astype("<u2").tobytes())
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


@pytest.fixture
def make_series(tmp_path: Path) -> Callable[..., list[Path]]:
    """Writes voxels (columns, rows, slices) as a classic series; `change` may edit each data set by its slice index."""

    def make(
        voxels: NDArray[Any],
        plane: str = "axial",
        step_mm: float = 3.0,
        origin: Sequence[float] = (-20.0, -30.0, 10.0),
        syntax: str = ExplicitVRLittleEndian,
        change: Callable[[int, Dataset], Dataset | None] | None = None,
        name: str = "series",
    ) -> list[Path]:
        orientation = ORIENTATIONS[plane]
        normal = np.cross(orientation[:3], orientation[3:])
        folder = tmp_path / name
        folder.mkdir()
        paths = []
        for k in range(voxels.shape[2]):
            position = np.array(origin) + normal * step_mm * k
            dataset = make_dataset(voxels[:, :, k].T, position, orientation, k + 1)
            if change is not None:
                changed = change(k, dataset)
                if changed is None:
                    continue
                dataset = changed
            pixels = np.frombuffer(dataset.PixelData, "<u2")
            if not UID(syntax).is_little_endian:
                dataset.PixelData = pixels.astype(">u2").tobytes()
            paths.append(write_file(folder / f"{k:03d}.dcm", dataset, syntax))
        return paths

    return make


@pytest.fixture
def header() -> Callable[..., InstanceHeader]:
    """An InstanceHeader with the given fields and plain values elsewhere."""

    def make(**fields: Any) -> InstanceHeader:
        given: dict[str, Any] = {
            "sop_instance_uid": "1.2.3.4.5",
            "sop_class_uid": MR_IMAGE,
            "study_instance_uid": "1.2.3",
            "series_instance_uid": "1.2.3.4",
            "transfer_syntax_uid": ExplicitVRLittleEndian,
            "modality": "MR",
            "rows": 64,
            "columns": 64,
            "pixel_spacing_mm": (1.0, 1.0),
            "orientation": ORIENTATIONS["axial"],
            "position": (0.0, 0.0, 0.0),
            "image_type": ("ORIGINAL", "PRIMARY", "M"),
        }
        return InstanceHeader(**(given | fields))

    return make


@pytest.fixture
def series(header: Callable[..., InstanceHeader]) -> Callable[..., SeriesHeaders]:
    """A series of `slices` headers `step_mm` apart; `without` leaves slice indices out."""

    def make(
        uid: str = "1.2.3.4", slices: int = 30, step_mm: float = 5.0, without: Sequence[int] = (), **fields: Any
    ) -> SeriesHeaders:
        return SeriesHeaders(
            series_instance_uid=uid,
            headers=tuple(
                header(
                    **(
                        {
                            "series_instance_uid": uid,
                            "sop_instance_uid": f"{uid}.{k + 1}",
                            "instance_number": k + 1,
                            "position": (0.0, 0.0, step_mm * k),
                        }
                        | fields
                    )
                )
                for k in range(slices)
                if k not in without
            ),
        )

    return make
