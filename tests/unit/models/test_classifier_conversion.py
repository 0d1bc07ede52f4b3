"""A Keras classifier on ONNX Runtime: converted once, faithful, and the reference where anything is amiss."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import ConversionFailed, ModelUnusable
from pipeline.models import classifier_conversion
from pipeline.models.classifier_conversion import PARITY, convert, converted_file, parity_slices, read_parity
from pipeline.models.manifest import ManifestEntry, file_sha256
from pipeline.models.resnet50 import keep_beside, load_keras_classifier, optimise_keras_classifier
from pipeline.models.runtime_options import RuntimeOptions
from tests.tiny_onnx import tiny_onnx

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword"),
    # One conversion is 6 s of CPU, which a busy machine can make into minutes.
    pytest.mark.timeout(900),
]
SIZE = 32


def write_detector(path: Path) -> None:
    import keras
    from keras import layers

    image = keras.Input((SIZE, SIZE, 1))
    x = layers.Conv2D(4, 3, strides=2, kernel_initializer=keras.initializers.RandomNormal(1.0, seed=1))(image)
    x = layers.GlobalAveragePooling2D()(layers.ReLU()(layers.BatchNormalization()(x)))
    kernel = keras.initializers.RandomNormal(1.0, seed=2)
    keras.Model(image, layers.Dense(2, activation="softmax", kernel_initializer=kernel)(x)).save(path)


def entry_for(folder: Path, **changes: Any) -> ManifestEntry:
    values: dict[str, Any] = {"name": "tiny", "task": "detection", "file": "d.keras", "version": "1"}
    values |= {"format": "keras", "input_size": SIZE, "classes": ["notumor", "tumor"], "runtime": "onnxruntime"}
    return ManifestEntry.from_json(values | {"sha256": file_sha256(folder / "d.keras")} | changes)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with d.keras, and in cache/ its converted network: the one conversion of this module."""
    folder = tmp_path_factory.mktemp("made")
    write_detector(folder / "d.keras")
    changes = optimise_keras_classifier(entry_for(folder), folder, RuntimeOptions(cache=folder / "cache"))
    assert changes["runtime"] == "onnxruntime"
    assert changes["runtime_parity"]["max_difference"] <= PARITY
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of `made` to harm."""
    return Path(shutil.copytree(made, tmp_path / "models"))


@pytest.fixture
def no_conversion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier_conversion, "run_apart", lambda *_: pytest.fail("it was converted again"))


def difference_from_reference(folder: Path, entry: ManifestEntry, options: RuntimeOptions) -> float:
    model = load_keras_classifier(entry, folder, options)
    assert model.runtime_detail == "onnxruntime f32"
    reference = load_keras_classifier(entry_for(folder, runtime="reference"), folder)
    slices = np.random.default_rng(3).random((11, SIZE, SIZE)).astype(np.float32)
    return float(np.abs(model.predict(slices) - reference.predict(slices)).max())


@pytest.mark.usefixtures("no_conversion")
def test_it_answers_as_the_reference(folder: Path) -> None:
    options = RuntimeOptions(cache=folder / "cache", convert=False, threads=1)
    assert difference_from_reference(folder, entry_for(folder), options) < 1e-5


def test_a_worker_with_a_warm_cache_imports_no_tensorflow(folder: Path) -> None:
    entry = {"name": "tiny", "task": "detection", "file": "d.keras", "version": "1", "format": "keras"}
    entry |= {"input_size": SIZE, "classes": ["notumor", "tumor"], "runtime": "onnxruntime"}
    entry |= {"sha256": file_sha256(folder / "d.keras")}
    (folder / "manifest.json").write_text(json.dumps({"models": [entry]}))
    code = (
        "import sys, pathlib, numpy; from pipeline.models.catalogue import load_models\n"
        "from pipeline.models.runtime_options import RuntimeOptions\n"
        f"folder = pathlib.Path({str(folder)!r})\n"
        "models, statuses = load_models(folder, RuntimeOptions(cache=folder / 'cache', threads=1))\n"
        f"answers = models.detector.predict(numpy.zeros((3, {SIZE}, {SIZE}), numpy.float32))\n"
        "print(answers.shape, 'onnxruntime f32' in statuses[0].detail)\n"
        "print(sorted({'tensorflow', 'keras', 'tf_keras', 'torch', 'onnx'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.splitlines() == ["(3, 2) True", "[]"]


def other_network(folder: Path) -> dict[str, Any]:
    (cached,) = (folder / "cache").glob("*/*.onnx")
    tiny_onnx(cached, size=8)
    hashes = json.loads((cached.parent / "sha256.json").read_text())
    (cached.parent / "sha256.json").write_text(json.dumps(hashes | {cached.name: file_sha256(cached)}))
    return {}


def swapped(folder: Path) -> dict[str, Any]:
    (cached,) = (folder / "cache").glob("*/*.onnx")
    cached.write_bytes(cached.read_bytes()[:-1])
    return {}


def empty_cache(folder: Path) -> dict[str, Any]:
    shutil.rmtree(folder / "cache")
    return {}


def unwritable(folder: Path) -> dict[str, Any]:
    shutil.rmtree(folder / "cache")
    (folder / "cache").write_text("a file")
    return {}


def absent_runtime_file(folder: Path) -> dict[str, Any]:
    return {"runtime_file": "d.onnx", "runtime_sha256": "0" * 64}


def outside_runtime_file(folder: Path) -> dict[str, Any]:
    tiny_onnx(folder.parent / "d.onnx")
    return {"runtime_file": "../d.onnx", "runtime_sha256": file_sha256(folder.parent / "d.onnx")}


def swapped_runtime_file(folder: Path) -> dict[str, Any]:
    keys = keep_beside(entry_for(folder), folder, RuntimeOptions(cache=folder / "cache"))
    tiny_onnx(folder / "d.onnx")
    return {**keys, "runtime_parity": {"weights_sha256": file_sha256(folder / "d.keras")}}


def runtime_file_of_other_weights(folder: Path) -> dict[str, Any]:
    keys = keep_beside(entry_for(folder), folder, RuntimeOptions(cache=folder / "cache"))
    return {**keys, "runtime_parity": {"weights_sha256": "1" * 64}}


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (empty_cache, "not converted yet"),
        (swapped, "not converted yet"),
        (other_network, "names 2 classes"),
        (unwritable, "the cache cannot be used"),
        (absent_runtime_file, "'d.onnx' is not in the models folder"),
        (outside_runtime_file, "'../d.onnx' is not in the models folder"),
        (swapped_runtime_file, "another hash than runtime_sha256"),
        (runtime_file_of_other_weights, "made from other weights"),
        (lambda folder: {"runtime": "openvino"}, "openvino serves no classifier"),
    ],
)
def test_where_the_converted_network_cannot_be_trusted_the_reference_serves_and_says_why(
    folder: Path, harm: Callable[[Path], dict[str, Any]], says: str
) -> None:
    entry = entry_for(folder, **harm(folder))
    model = load_keras_classifier(entry, folder, RuntimeOptions(cache=folder / "cache", convert=False))
    assert model.runtime_detail.startswith("reference (tensorflow), not ")
    assert says in model.runtime_detail
    assert model.predict(np.zeros((1, SIZE, SIZE), np.float32)).shape == (1, 2)


def test_without_a_cache_folder_nothing_is_converted(folder: Path) -> None:
    assert "no cache folder" in load_keras_classifier(entry_for(folder), folder).runtime_detail


@pytest.mark.usefixtures("no_conversion")
def test_a_converted_file_kept_beside_the_weights_serves_without_a_cache(folder: Path) -> None:
    options = RuntimeOptions(cache=folder / "cache")
    keys = {
        **keep_beside(entry_for(folder), folder, options),
        **optimise_keras_classifier(entry_for(folder), folder, options),
    }
    assert keys["runtime_file"] == "d.onnx"
    assert difference_from_reference(folder, entry_for(folder, **keys), RuntimeOptions()) < 1e-5


def test_a_network_that_answers_otherwise_is_not_taken(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tf2onnx

    def other(*_: Any, output_path: str, **__: Any) -> None:
        tiny_onnx(Path(output_path), size=SIZE, outputs=2)

    monkeypatch.setattr(tf2onnx.convert, "from_function", other)
    with pytest.raises(ConversionFailed, match="its probabilities differ by"):
        convert(entry_for(folder), folder, tmp_path / "x.onnx")


def test_a_network_that_cannot_be_converted_keeps_its_reference(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tf2onnx

    monkeypatch.setattr(tf2onnx.convert, "from_function", lambda *_, **__: 1 / 0)
    with pytest.raises(ConversionFailed, match=r"cannot be converted to ONNX .ZeroDivisionError"):
        convert(entry_for(folder), folder, tmp_path / "x.onnx")


def test_what_the_converting_process_finds_is_raised_here(folder: Path) -> None:
    wrong = entry_for(folder, sha256="0" * 64)
    with pytest.raises(ModelUnusable, match=r"model 'tiny': .* has SHA-256"):
        converted_file(wrong, folder, RuntimeOptions(cache=folder / "cache"))
    assert not [path for path in (folder / "cache").iterdir() if path.is_dir() and path.name.startswith("0" * 64)]


@pytest.mark.usefixtures("no_conversion")
def test_a_damaged_original_is_refused_although_its_conversion_is_there(folder: Path) -> None:
    entry = entry_for(folder)
    (folder / "d.keras").write_bytes((folder / "d.keras").read_bytes()[:-7])
    with pytest.raises(ModelUnusable, match="SHA-256"):
        load_keras_classifier(entry, folder, RuntimeOptions(cache=folder / "cache"))


def test_parity_is_measured_on_the_same_pictures_each_time(made: Path) -> None:
    assert np.array_equal(parity_slices(SIZE), parity_slices(SIZE))
    assert parity_slices(SIZE).shape == (18, SIZE, SIZE)
    assert 0 <= parity_slices(20).min() <= parity_slices(20).max() <= 1
    (path,) = (made / "cache").glob("*/*.onnx")
    assert read_parity(path)["weights_sha256"] == file_sha256(made / "d.keras")
