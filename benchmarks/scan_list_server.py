"""The web application of the benchmark of the list: `python -m benchmarks.scan_list_server URL FOLDER PORT`."""

from __future__ import annotations

import sys
from pathlib import Path

import uvicorn

from storage.database import Database
from storage.files import FileStore
from storage.users import UserRepository
from storage.vocabulary import AccountStatus, Role
from web.app import create_app
from web.health import HealthReport
from web.ingest import IngestOutcome
from web.passwords import PasswordHasher
from web.settings import WebSettings

NAME, PASSWORD = "bench", "a long pass phrase"


class _NoIngest:
    def ingest_dicom(self, path: Path, *, calling: str, user_id: int) -> IngestOutcome:
        raise RuntimeError("the benchmark uploads nothing")


def main() -> None:
    """Serve until stopped."""
    url, folder, port = sys.argv[1:]
    database = Database(url)
    UserRepository(database).create(
        username=NAME,
        email="bench@localhost",
        hashed_password=PasswordHasher().hash(PASSWORD),
        role=Role.DOCTOR,
        status=AccountStatus.ACTIVE,
    )
    application = create_app(
        settings=WebSettings(token_secret="b" * 40, cookie_secure=False),
        database=database,
        files=FileStore(Path(folder)),
        health=lambda: HealthReport(checks=(), models=()),
        ingest=_NoIngest(),
    )
    uvicorn.run(application, host="127.0.0.1", port=int(port), log_level="error", access_log=False)


if __name__ == "__main__":
    main()
