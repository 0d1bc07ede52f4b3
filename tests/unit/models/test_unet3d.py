from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.errors import InvalidVolume, ModelUnusable
from pipeline.models.manifest import ManifestEntry, read_manifest
from pipeline.models.protocols import Segmenter
from pipeline.models.unet3d import load_torch_segmenter
from pipeline.models.unet3d_network import UNet3d, build_unet3d
from pipeline.models.unet3d_plan import NetworkPlan
from pipeline.volume import Grid

PLAN = NetworkPlan(base=2, stages=3, convolutions=1)
FILE = "tiny.pth"


def _network(seed: int = 0, plan: NetworkPlan = PLAN) -> UNet3d:
    torch.manual_seed(seed)
    return build_unet3d(plan).eval()


def _entry(folder: Path, **changes: object) -> ManifestEntry:
    path = folder / FILE
    entry = ManifestEntry(
        name="tiny",
        task="segmentation",
        file=FILE,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "0" * 64,
        version="1",
        format="torch-state-dict",
        input_size=(32, 32, 32),
        regions=("WT", "TC", "ET"),
        channels=("T1", "T1CE", "T2", "FLAIR"),
        spacing_mm=1.5,
        architecture={"base": 2, "stages": 3, "convolutions": 1},
    )
    return replace(entry, **changes)  # type: ignore[arg-type]


def _save(folder: Path, content: object) -> ManifestEntry:
    torch.save(content, folder / FILE)
    return _entry(folder)


def _grid(shape: tuple[int, int, int]) -> Grid:
    return Grid(shape=shape, affine=np.diag([1.5, 1.5, 1.5, 1.0]))


def _image(shape: tuple[int, int, int]) -> np.ndarray:
    image = np.zeros((4, *shape), np.float32)
    image[:, 5:-5, 5:-5, 5:-5] = np.random.default_rng(0).normal(size=(4, *(side - 10 for side in shape)))
    return image


def test_segmenter_gives_three_probabilities_a_voxel_and_reports_progress(tmp_path: Path) -> None:
    segmenter = load_torch_segmenter(_save(tmp_path, _network().state_dict()), tmp_path)
    assert isinstance(segmenter, Segmenter)
    assert segmenter.spacing_mm == 1.5
    assert segmenter.identity.weights_sha256 == hashlib.sha256((tmp_path / FILE).read_bytes()).hexdigest()
    done: list[float] = []
    answer = segmenter.segment(_image((60, 40, 30)), _grid((60, 40, 30)), done.append)
    assert answer.shape == (3, 60, 40, 30)
    assert answer.dtype == np.float32
    assert 0 <= answer.min() <= answer.max() <= 1
    assert len(done) > 1
    assert done[-1] == 1.0


def test_answer_is_the_networks_own_on_one_window(tmp_path: Path) -> None:
    network = _network()
    segmenter = load_torch_segmenter(_save(tmp_path, network.state_dict()), tmp_path)
    image = np.random.default_rng(1).normal(size=(4, 16, 16, 16)).astype(np.float32)
    with torch.inference_mode():
        expected = torch.sigmoid(network(torch.from_numpy(image)[None]))[0].numpy()
    assert np.allclose(segmenter.segment(image, _grid((16, 16, 16))), expected, atol=1e-6)


def test_half_precision_weights_and_a_nested_state_dict_load(tmp_path: Path) -> None:
    half = {name: value.half() for name, value in _network().state_dict().items()}
    segmenter = load_torch_segmenter(_save(tmp_path, {"state_dict": half}), tmp_path)
    assert np.isfinite(segmenter.segment(_image((20, 20, 20)), _grid((20, 20, 20)))).all()


