"""The review on the scan's page."""

from __future__ import annotations

import re
from typing import Any

from storage.vocabulary import Role


def csrf_of(page: Any) -> str:
    return re.findall(r'name="csrf" value="([^"]+)"', page.text)[0]


def run_of(page: Any) -> str:
    return re.findall(r'name="run_id" value="([^"]+)"', page.text)[0]


def test_a_doctor_rejects_with_a_comment_and_then_accepts(node: Any, browser: Any) -> None:
    client, scan = browser(node), node.finished()
    path = f"/scans/{scan.id}/reviews"
    page = client.get(f"/scans/{scan.id}")
    assert "Nobody has reviewed these results yet." in page.text
    form = {"csrf": csrf_of(page), "run_id": run_of(page)}
    bare = client.post(path, data={**form, "verdict": "rejected"})
    assert (bare.status_code, "Say why in a comment." in bare.text) == (422, True)
    assert 'value="rejected" required checked' in bare.text
    assert client.post(path, data={**form, "verdict": "splendid"}).status_code == 422
    said = "Oedema <b>too</b> large"
    rejected = client.post(path, data={**form, "verdict": "rejected", "comment": said})
    assert "Oedema &lt;b&gt;too&lt;/b&gt; large" in rejected.text
    accepted = client.post(path, data={**form, "verdict": "accepted"}, follow_redirects=False)
    assert (accepted.status_code, accepted.headers["location"]) == (303, f"/scans/{scan.id}#review")
    page = client.get(f"/scans/{scan.id}").text
    assert "Earlier reviews (1)" in page
    assert 'class="chip accepted"' in page
    assert [row["verdict"] for row in node.events("audit.review")] == ["rejected", "accepted"]


def test_a_technician_sees_the_verdict_and_gives_none(node: Any, browser: Any) -> None:
    scan, client = node.finished(), browser(node, Role.TECHNICIAN)
    page = client.get(f"/scans/{scan.id}")
    assert "Give verdict" not in page.text
    assert client.post(f"/scans/{scan.id}/reviews", data={"csrf": csrf_of(page)}).status_code == 403
