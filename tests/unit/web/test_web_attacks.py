"""Attacks that the tests of single parts do not show: what comes in by one door and would act in another."""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import json
import zipfile
from typing import Any

import pytest
from fastapi.testclient import TestClient

from storage.vocabulary import Role
from tests.unit.web.conftest import SECRET
from tests.unit.web.test_web_uploads import left_behind, nifti, zipped

SQL = [
    "' OR '1'='1",
    "'; DROP TABLE scans; --",
    "%' UNION SELECT hashed_password FROM users --",
    "\\' OR 1=1",
    "%",
    "_",
]


@pytest.mark.parametrize("evil", SQL)
def test_sql_in_a_filter_is_text(node: Any, client: TestClient, evil: str) -> None:
    scan = node.study()
    admin = node.bearer(client, Role.ADMIN)
    for query in ({"q": evil}, {"patientId": evil}):
        assert client.get("/api/scans", params=query, headers=admin).json()["items"] == []
    for query in ({"action": evil}, {"username": evil}, {"scanId": evil}):
        assert client.get("/api/audit", params=query, headers=admin).json()["items"] == []
    assert client.get("/api/scans", params={"sort": evil}, headers=admin).status_code == 422
    assert client.post("/api/auth/login", json={"username": evil, "password": "x" * 12}).status_code == 401
    assert [one["id"] for one in client.get("/api/scans", headers=admin).json()["items"]] == [scan.id]


@pytest.mark.parametrize(
    "key", ["../report.json", "..%2Freport.json", "%2e%2e%2f%2e%2e%2fnode.sqlite", "/etc/passwd", "report.json%00.png"]
)
def test_a_download_is_one_of_a_table_and_never_a_path(node: Any, client: TestClient, key: str) -> None:
    scan = node.finished()
    answer = client.get(f"/api/scans/{scan.id}/download/{key}", headers=node.bearer(client))
    assert answer.status_code in (404, 422)
    assert b"SQLite" not in answer.content
    assert b"schema_version" not in answer.content


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "RS256", "typ": "JWT"},
        {"alg": "none", "typ": "JWT"},
        {"alg": "HS256", "typ": "JWT", "jwk": {"kty": "oct", "k": "AAAA"}},
        {"alg": "HS256", "typ": "JWT", "jku": "http://127.0.0.1/keys"},
    ],
)
def test_a_token_chooses_neither_its_algorithm_nor_its_key(node: Any, client: TestClient, header: Any) -> None:
    good = node.bearer(client)["Authorization"].removeprefix("Bearer ")
    claims = good.split(".")[1]
    for key in (SECRET.encode(), b"", b"\0\0\0"):
        body = f"{part(header)}.{claims}"
        mac = hmac.new(key, body.encode(), hashlib.sha256).digest()
        forged = f"{body}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"
        assert client.get("/api/auth/me", headers={"Authorization": f"Bearer {forged}"}).status_code == 401


def polyglots() -> dict[str, bytes]:
    whole, html = nifti(), b"<html><script>alert(1)</script></html>"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("x.html", html)
    return {
        "a volume with a zip behind it": whole + packed.getvalue(),
        "a volume with a page behind it": whole + html,
        "a page with a volume in it": html + whole,
        "a picture by its first bytes": b"\x89PNG\r\n\x1a\n" + whole,
        "a program by its first bytes": b"MZ" + whole[2:],
    }


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in polyglots().items()])
def test_a_file_that_is_two_things_is_neither(node: Any, client: TestClient, data: bytes) -> None:
    files = {"files": ("case_t1.nii", data)}
    assert client.post("/api/process-mri", files=files, headers=node.bearer(client)).status_code == 422
    assert left_behind(node) == []


def test_a_zip_that_begins_as_something_else_is_no_dicom(node: Any, client: TestClient) -> None:
    files = {"files": ("study.zip", b"GIF89a" + zipped(("a.dcm", b"\0" * 128 + b"DICM")))}
    assert client.post("/api/process-mri", files=files, headers=node.bearer(client)).status_code == 422
    assert node.ingest.taken == []


def test_no_request_of_the_api_names_where_to_connect_to(client: TestClient) -> None:
    """Destinations and PACS stand in config.yaml alone, so no request can make the node call an address."""
    document = client.get("/api/openapi.json").json()
    asked: set[str] = set()

    def walk(schema: Any) -> None:
        if isinstance(schema, dict):
            if "$ref" in schema:
                walk(document["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
            asked.update(schema.get("properties", {}))
            for value in schema.values():
                walk(value)
        elif isinstance(schema, list):
            for value in schema:
                walk(value)

    for operations in document["paths"].values():
        for operation in operations.values():
            asked.update(parameter["name"] for parameter in operation.get("parameters", []))
            walk(operation.get("requestBody"))
    assert {"patientName", "password", "roles"} <= asked
    words = ("url", "uri", "host", "port", "address", "endpoint", "callback", "aetitle")
    assert not {name for name in asked if any(word == name.lower().replace("_", "") for word in words)}
