"""Objects to send: one MR image of a given size, each time under new UIDs, so that no receiver meets a duplicate."""

from __future__ import annotations

import itertools
import uuid
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"

#: Stands in the template where an instance's own UID belongs; of the length every one has.
_PLACE = "1.2.826.0.1.3680043.10.99999.1000000000000000000000000"


class Objects:
    """Makes files of `kilobytes` each. The pixels are noise of 12 bits, as a scanner's are."""

    def __init__(self, folder: Path, kilobytes: int) -> None:
        self._folder = folder
        self._numbers = itertools.count(uuid.uuid4().int % 10**12)
        side = int((kilobytes * 1024 / 2) ** 0.5)
        pixels = np.random.default_rng(1).integers(0, 4096, (side, side), dtype=np.uint16)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "template.dcm"
        _dataset(pixels).save_as(path, enforce_file_format=True)
        self._template = path.read_bytes()
        path.unlink()

    def make(self, count: int) -> list[Path]:
        """`count` new files of one series; those of the call before are gone."""
        for path in self._folder.glob("*.dcm"):
            path.unlink()
        prefix = _PLACE.rpartition(".")[0]
        paths = []
        for number in range(count):
            uid = f"{prefix}.1{next(self._numbers):024d}"
            path = self._folder / f"{number:05d}.dcm"
            path.write_bytes(self._template.replace(_PLACE.encode(), uid.encode()))
            paths.append(path)
        return paths


def _dataset(pixels: NDArray[np.uint16]) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = MR_IMAGE, _PLACE
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3.1", "1.2.3.1.1"
    dataset.PatientID, dataset.PatientName, dataset.Modality = "BENCH", "Bench", "MR"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.PixelData = pixels.tobytes()
    dataset["PixelData"].VR = "OW"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset
