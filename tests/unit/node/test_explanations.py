"""The pictures that explain a run: made once, from what the run left, and never at its cost."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dicom_node.explanations import ATTENTION, TELLING, Explanations, telling_slices
from pipeline.models.protocols import Models
from pipeline.report import ModelIdentity, ReadSlice, Report, Stage
from pipeline.report_json import report_to_dict
from pipeline.volume import SeriesRole
from storage.errors import NotFound
from storage.files import FileStore
from tests.mr_series import mr_series
from tests.report_builders import full_report, report_without_models

GRID = mr_series().grid
SIZE = 28


class Model:
    """Answers by how bright the left half of a slice is."""

    roles = (SeriesRole.T1CE,)
    input_size = SIZE
    threshold = 0.5

    def __init__(self, identity: ModelIdentity, classes: tuple[str, ...]) -> None:
        self.identity, self.classes = identity, classes
        self.asked = 0

    def predict(self, slices: np.ndarray) -> np.ndarray:
        self.asked += 1
        first = 0.1 + 0.8 * slices[:, :, : SIZE // 2].mean(axis=(1, 2))
        rest = (1 - first[:, None]).repeat(len(self.classes) - 1, axis=1) / (len(self.classes) - 1)
        return np.concatenate([rest, first[:, None]], axis=1).astype(np.float32)


def telling_report() -> Report:
    report = full_report(GRID)
    read = ReadSlice(pixels=np.full((SIZE, SIZE), 0.5, np.float32), position_mm=12.34)
    return replace(
        report,
        detection=replace(report.detection, telling=read),
        tumour_type=replace(report.tumour_type, telling=read),
    )


@pytest.fixture
def files(tmp_path: Path) -> FileStore:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "manifest.json").write_text('{"models": []}')
    return FileStore(tmp_path / "root")


def left(files: FileStore, report: Report) -> Path:
    """The folder of a run that left this report."""
    slices = telling_slices(report)
    if slices is not None:
        files.write_result("run", TELLING, slices)
    files.write_result("run", "report.json", json.dumps(report_to_dict(report)).encode())
    return files.run_folder("run")


def models_of(report: Report) -> Models:
    return Models.of(
        detector=Model(report.detection.model, ("notumor", "tumor")),
        type_classifier=Model(report.tumour_type.model, ("meningioma", "pituitary", "glioma")),
    )


def explanations(
    files: FileStore,
    models: Models,
    give_way: object = None,
    write: Callable[[str, str, bytes], object] | None = None,
) -> Explanations:
    waits = give_way if callable(give_way) else lambda: None
    folder = files.root.parent / "models"
    return Explanations(
        files=files, models=lambda: models, models_folder=folder, write=write or files.write_result, give_way=waits
    )


def test_each_classifier_gets_a_picture_of_its_most_telling_slice(files: FileStore) -> None:
    report = telling_report()
    folder, models = left(files, report), models_of(report)
    waited: list[bool] = []
    explanations(files, models, lambda: waited.append(True)).explain("run")
    listed = json.loads((folder / ATTENTION).read_bytes())
    assert [(one["stage"], one["class"], one["role"], one["position_mm"]) for one in listed] == [
        ("detect", "tumor", "T1CE", 12.3),
        ("classify", "glioma", "T1CE", 12.3),
    ]
    assert {one["method"] for one in listed} == {"occlusion"}
    assert waited == [True, True]
    for one in listed:
        picture = np.asarray(Image.open(io.BytesIO((folder / one["file"]).read_bytes())))
        assert picture.shape == (SIZE, 2 * SIZE + 8, 3)
        shown = picture[:, SIZE + 8 :].astype(int)
        coloured = np.abs(shown[..., 0] - shown[..., 2]) > 10
        assert coloured[:, : SIZE // 2 - 2].all()
        assert not coloured[:, SIZE // 2 + 4 :].any()


def test_a_second_time_does_nothing(files: FileStore) -> None:
    report = telling_report()
    left(files, report)
    models = models_of(report)
    explanations(files, models).explain("run")
    asked = models.detector.asked  # type: ignore[union-attr]
    explanations(files, models).explain("run")
    assert models.detector.asked == asked  # type: ignore[union-attr]


def test_a_run_without_answers_leaves_no_slices_and_no_pictures(files: FileStore) -> None:
    report = report_without_models(GRID)
    assert telling_slices(report) is None
    folder = left(files, report)
    explanations(files, Models()).explain("run")
    assert not (folder / ATTENTION).exists()


def test_a_model_that_is_gone_is_left_out(files: FileStore) -> None:
    report = telling_report()
    folder = left(files, report)
    models = Models.of(detector=Model(report.detection.model, ("notumor", "tumor")))
    explanations(files, models).explain("run")
    assert [one["stage"] for one in json.loads((folder / ATTENTION).read_bytes())] == [Stage.DETECT]


def test_damaged_slices_cost_nothing(files: FileStore) -> None:
    report = telling_report()
    folder = left(files, report)
    (folder / TELLING).write_bytes(b"cut off")
    explanations(files, models_of(report)).explain("run")
    assert not (folder / ATTENTION).exists()


def test_a_run_that_was_erased_meanwhile_gets_no_picture(files: FileStore) -> None:
    report = telling_report()
    folder = left(files, report)

    def erased(run_id: str, name: str, data: bytes) -> None:
        raise NotFound("run", run_id)

    explanations(files, models_of(report), lambda: shutil.rmtree(folder, ignore_errors=True), erased).explain("run")
    assert not folder.exists()
    explanations(files, models_of(report)).explain("run")  # nor is its folder made again
    assert not folder.exists()
