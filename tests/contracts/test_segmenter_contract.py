"""What every segmenter promises (`protocols.Segmenter`), asked of a sample of each kind of file.

A new kind of file is tested by a row in `tests.segmenter_samples.SAMPLES`; nothing is to be added here.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import InvalidVolume, ModelUnusable
from pipeline.models.catalogue import load_models
from pipeline.models.manifest import ManifestEntry, read_manifest
from pipeline.models.protocols import Segmenter
from pipeline.models.runtime_options import RuntimeOptions
from pipeline.models.segmenter_loading import load_segmenter
from pipeline.models.training.release import register
from pipeline.volume import Grid
from tests.segmenter_samples import SAMPLES, manifest_entry

SHAPE = (22, 18, 20)


@pytest.fixture(scope="module", params=SAMPLES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    register(folder, manifest_entry(SAMPLES[request.param](folder)))
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> Segmenter:
    models, _ = load_models(folder)
    assert models.segmenter is not None, models.unavailable
    return models.segmenter


def image() -> np.ndarray:
    image = np.zeros((4, *SHAPE), np.float32)
    image[:, 6:16, 6:14, 6:15] = np.random.default_rng(0).normal(size=(4, 10, 8, 9))
    return image


def grid() -> Grid:
    return Grid(shape=SHAPE, affine=np.eye(4))


def test_it_says_who_it_is(model: Segmenter) -> None:
    assert isinstance(model, Segmenter)
    assert (model.identity.name, model.identity.version, model.identity.task) == ("sample", "3", "segmentation")
    assert len(model.identity.weights_sha256) == 64
    assert model.spacing_mm == 1.0


def test_three_probabilities_for_each_voxel(model: Segmenter) -> None:
    done: list[float] = []
    given = image()
    answer = model.segment(given, grid(), done.append)
    assert answer.shape == (3, *SHAPE)
    assert answer.dtype == np.float32
    assert 0 <= answer.min() < answer.max() <= 1
    assert done[-1] == 1.0
    np.testing.assert_array_equal(given, image())
    np.testing.assert_array_equal(answer, model.segment(image(), grid()))


def test_outside_the_brain_there_is_nothing(model: Segmenter) -> None:
    assert not model.segment(image(), grid())[:, :2].any()
    assert not model.segment(np.zeros((4, *SHAPE), np.float32), grid()).any()


def test_wrong_input_is_refused(model: Segmenter) -> None:
    with pytest.raises(InvalidVolume, match="wants"):
        model.segment(image()[:3], grid())
    with pytest.raises(InvalidVolume, match="NaN"):
        model.segment(np.full((4, *SHAPE), np.nan, np.float32), grid())


def test_another_hash_is_refused_by_name_before_the_file_is_opened(folder: Path) -> None:
    entry = replace(ManifestEntry.from_json(read_manifest(folder)[0]), sha256="f" * 64)
    with pytest.raises(ModelUnusable, match=f"'{entry.file}' has SHA-256 .* the manifest says ffffffffffff"):
        load_segmenter(entry, folder)


def test_half_a_file_is_refused_by_name(folder: Path, tmp_path: Path) -> None:
    values = dict(read_manifest(folder)[0])
    source = folder / values["file"]
    files = sorted(path for path in (source.rglob("*") if source.is_dir() else [source]) if path.is_file())
    for broken in files:
        for path in files:
            copy = tmp_path / broken.name / path.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            content = path.read_bytes()
            copy.write_bytes(content[: len(content) // 2] if path == broken else content)
        register(tmp_path / broken.name, values)
        models, (status,) = load_models(tmp_path / broken.name)
        assert models.segmenter is None
        assert not status.ok
        assert broken.name in status.detail


def test_a_faster_runtime_without_a_cache_is_said_and_not_used(folder: Path) -> None:
    entry = replace(ManifestEntry.from_json(read_manifest(folder)[0]), runtime="openvino")
    segmenter = load_segmenter(entry, folder, RuntimeOptions(cache=None))
    assert segmenter.runtime_detail.startswith("reference: ")
    assert "no cache folder" in segmenter.runtime_detail
