from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

import storage.account_tables
import storage.edge_tables
import storage.model_tables
import storage.outward_tables
import storage.retention_tables
import storage.review_tables
import storage.scrub_tables  # noqa: F401  (their tables join the metadata)
from storage.database import check_schema, upgrade
from storage.engines import make_engine
from storage.errors import PermanentStorageError, SchemaMismatch, StorageFault
from storage.schema import migration_config
from storage.schema_head import is_current, newest_revision
from storage.tables import Base


@pytest.fixture
def new_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'deep' / 'folder' / 'node.sqlite'}"


def revision(url: str, to: str | None = None) -> str | None:
    with make_engine(url).begin() as connection:
        if to is not None:
            connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{to}'")
        found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
        connection.engine.dispose()
        return found


def test_an_upgrade_makes_the_schema_and_may_be_repeated(new_url: str) -> None:
    assert "no schema yet" in (check_schema(new_url) or "")
    upgrade(new_url)
    assert check_schema(new_url) is None
    upgrade(new_url)
    assert check_schema(new_url) is None
    assert revision(new_url) == ScriptDirectory.from_config(migration_config()).get_current_head()
    assert revision(new_url) == newest_revision()
    assert is_current(new_url)


def test_the_migrations_make_exactly_the_tables_of_the_code(database_url: str) -> None:
    engine = make_engine(database_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


def test_a_schema_of_a_newer_release_is_refused_and_left_alone(new_url: str) -> None:
    upgrade(new_url)
    revision(new_url, to="9999")
    assert "newer than this release" in (check_schema(new_url) or "")
    with pytest.raises(SchemaMismatch, match="install the newer release"):
        upgrade(new_url)
    assert revision(new_url) == "9999"


def test_an_interrupted_migration_leaves_the_former_schema(new_url: str) -> None:
    upgrade(new_url)
    engine = make_engine(new_url, foreign_keys=False)
    config = migration_config()

    def cut_off() -> None:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.downgrade(config, "base")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cut_off()
    engine.dispose()
    assert check_schema(new_url) is None


def test_the_first_migration_can_be_taken_back(new_url: str) -> None:
    upgrade(new_url)
    engine = make_engine(new_url, foreign_keys=False)
    config = migration_config()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    engine.dispose()
    upgrade(new_url)
    assert check_schema(new_url) is None


UPGRADE = """
import sys
from storage.database import check_schema, upgrade
upgrade(sys.argv[1])
print(check_schema(sys.argv[1]))
"""


def test_two_processes_may_upgrade_at_once(new_url: str) -> None:
    running = [
        subprocess.Popen([sys.executable, "-c", UPGRADE, new_url], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    assert [process.communicate(timeout=60)[0] for process in running] == ["None\n", "None\n"]


def test_the_database_file_is_private(new_url: str) -> None:
    upgrade(new_url)
    assert stat.S_IMODE(Path(new_url.removeprefix("sqlite:///")).stat().st_mode) == 0o640


def test_a_file_that_is_no_database_is_named_as_such(tmp_path: Path) -> None:
    path = tmp_path / "node.sqlite"
    path.write_bytes(b"not a database at all" * 100)
    assert "cannot be read" in (check_schema(f"sqlite:///{path}") or "")
    with pytest.raises(StorageFault):
        upgrade(f"sqlite:///{path}")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot make" in (check_schema(f"sqlite:///{tmp_path}/file/node.sqlite") or "")


@pytest.mark.parametrize(
    "url", ["", "nonsense", "sqlite://", "sqlite:///:memory:", "mysql://x/y", "postgresql+psycopg2://x/y"]
)
def test_another_kind_of_database_is_refused(url: str) -> None:
    with pytest.raises(PermanentStorageError, match="sqlite:///path"):
        upgrade(url)


def test_every_connection_is_durable_and_checks_foreign_keys(new_url: str) -> None:
    upgrade(new_url)
    engine = make_engine(new_url)
    with engine.connect() as connection:
        asked = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    engine.dispose()
    assert asked == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 30_000}
