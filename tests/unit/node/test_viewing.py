"""What is made of a run for people to look at: once, after its results, and never at its cost."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from dicom_node.viewing import SPACE, VIEWS, Views
from pipeline.nifti import save_volume
from pipeline.study_space import StudySpace
from pipeline.volume import Grid, SeriesRole, Volume
from storage.database import Database, upgrade
from storage.files import FileStore
from storage.lifecycle import ScanEvent
from storage.scans import ScanRepository
from storage.studies import StudyRepository
from storage.vocabulary import Source

GRID = Grid(shape=(5, 6, 7), affine=np.diag([2.0, 2.0, 2.0, 1.0]))


class Case:
    def __init__(self, folder: Path) -> None:
        upgrade(f"sqlite:///{folder / 'node.sqlite'}")
        self.database = Database(f"sqlite:///{folder / 'node.sqlite'}")
        self.files = FileStore(folder / "root", min_free_bytes=0)
        self.scans = ScanRepository(self.database)
        scan = self.scans.create_upload(Source.UPLOAD_NIFTI, user_id=None, modalities=["T1CE", "FLAIR"])
        self.scans.apply_event(scan.id, ScanEvent.COMPLETE, "")
        self.run = self.scans.start_run(scan.id, ["a", "b"])
        self.folder = self.files.run_folder(self.run.id)
        ramp = np.arange(5 * 6 * 7, dtype=np.float32).reshape(GRID.shape)
        for role in ("t1ce", "flair"):
            save_volume(self.files.upload_folder(scan.id) / f"case_{role}.nii.gz", Volume(voxels=ramp, grid=GRID))
        told = {"reference_role": "T1CE", "reference_grid": {"shape": GRID.shape, "affine": GRID.affine.tolist()}}
        (self.folder / "report.json").write_text(json.dumps(told))
        space = StudySpace(
            to_series={SeriesRole.T1CE: np.eye(4), SeriesRole.FLAIR: np.eye(4)},
            brain=np.ones(GRID.shape, np.uint8),
            grid=GRID,
        )
        (self.folder / SPACE).write_bytes(space.to_bytes())
        self.waited = 0

    def make(self) -> None:
        def give_way() -> None:
            self.waited += 1

        studies = StudyRepository(self.database)
        Views(scans=self.scans, studies=studies, files=self.files, give_way=give_way).make(self.run.id)


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


def test_every_series_and_the_brain_are_written_once(case: Case) -> None:
    case.make()
    assert json.loads((case.folder / VIEWS).read_text()) == ["T1CE", "BRAIN", "FLAIR"]
    for name in ("t1ce", "flair", "brain"):
        image = nib.Nifti1Image.from_filename(case.folder / f"view-{name}.nii.gz")
        greys = np.asarray(image.dataobj)
        assert (greys.dtype, greys.shape, int(greys.max())) == (np.uint8, GRID.shape, 255)
        assert np.array_equal(image.affine, GRID.affine)
    waited = case.waited
    assert waited >= 1
    case.make()
    assert case.waited == waited


def test_a_run_whose_images_are_gone_stays_as_it_is(case: Case) -> None:
    for path in case.files.upload_folder(case.scans.run(case.run.id).scan_id).iterdir():
        path.unlink()
    case.make()
    assert not list(case.folder.glob("view*"))
