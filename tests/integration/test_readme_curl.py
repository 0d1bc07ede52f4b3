"""The curl lines of README.md and docs/api.md, run as they stand against a server."""

from __future__ import annotations

import os
import re
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from storage.users import UserRepository
from storage.vocabulary import AccountStatus, Role
from tests.integration.test_web_server import parts, served
from tests.mr_series import mr_series
from web.app import create_app
from web.passwords import PasswordHasher
from web.settings import Registration, WebSettings

REPOSITORY = Path(__file__).resolve().parents[2]
__all__ = ["parts"]


def curl_blocks(document: str) -> list[str]:
    text = (REPOSITORY / document).read_text(encoding="utf-8")
    return [block for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) if "curl " in block]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    image = nib.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.eye(4))
    for role in ("t1", "t1ce", "t2", "flair"):
        nib.save(image, tmp_path / f"case_{role}.nii.gz")
    with zipfile.ZipFile(tmp_path / "study.zip", "w") as archive:
        for number, path in enumerate(mr_series().write(tmp_path / "series")):
            archive.write(path, str(number))
    return tmp_path


@pytest.mark.parametrize("document", ["README.md", "docs/api.md"])
def test_the_curl_lines_do_what_they_say(parts: dict[str, Any], folder: Path, document: str) -> None:
    users, hasher = UserRepository(parts["database"]), PasswordHasher(4)
    hashed = hasher.hash("a long pass phrase")
    users.create(
        username="ada", email="a@x.example", hashed_password=hashed, role=Role.ADMIN, status=AccountStatus.ACTIVE
    )
    app = create_app(
        settings=WebSettings(token_secret="s" * 40, cookie_secure=False, registration=Registration.OPEN),
        database=parts["database"],
        files=parts["files"],
        health=lambda: parts["health"],
        ingest=parts["ingest"],
        hasher=hasher,
    )
    blocks = curl_blocks(document)
    assert blocks
    with served(app) as base:
        script = "".join(blocks).replace("http://127.0.0.1:8000", base).replace("curl -s ", "curl --fail-with-body -s ")
        script = f"set -eu\nNODE={base}\n{script}"
        environment = {"PATH": os.environ["PATH"], "no_proxy": "*"}
        done = subprocess.run(
            ["bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
        )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "Doe^Jane" in done.stdout
