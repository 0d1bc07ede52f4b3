"""Segmenters through OpenVINO: the same answers, the gate, the way back to the reference, and no word to anybody."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import ConversionFailed
from pipeline.models import segmenter_conversion
from pipeline.models.manifest import ManifestEntry, file_sha256
from pipeline.models.runtime_options import RuntimeOptions
from pipeline.models.segmenter_conversion import PARITY, SAME_DECISIONS, convert, read_parity
from pipeline.models.segmenter_loading import load_segmenter
from pipeline.models.segmenter_openvino import supports_bf16
from pipeline.volume import Grid
from tests.segmenter_samples import SAMPLES, manifest_entry, write_onnx, write_torch

SHAPE = (30, 22, 20)


def _entry(folder: Path, sample: str = "torch-state-dict", **changes: object) -> ManifestEntry:
    values = manifest_entry(SAMPLES[sample](folder), runtime="openvino", **changes)
    return ManifestEntry.from_json(values | {"sha256": file_sha256(folder / values["file"])})


def _image() -> np.ndarray:
    return np.random.default_rng(3).normal(size=(4, *SHAPE)).astype(np.float32)


def _grid() -> Grid:
    return Grid(shape=SHAPE, affine=np.eye(4))


def test_converted_once_in_another_process_and_served_from_the_cache(tmp_path: Path) -> None:
    entry = _entry(tmp_path)
    options = RuntimeOptions(cache=tmp_path / "cache", threads=1)
    segmenter = load_segmenter(entry, tmp_path, options)
    assert segmenter.runtime_detail.startswith("openvino f32 (outputs within")
    reference = load_segmenter(replace(entry, runtime="reference"), tmp_path, options)
    expected = reference.segment(_image(), _grid())
    np.testing.assert_allclose(segmenter.segment(_image(), _grid()), expected, atol=1e-3)
    again = load_segmenter(entry, tmp_path, replace(options, convert=False))
    assert again.runtime_detail == segmenter.runtime_detail


@pytest.mark.parametrize("sample", ["nnunet-v2, regions", "torchscript", "onnx, softmax"])
def test_every_format_converts_within_the_gate(tmp_path: Path, sample: str) -> None:
    entry = _entry(tmp_path, sample)
    (tmp_path / "out").mkdir()
    convert(entry, tmp_path, tmp_path / "out" / "net.xml")
    parity = read_parity(tmp_path / "out" / "net.xml")
    assert parity["weights_sha256"] == entry.sha256
    assert parity["max_difference"] <= PARITY
    assert parity["same_decisions"] >= SAME_DECISIONS


def test_the_gate_keeps_out_what_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = _entry(tmp_path, "onnx, sigmoid")
    faithful = segmenter_conversion.openvino_run

    def unfaithful(path: Path, **settings: object) -> object:
        run = faithful(path, **settings)  # type: ignore[arg-type]
        return lambda window: run(window) + np.float32(0.02)

    monkeypatch.setattr(segmenter_conversion, "openvino_run", unfaithful)
    with pytest.raises(ConversionFailed, match=r"outputs differ by 2\.0e-02 .* 1e-02 and 99\.99% are asked for"):
        convert(entry, tmp_path, tmp_path / "net.xml")


@pytest.mark.parametrize(
    ("options", "changes", "why"),
    [
        (RuntimeOptions(), {}, "no cache folder"),
        (RuntimeOptions(cache=Path("CACHE"), convert=False), {}, "not converted yet"),
        (RuntimeOptions(), {"runtime": "onnxruntime"}, "'onnxruntime' does not run the format 'torch-state-dict'"),
    ],
)
def test_the_reference_serves_and_says_why(
    tmp_path: Path, options: RuntimeOptions, changes: dict[str, str], why: str
) -> None:
    entry = replace(_entry(tmp_path), **changes)  # type: ignore[arg-type]
    options = replace(options, cache=options.cache and tmp_path / options.cache)
    segmenter = load_segmenter(entry, tmp_path, options)
    assert segmenter.runtime_detail.startswith("reference: torch on ")
    assert why in segmenter.runtime_detail
    assert segmenter.segment(_image(), _grid()).shape == (3, *SHAPE)


@pytest.mark.parametrize(
    ("parity", "told"),
    [
        ({}, "openvino f32, as bf16 was not tried on labelled cases with these weights"),
        ({"dice_difference": 0.001, "weights_sha256": "0" * 64}, "openvino f32, as bf16 was not tried"),
        ({"dice_difference": 0.004}, "openvino f32, as bf16 changes the Dice by 0.0040"),
        ({"dice_difference": 0.0015}, "openvino bf16 ("),
    ],
)
def test_bf16_only_where_labelled_cases_of_these_weights_allow_it(
    tmp_path: Path, parity: dict[str, object], told: str
) -> None:
    if told.startswith("openvino bf16") and not supports_bf16():
        told = "openvino f32, as this CPU has no bf16"
    entry = _entry(tmp_path, "onnx, sigmoid")
    entry = replace(entry, runtime_precision="bf16", runtime_parity={"weights_sha256": entry.sha256} | parity)
    options = RuntimeOptions(cache=tmp_path / "cache")
    folder = tmp_path / "converted"
    folder.mkdir()
    # The conversion itself is another test's: here it happens in this process, which is quicker.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            segmenter_conversion, "run_apart", lambda module, entry, folder, path: convert(entry, folder, path)
        )
        assert load_segmenter(entry, tmp_path, options).runtime_detail.startswith(told)


_LISTENS = """
import sys
from dataclasses import replace
from pathlib import Path
tried = []
def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.sendmsg"):
        tried.append((event, arguments))
sys.addaudithook(watch)
from pipeline.models.manifest import ManifestEntry, read_manifest
from pipeline.models.runtime_options import RuntimeOptions
from pipeline.models.segmenter_conversion import convert
from pipeline.models.segmenter_loading import load_segmenter
folder = Path(sys.argv[1])
entry = ManifestEntry.from_json(read_manifest(folder)[0])
(folder / "out").mkdir()
convert(entry, folder, folder / "out" / "net.xml")
assert "openvino" in sys.modules and "openvino.tools.ovc.convert_impl" in sys.modules
assert sys.modules["openvino_telemetry"] is None
import openvino.tools.ovc.telemetry_utils as told
assert told.tm.__name__.endswith("telemetry_stub")
print(tried)
"""


def test_openvino_is_imported_without_its_telemetry_and_no_host_is_looked_up(tmp_path: Path) -> None:
    from pipeline.models.training.release import register

    register(tmp_path, manifest_entry(write_torch(tmp_path)))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _LISTENS, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_openvino_is_not_used_once_its_telemetry_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import types

    part = write_onnx(tmp_path)
    values = manifest_entry(part, runtime="openvino")
    entry = ManifestEntry.from_json(values | {"sha256": file_sha256(tmp_path / "tiny.onnx")})
    options = RuntimeOptions(cache=tmp_path / "cache")
    load_segmenter(entry, tmp_path, options)
    monkeypatch.setitem(sys.modules, "openvino_telemetry", types.ModuleType("openvino_telemetry"))
    segmenter = load_segmenter(entry, tmp_path, options)
    assert segmenter.runtime_detail.startswith("reference: onnxruntime f32; OpenVinoRefused")
