"""A folder of labelled pictures, as a hospital would lay it out: one folder a class, an optional manifest.csv."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

NO_TUMOUR = "notumor"
#: A tumour of a kind nobody stated: judged for detection only.
UNSPECIFIED_TUMOUR = "tumor_unspecified"
CLASS_FOLDERS = ("glioma", "meningioma", "pituitary", NO_TUMOUR, UNSPECIFIED_TUMOUR)
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
UNKNOWN_DATASET = "unknown"


@dataclass(frozen=True, kw_only=True)
class LabelledImage:
    """One picture: its class folder, and what the manifest says of it. patient: the file's own name where unknown."""

    path: Path
    label: str
    dataset: str
    patient: str


def labelled_images(folder: Path) -> tuple[LabelledImage, ...]:
    """Every picture below `folder`/<class>/, in order of class and name.

    A manifest.csv in `folder` or its parent, with a column 'file' or 'path' relative to where it lies, gives 'dataset'
    and 'patient' (or 'group').

    Raises:
        FileNotFoundError: `folder` has none of the class folders, or no picture in them.
    """
    rows = _manifest_rows(folder)
    found = []
    for label in CLASS_FOLDERS:
        for path in sorted((folder / label).rglob("*")):
            if path.suffix.lower() not in SUFFIXES or not path.is_file():
                continue
            row = rows.get(path.resolve(), {})
            patient = row.get("patient") or row.get("group") or path.relative_to(folder).as_posix()
            found.append(
                LabelledImage(path=path, label=label, dataset=row.get("dataset") or UNKNOWN_DATASET, patient=patient)
            )
    if not found:
        raise FileNotFoundError(
            f"no pictures in {folder}: put them in folders named {', '.join(CLASS_FOLDERS)} ({', '.join(SUFFIXES)})"
        )
    return tuple(found)


def _manifest_rows(folder: Path) -> dict[Path, dict[str, str]]:
    for place in (folder, folder.resolve().parent):
        manifest = place / "manifest.csv"
        if manifest.is_file():
            with manifest.open(newline="", encoding="utf-8-sig") as text:
                rows = list(csv.DictReader(text))
            return {(place / (row.get("file") or row.get("path") or "")).resolve(): row for row in rows}
    return {}


def read_grey(path: Path) -> NDArray[np.float64]:
    """A picture file as (rows, columns) grey values in its own range; colour is turned into luminance.

    Raises:
        OSError: the file is no picture Pillow can read.
    """
    with Image.open(path) as picture:
        deep = picture.mode in ("I", "F") or picture.mode.startswith("I;16")
        return np.asarray(picture if deep else picture.convert("L"), np.float64)