def test_channels_and_regions_in_another_order_are_put_right(tmp_path: Path) -> None:
    network = _network()
    image = np.random.default_rng(1).normal(size=(4, 16, 16, 16)).astype(np.float32)
    plain = load_torch_segmenter(_save(tmp_path, network.state_dict()), tmp_path)
    entry = replace(_entry(tmp_path), channels=("FLAIR", "T1", "T2", "T1CE"), regions=("ET", "WT", "TC"))
    other = load_torch_segmenter(entry, tmp_path)
    in_its_order = image[[3, 0, 2, 1]]
    expected = plain.segment(in_its_order, _grid((16, 16, 16)))
    assert np.allclose(other.segment(image, _grid((16, 16, 16))), expected[[1, 2, 0]], atol=1e-6)


def test_outside_the_brain_there_is_nothing(tmp_path: Path) -> None:
    segmenter = load_torch_segmenter(_save(tmp_path, _network().state_dict()), tmp_path)
    image = np.zeros((4, 40, 40, 40), np.float32)
    assert not segmenter.segment(image, _grid((40, 40, 40))).any()
    image[3, 20:24, 20:24, 20:24] = 1.0
    answer = segmenter.segment(image, _grid((40, 40, 40)))
    assert answer[:, 20:24, 20:24, 20:24].any()
    assert not answer[:, :10].any()


def test_a_file_of_full_width_loads_by_its_entry_alone(tmp_path: Path) -> None:
    plan = NetworkPlan(base=32, stages=5)
    entry = _save(tmp_path, {name: value.half() for name, value in _network(plan=plan).state_dict().items()})
    entry = replace(entry, architecture={"base": 32, "stages": 5}, input_size=(128, 128, 128))
    assert load_torch_segmenter(entry, tmp_path).identity.name == "tiny"


@pytest.mark.parametrize("shape", [(3, 16, 16, 16), (4, 16, 16, 15), (16, 16, 16)])
def test_input_of_another_shape_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    segmenter = load_torch_segmenter(_save(tmp_path, _network().state_dict()), tmp_path)
    with pytest.raises(InvalidVolume, match="the segmenter wants"):
        segmenter.segment(np.zeros(shape, np.float32), _grid((16, 16, 16)))


def test_input_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    segmenter = load_torch_segmenter(_save(tmp_path, _network().state_dict()), tmp_path)
    with pytest.raises(InvalidVolume, match="NaN"):
        segmenter.segment(np.full((4, 16, 16, 16), np.nan, np.float32), _grid((16, 16, 16)))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelUnusable, match="missing"):
        load_torch_segmenter(_entry(tmp_path), tmp_path)


def test_empty_file(tmp_path: Path) -> None:
    (tmp_path / FILE).touch()
    with pytest.raises(ModelUnusable, match="empty"):
        load_torch_segmenter(_entry(tmp_path), tmp_path)


def test_another_hash_is_refused_before_the_file_is_opened(tmp_path: Path) -> None:
    entry = replace(_save(tmp_path, _network().state_dict()), sha256="f" * 64)
    with pytest.raises(ModelUnusable, match="manifest says ffffffffffff"):
        load_torch_segmenter(entry, tmp_path)


def test_truncated_file(tmp_path: Path) -> None:
    _save(tmp_path, _network().state_dict())
    path = tmp_path / FILE
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ModelUnusable, match="damaged"):
        load_torch_segmenter(_entry(tmp_path), tmp_path)


