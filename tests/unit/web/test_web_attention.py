"""The pictures of what the classifiers looked at: served to who is signed in, shown once they are there."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from fastapi.testclient import TestClient
from PIL import Image

from web.attention_view import AttentionStage, attention_views


def explained(node: Any) -> tuple[Any, Path]:
    scan = node.finished()
    (run,) = node.scans.runs_of(scan.id)
    folder = node.files.run_folder(run.id)
    picture = io.BytesIO()
    Image.fromarray(np.full((4, 16, 3), 7, np.uint8)).save(picture, "PNG")
    (folder / "attention-detect.png").write_bytes(picture.getvalue())
    told = {"stage": "detect", "class": "tumor", "role": "T1CE", "position_mm": 12.3, "method": "Grad-CAM"}
    told |= {"model": "ours <1>", "nothing_found": False, "file": "attention-detect.png"}
    listed = [told, {**told, "stage": "classify"}, {"stage": "segment"}, "nothing"]
    (folder / "attention.json").write_text(json.dumps(listed))
    return scan, folder


def test_the_picture_is_a_png_and_another_stage_has_none(node: Any, client: TestClient) -> None:
    scan, _ = explained(node)
    doctor = node.bearer(client)
    answer = client.get(f"/api/scans/{scan.id}/attention/detect", headers=doctor)
    assert answer.headers["content-type"] == "image/png"
    assert np.asarray(Image.open(io.BytesIO(answer.content))).shape == (4, 16, 3)
    assert client.get(f"/api/scans/{scan.id}/attention/classify", headers=doctor).status_code == 404
    assert client.get(f"/api/scans/{scan.id}/attention/segment", headers=doctor).status_code == 422
    assert client.get(f"/api/scans/{scan.id}/attention/detect").status_code == 401


def test_the_page_shows_what_there_is_and_says_what_it_is(node: Any, browser: Callable[..., TestClient]) -> None:
    scan, folder = explained(node)
    client = browser(node)
    page = client.get(f"/scans/{scan.id}").text
    assert f'src="/api/scans/{scan.id}/attention/detect"' in page
    assert "attention/classify" not in page
    assert "z = 12 mm" in page
    assert "ours &lt;1&gt;" in page
    assert "It shows what moved the model, not where the tumour is" in page
    (folder / "attention.json").unlink()
    assert "What the classifiers looked at" not in client.get(f"/scans/{scan.id}").text


def test_a_list_that_cannot_be_read_is_no_list(tmp_path: Path) -> None:
    assert attention_views(tmp_path) == ()
    (tmp_path / "attention-detect.png").write_bytes(b"")
    for text in ("[", "{}", '[{"stage": "detect"}]', '[{"stage": "../x"}]'):
        (tmp_path / "attention.json").write_text(text)
        assert attention_views(tmp_path) == ()
    assert AttentionStage("detect") is AttentionStage.DETECT
