"""The web application behind a real server: DICOM by zip through the receiver, and Chromium on hostile names."""

from __future__ import annotations

import io
import json
import subprocess
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn

from dicom_node.inbound.ingest import Ingest
from dicom_node.uploads import UploadDoor
from pipeline.nifti import save_volume
from pipeline.volume import Grid, Volume
from storage.database import Database, upgrade
from storage.files import FileStore
from storage.lifecycle import ScanEvent
from storage.scans import ScanRepository
from storage.studies import StudyRepository
from storage.users import UserRepository
from storage.vocabulary import AccountStatus, Role, RunState, Source
from tests.mr_series import mr_series
from web.app import create_app
from web.health import Check, HealthReport
from web.passwords import PasswordHasher
from web.settings import WebSettings

HEALTH = HealthReport(checks=(Check(name="database", ok=True, detail="SQLite"),), models=())


@contextmanager
def served(app: Any) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=10)


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[dict[str, Any]]:
    url = f"sqlite:///{tmp_path / 'node.sqlite'}"
    upgrade(url)
    database = Database(url)
    files = FileStore(tmp_path / "files", min_free_bytes=0)
    hasher = PasswordHasher(4)
    user = UserRepository(database).create(
        username="doctor",
        email="d@hospital.example",
        hashed_password=hasher.hash("correct horse battery"),
        role=Role.DOCTOR,
        status=AccountStatus.ACTIVE,
    )
    ingest = UploadDoor(Ingest(files, StudyRepository(database)), ScanRepository(database))
    app = create_app(
        settings=WebSettings(token_secret="s" * 40, cookie_secure=False),
        database=database,
        files=files,
        health=lambda: HEALTH,
        ingest=ingest,
        hasher=hasher,
    )
    yield {"app": app, "database": database, "files": files, "user": user, "ingest": ingest, "health": HEALTH}
    database.close()


def test_a_zip_of_dicom_is_taken_as_by_cstore(parts: dict[str, Any], tmp_path: Path) -> None:
    paths = mr_series().write(tmp_path / "series")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, path in enumerate(paths):
            archive.writestr(f"../../{number}", path.read_bytes())
        archive.writestr("readme.txt", b"no dicom")
    with served(parts["app"]) as base, httpx.Client(base_url=base, timeout=30) as client:
        credentials = {"username": "doctor", "password": "correct horse battery"}
        token = client.post("/api/auth/login", json=credentials).json()["access_token"]
        client.headers["authorization"] = f"Bearer {token}"
        first = client.post("/api/process-mri", files={"files": ("study.zip", packed.getvalue())})
        again = client.post("/api/process-mri", files={"files": ("study.zip", packed.getvalue())})
        assert (first.status_code, again.status_code) == (202, 202)
        assert (first.json()["received"], again.json()["duplicates"]) == (len(paths), len(paths))
        assert len(first.json()["refused"]) == 1
        (scan,) = first.json()["scans"]
        assert [one["id"] for one in again.json()["scans"]] == [scan["id"]]
        assert (scan["userId"], scan["source"]) == (parts["user"].id, "upload-dicom")
        (series,) = client.get(f"/api/scans/{scan['id']}").json()["series"]
        assert series["instanceCount"] == len(paths)
    assert list((parts["files"].root / "spool").iterdir()) == []


def finished_scan(parts: dict[str, Any], name: str) -> str:
    scans, files = ScanRepository(parts["database"]), parts["files"]
    scan = scans.create_upload(Source.UPLOAD_NIFTI, user_id=None, patient_name=name, patient_id=name[:64])
    scans.apply_event(scan.id, ScanEvent.COMPLETE)
    run = scans.start_run(scan.id, ["a"])
    folder = files.run_folder(run.id)
    voxels = np.arange(10 * 12 * 8, dtype=np.float32).reshape(10, 12, 8)
    save_volume(folder / "reference.nii.gz", Volume(voxels=voxels, grid=Grid(shape=(10, 12, 8), affine=np.eye(4))))
    (folder / "report.json").write_text(json.dumps({}))
    scans.set_results(scan.id, {"flags": [{"code": "x", "text": name}], "reference_role": name})
    scans.finish_run(run.id, RunState.DONE)
    return scan.id


def signed_in_as(app: Any, token: str) -> Any:
    """The application as a browser meets it that holds the cookie: headless Chromium cannot be handed one."""

    async def with_cookie(scope: Any, receive: Any, send: Any) -> None:
        headers = [*scope.get("headers", []), (b"cookie", b"btn_session=" + token.encode())]
        await app({**scope, "headers": headers}, receive, send)

    return with_cookie


def test_hostile_names_run_no_script_and_the_viewer_runs(
    parts: dict[str, Any], tmp_path: Path, debian_tool: Callable[[str], str]
) -> None:
    hostile = "<img src=x onerror=\"document.title='taken'\">\"><script>document.title='taken'</script>"
    scan_id = finished_scan(parts, hostile)
    user = parts["user"]
    token = parts["app"].state.context.tokens.issue(user.id, user.token_version)
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
        "--disable-component-update --disable-sync --dump-dom"
    )
    with served(signed_in_as(parts["app"], token)) as base:
        for number, path in enumerate((f"/scans/{scan_id}", "/")):
            profile = f"--user-data-dir={tmp_path / f'profile{number}'}"
            # Virtual time would wait for the list's event stream, which never ends.
            waiting = ["--virtual-time-budget=4000"] if number == 0 else []
            command = [debian_tool("chromium"), *flags.split(), *waiting, profile, base + path]
            page = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
            assert "<title>Scan" in page
            assert "taken</title>" not in page
            assert '<img src="x"' not in page
            if number == 0:
                # The vendored scripts run under the content security policy: the slice was fetched and shown.
                assert f"/api/scans/{scan_id}/slice/4?axis=axial" in page.replace("&amp;", "&")
                assert "5 of 8" in page or 'max="7"' in page