def test_text_in_place_of_weights(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("version https://example.org/pointer")
    with pytest.raises(ModelUnusable, match="damaged"):
        load_torch_segmenter(_entry(tmp_path), tmp_path)


class _Payload:
    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (self.folder,)


def test_a_file_that_carries_code_is_refused_and_nothing_runs(tmp_path: Path) -> None:
    entry = _save(tmp_path, {"weights": _Payload(str(tmp_path / "ran"))})
    with pytest.raises(ModelUnusable, match="more than weights"):
        load_torch_segmenter(entry, tmp_path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [{"epoch": 3}, [1, 2], {"state_dict": {"a": "b"}}])
def test_a_file_without_a_state_dict(tmp_path: Path, content: object) -> None:
    with pytest.raises(ModelUnusable, match="no state dict"):
        load_torch_segmenter(_save(tmp_path, content), tmp_path)


def test_weights_of_one_channel_name_the_layer_and_both_shapes(tmp_path: Path) -> None:
    one = _network(plan=NetworkPlan(base=2, stages=3, convolutions=1, in_channels=1))
    with pytest.raises(ModelUnusable, match=r"encoder\.0\.0\.weight is \(2, 1, 3, 3, 3\), not \(2, 4, 3, 3, 3\)"):
        load_torch_segmenter(_save(tmp_path, one.state_dict()), tmp_path)


def test_weights_that_lack_a_layer(tmp_path: Path) -> None:
    weights = _network().state_dict()
    del weights["heads.0.bias"]
    with pytest.raises(ModelUnusable, match=r"heads\.0\.bias is missing"):
        load_torch_segmenter(_save(tmp_path, weights), tmp_path)


def test_weights_that_are_not_finite(tmp_path: Path) -> None:
    weights = _network().state_dict()
    weights["heads.0.bias"][0] = torch.nan
    with pytest.raises(ModelUnusable, match="NaN or infinite"):
        load_torch_segmenter(_save(tmp_path, weights), tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": ("T1", "T1CE", "T2")}, "channels"),
        ({"channels": ("T1", "T1CE", "T2", "DWI")}, "channels"),
        ({"regions": ("WT", "TC")}, "regions"),
        ({"spacing_mm": None}, "spacing_mm"),
        ({"input_size": (128,)}, "input_size"),
        ({"input_size": (30, 32, 32)}, "multiples of 4"),
        ({"architecture": {"base": 2, "depth": 3}}, "depth"),
        ({"architecture": {"base": 2, "stages": 3, "convolutions": 1, "out_channels": 4}}, "gives 4 regions"),
    ],
)
def test_an_entry_that_cannot_be(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    entry = replace(_save(tmp_path, _network().state_dict()), **changes)
    with pytest.raises(ModelUnusable, match=message):
        load_torch_segmenter(entry, tmp_path)


def test_a_network_that_overflows_is_refused(tmp_path: Path) -> None:
    weights = _network().state_dict()
    weights["heads.0.weight"].fill_(3e38)
    with pytest.raises(ModelUnusable, match="to a probe input its network gives NaN or infinite"):
        load_torch_segmenter(_save(tmp_path, weights), tmp_path)


def test_fewer_channels_are_read_where_the_entry_says_so(tmp_path: Path) -> None:
    network = _network(plan=NetworkPlan(base=2, stages=3, convolutions=1, in_channels=2))
    entry = replace(
        _save(tmp_path, network.state_dict()),
        channels=("FLAIR", "T1CE"),
        architecture={"base": 2, "stages": 3, "convolutions": 1, "in_channels": 2},
    )
    image = np.random.default_rng(1).normal(size=(4, 16, 16, 16)).astype(np.float32)
    with torch.inference_mode():
        expected = torch.sigmoid(network(torch.from_numpy(image[[3, 1]])[None]))[0].numpy()
    answer = load_torch_segmenter(entry, tmp_path).segment(image, _grid((16, 16, 16)))
    assert np.allclose(answer, expected, atol=1e-6)


def test_the_released_segmenter_loads_and_its_card_is_there() -> None:
    models = Path(__file__).resolve().parents[3] / "models"
    released = [values for values in read_manifest(models) if values["task"] == "segmentation"]
    assert released
    for values in released:
        segmenter = load_torch_segmenter(ManifestEntry.from_json(values), models)
        image = _image((40, 40, 40))
        assert segmenter.segment(image, _grid((40, 40, 40))).shape == (3, 40, 40, 40)
        card = (models / values["card"]).read_text()
        assert values["version"] in card
        assert "research only" in card
