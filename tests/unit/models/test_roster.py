"""From manifest entries to the models of a node: modes, order, ensembles, what is said of each, and the digest."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.models.manifest import ManifestEntry
from pipeline.models.protocols import Acquisition, ModelMode, Models
from pipeline.models.roster import Loaded, Place, answer_digest, assemble
from pipeline.report import ModelIdentity
from pipeline.volume import SeriesRole


class Regions:
    def __init__(self, entry: ManifestEntry) -> None:
        self.identity = ModelIdentity(
            name=entry.name, version=entry.version, task=entry.task, weights_sha256=entry.sha256
        )
        self.spacing_mm = entry.spacing_mm or 1.0

    def segment(self, image: Any, grid: Any, progress: Any = None) -> Any:
        return np.zeros((3, *grid.shape), np.float32)


def loaded(name: str, **keys: Any) -> Loaded:
    values = {
        "name": name,
        "task": "segmentation",
        "file": f"{name}.pth",
        "sha256": f"{ord(name[0]):064x}",
        "version": "1",
        "format": "torch-state-dict",
        "input_size": [128, 128, 128],
    }
    entry = ManifestEntry.from_json(values | keys)
    return Loaded(entry=entry, model=Regions(entry))


def assembled(*models: Loaded) -> tuple[Models, tuple[Place, ...]]:
    return assemble(models, {})


def test_modes_and_conditions_come_from_the_manifest() -> None:
    models, places = assembled(
        loaded("a", needs=["FLAIR"], acquisition=["2d"]), loaded("b", mode="shadow"), loaded("c", mode="ab", share=0.25)
    )
    a, b, c = models.segmenters
    assert (a.mode, a.needs, a.acquisition) == (ModelMode.ACTIVE, (SeriesRole.FLAIR,), (Acquisition.SLICES,))
    assert (b.mode, c.mode, c.share) == (ModelMode.SHADOW, ModelMode.AB, 0.25)
    assert models.segmenter is a.model
    assert [place.part for place in places] == [
        "active",
        "shadow: runs beside, is recorded, never sent",
        "ab: answers 25% of the studies where it fits",
    ]


def test_an_ensemble_stands_where_its_first_member_stands() -> None:
    models, places = assembled(loaded("a", ensemble="two"), loaded("b"), loaded("c", ensemble="two"))
    assert [one.model.identity.name for one in models.segmenters] == ["two: a + c", "b"]
    assert "averaged" in places[2].part
    assert all(place.ok for place in places)


def test_a_member_that_does_not_fit_is_left_out_by_name() -> None:
    models, places = assembled(loaded("a", ensemble="x"), loaded("b", ensemble="x", spacing_mm=2.0))
    assert [one.model.identity.name for one in models.segmenters] == ["a"]
    assert [place.ok for place in places] == [True, False]
    assert "model 'b'" in places[1].part


def test_a_shadow_member_is_no_member() -> None:
    models, _ = assembled(loaded("a", ensemble="x"), loaded("b", ensemble="x", mode="shadow"))
    assert [one.model.identity.name for one in models.segmenters] == ["a", "b"]


def test_shadow_models_change_no_digest_and_every_other_rule_does() -> None:
    def digest(*models: Loaded) -> str:
        return answer_digest(assembled(*models)[0])

    alone = digest(loaded("a"))
    assert alone.startswith(f"segmentation:{ord('a'):064x}")
    assert digest(loaded("a"), loaded("b", mode="shadow")) == alone
    others = {
        digest(loaded("a"), loaded("b")),
        digest(loaded("b"), loaded("a")),
        digest(loaded("a"), loaded("b", mode="ab", share=0.2)),
        digest(loaded("a"), loaded("b", mode="ab", share=0.3)),
        digest(loaded("a", ensemble="x"), loaded("b", ensemble="x")),
        digest(loaded("a", needs=["FLAIR"]), loaded("b")),
        digest(loaded("a", acquisition=["2d"]), loaded("b")),
        digest(loaded("a", label_map={"1": "ET"})),
        digest(loaded("a", mirror=True)),
        alone,
    }
    assert len(others) == 10
    assert digest(loaded("a", runtime="onnxruntime", date="2026-11-29")) == alone


@pytest.mark.parametrize("mode", ["shadow", "ab"])
def test_a_task_needs_an_active_model(mode: str) -> None:
    models, _ = assembled(loaded("a", mode=mode, share=0.5))
    assert models.segmenter is None
    assert len(models.segmenters) == 1
