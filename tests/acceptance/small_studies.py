"""Studies of one small series, as many as wanted: one template under new UIDs."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid

from dicom_node.phantom.study import PhantomStudy, make_study
from dicom_node.phantom.write_dicom import write_study
from pipeline.volume import SeriesRole

SEED = 11


@cache
def known_study() -> PhantomStudy:
    """One series of a small head, whose truth is known."""
    return make_study(SEED, "siemens", size="small", clutter=False, roles=(SeriesRole.T1CE,))


class SmallStudies:
    """Writes studies below `folder`. salt: other UIDs than those of another salt. thinning: every n-th slice."""

    def __init__(self, folder: Path, salt: str, *, thinning: int = 6) -> None:
        self._folder = folder
        self._salt = salt
        (series,) = write_study(folder / "template", known_study())
        # A stack without a gap still, in fewer images.
        self._template = [dcmread(path) for path in series.paths[::thinning]]

    def _uid(self, name: str, what: str | int) -> str:
        return str(generate_uid(entropy_srcs=[self._salt, f"/{name}/{what}"]))

    def write(self, name: str, patient: tuple[str, str] | None = None) -> tuple[str, list[Path]]:
        """A new study: its UID and files. patient: Patient ID and Patient's Name; None is one of its own."""
        folder = self._folder / name
        folder.mkdir(parents=True)
        study, series = self._uid(name, "study"), self._uid(name, "series")
        patient_id, patient_name = patient or (f"P-{study[-12:]}", f"Small^{name}")
        paths = []
        for number, dataset in enumerate(self._template):
            dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
            dataset.PatientID, dataset.PatientName = patient_id, patient_name
            self._write(dataset, name, number)
            paths.append(folder / f"{number:03d}.dcm")
            dataset.save_as(paths[-1])
        return study, paths

    def _write(self, dataset: Dataset, name: str, number: int) -> None:
        dataset.SOPInstanceUID = self._uid(name, number)
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
