"""Write a phantom study as DICOM files and say what is in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from dicom_node.phantom.classic import classic_objects
from dicom_node.phantom.enhanced import enhanced_object
from dicom_node.phantom.secondary_capture import capture_object
from dicom_node.phantom.series import Clutter, PhantomSeries
from dicom_node.phantom.study import PhantomStudy
from pipeline.volume import SeriesRole, Volume


@dataclass(frozen=True, kw_only=True, eq=False)
class WrittenSeries:
    """One series on disk and the truth about it.

    paths, sop_instance_uids: by stack, then slice k ascending; one entry for an enhanced or captured object.
    volume: what a reader must get (the first stack); None for a screenshot. motion: head to scanner, RAS mm, (4, 4).
    """

    role: SeriesRole | None
    clutter: Clutter | None
    description: str
    study_instance_uid: str
    series_instance_uid: str
    frame_of_reference_uid: str | None
    sop_class_uid: str
    paths: tuple[Path, ...]
    sop_instance_uids: tuple[str, ...]
    volume: Volume | None
    motion: NDArray[np.float64]


def objects_of(study: PhantomStudy, series: PhantomSeries) -> Iterator[Dataset]:
    """The series' objects with file meta, ordered as WrittenSeries.paths; no file is touched."""
    if series.screenshot is not None:
        yield capture_object(study, series)
    elif study.enhanced:
        yield enhanced_object(study, series)
    else:
        for _, _, ds in classic_objects(study, series):
            yield ds


def write_study(folder: Path, study: PhantomStudy) -> list[WrittenSeries]:
    """Write every object of the study below `folder`, a folder a series, files named by InstanceNumber.

    Ordered by series number. The same study gives the same bytes.
    """
    written: list[WrittenSeries] = []
    for series in study.series:
        target = folder / f"{series.number:04d}"
        target.mkdir(parents=True, exist_ok=True)
        paths: list[Path] = []
        uids: list[str] = []
        sop_class = ""
        for ds in objects_of(study, series):
            path = target / f"IM{int(ds.InstanceNumber):05d}.dcm"
            ds.save_as(path, enforce_file_format=True)
            paths.append(path)
            uids.append(str(ds.SOPInstanceUID))
            sop_class = str(ds.SOPClassUID)
        written.append(
            WrittenSeries(
                role=series.role,
                clutter=series.clutter,
                description=series.description,
                study_instance_uid=study.study_instance_uid,
                series_instance_uid=series.series_instance_uid,
                frame_of_reference_uid=study.frame_of_reference_uid if series.stacks else None,
                sop_class_uid=sop_class,
                paths=tuple(paths),
                sop_instance_uids=tuple(uids),
                volume=series.volume if series.stacks else None,
                motion=series.motion,
            )
        )
    return written
