"""The models and the agreement of their versions, through the API and on the page."""

from __future__ import annotations

from typing import Any

from fastapi.testclient import TestClient

from storage.model_answers import ModelAnswerRecord, ModelAnswerRepository
from storage.vocabulary import AnswerMode, Role
from web.health import InstalledModel

INSTALLED = (
    InstalledModel(
        name="unet", task="segmentation", version="1", ok=True, detail="active", mode="active", sha256="a" * 64
    ),
    InstalledModel(
        name="unet-b", task="segmentation", version="2", ok=True, detail="ab", mode="ab", share=0.2, sha256="b" * 64
    ),
    InstalledModel(name="broken", task="type", version="1", ok=False, detail="its file is missing"),
)


def recorded(node: Any) -> None:
    run = node.scans.runs_of(node.finished().id)[-1].id
    answers = ModelAnswerRepository(node.database, node.clock)
    for mode, name, volume in ((AnswerMode.ACTIVE, "unet", 30.0), (AnswerMode.SHADOW, "new", 33.0)):
        shadow = mode is AnswerMode.SHADOW
        answers.upsert(
            ModelAnswerRecord(
                run_id=run,
                task="segmentation",
                name=name,
                version="1",
                sha256=name[0] * 64,
                mode=mode,
                answer={"value": "tumour", "volumes_ml": {"WT": volume}},
                agreement={"same_value": True, "dice": {"WT": 0.91}, "volume_difference_ml": {"WT": 3.0}}
                if shadow
                else None,
                seconds=12.5,
                peak_memory_mb=900.0,
            )
        )


def test_the_api_lists_the_models(node: Any, client: TestClient) -> None:
    node.models = INSTALLED
    items = client.get("/api/models", headers=node.bearer(client)).json()["items"]
    assert [(item["name"], item["mode"], item["share"], item["ok"]) for item in items] == [
        ("unet", "active", None, True),
        ("unet-b", "ab", 0.2, True),
        ("broken", "", None, False),
    ]


def test_the_api_tells_the_agreement(node: Any, client: TestClient) -> None:
    recorded(node)
    table = client.get("/api/models/agreement", headers=node.bearer(client)).json()
    (item,) = table["items"]
    assert (item["model"]["name"], item["reference"]["name"], item["studies"], item["share"]) == ("new", "unet", 1, 1.0)
    assert (item["kappa"], item["meanDice"], item["meanVolumeDifferenceMl"]) == (None, {"WT": 0.91}, {"WT": 3.0})
    assert [(one["model"]["name"], one["mode"], one["values"]) for one in table["answers"]] == [
        ("new", "shadow", {"tumour": 1}),
        ("unet", "active", {"tumour": 1}),
    ]


def test_the_page_shows_both(node: Any, browser: Any) -> None:
    node.models = INSTALLED
    recorded(node)
    page = browser(node, Role.DOCTOR).get("/models").text
    for words in ("unet-b", "ab 20 %", "its file is missing", "WT 0.910", "WT +3.0", "tumour 1"):
        assert words in page


def test_before_the_first_worker_the_page_says_so(node: Any, browser: Any) -> None:
    page = browser(node, Role.ADMIN).get("/models").text
    assert "No worker has said yet" in page
    assert "No shadow version has answered yet" in page


def test_a_scans_page_says_why_a_model_answered(node: Any, browser: Any) -> None:
    scan = node.finished()
    choice = {"stage": "detect", "model": "unet", "version": "1", "reason": "the only active one", "mode": "active"}
    node.scans.set_results(scan.id, {**scan.results, "choices": [choice]})
    assert "Detection by unet 1: the only active one." in browser(node, Role.DOCTOR).get(f"/scans/{scan.id}").text
