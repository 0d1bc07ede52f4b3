"""What the process commands do before anything runs."""

from __future__ import annotations

import os

import pytest

from dicom_node.commands.serve import on_device
from dicom_node.config import NodeConfig


def test_workers_of_one_machine_get_a_device_and_an_executor_id_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    config = NodeConfig(engine={"executor_id": "ward"})
    ids = [on_device(config, gpu).engine.executor_id for gpu in (0, 1)]
    assert ids == ["ward-gpu0", "ward-gpu1"]
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"
    assert config.engine.executor_id == "ward"
