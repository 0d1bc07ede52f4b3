"""What is made of a run for people to look at: once, after its results, and never at its cost."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from dicom_node.late_files import write_late
from dicom_node.viewing import SPACE, VIEWS, Views
from pipeline.nifti import save_volume
from pipeline.study_space import StudySpace
from pipeline.volume import Grid, SeriesRole, Volume
from storage.database import Database, upgrade
from storage.erasing import erase
from storage.errors import NotFound
from storage.files import FileStore
from storage.lifecycle import ScanEvent
from storage.scan_care import ScanCareRepository
from storage.scans import ScanRepository
from storage.studies import StudyRepository
from storage.vocabulary import RunState, Source

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

    def make(self, while_waiting: Callable[[], object] = lambda: None) -> None:
        def give_way() -> None:
            self.waited += 1
            while_waiting()

        studies, write = StudyRepository(self.database), partial(write_late, self.scans, self.files)
        views = Views(scans=self.scans, studies=studies, files=self.files, write=write, give_way=give_way)
        views.make(self.run.id)

    def erase(self) -> None:
        scan_id = self.run.scan_id
        for event in (ScanEvent.ANALYSED, ScanEvent.REPORTED, ScanEvent.DELIVERED):
            self.scans.apply_event(scan_id, event)
        self.scans.finish_run(self.run.id, RunState.DONE)
        ScanCareRepository(self.database).delete(scan_id, "ada")
        erase(self.database, self.files, scan_id, "ada")


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


@pytest.mark.parametrize("waits", [1, 2, 4])
def test_nothing_is_written_of_a_scan_that_is_erased_while_it_waits(case: Case, waits: int) -> None:
    def erased_meanwhile() -> None:
        if case.waited == waits:
            case.erase()

    case.make(erased_meanwhile)
    assert case.waited == waits
    assert not case.folder.exists()
    case.make()
    assert not case.folder.exists()


def test_what_is_written_just_after_the_rows_went_is_removed_again(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    write = case.files.write_result

    def erased_before(run_id: str, name: str, data: bytes) -> str:
        case.erase()
        return write(run_id, name, data)

    monkeypatch.setattr(case.files, "write_result", erased_before)
    with pytest.raises(NotFound):
        write_late(case.scans, case.files, case.run.id, "view.nii.gz", b"a brain")
    assert not case.folder.exists()


def test_what_is_written_just_before_the_rows_go_goes_with_them(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    remove, late = case.files.remove_folder, [b"a brain"]

    def written_behind(relative: str) -> None:
        remove(relative)
        while late and relative.startswith("results/"):
            write_late(case.scans, case.files, case.run.id, "view.nii.gz", late.pop())
            assert case.folder.exists()

    monkeypatch.setattr(case.files, "remove_folder", written_behind)
    case.erase()
    assert late == []
    assert not case.folder.exists()
