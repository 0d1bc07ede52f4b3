"""The support bundle holds no patient and no secret; log files stay as many and as large as they may be."""

from __future__ import annotations

import io
import json
import logging
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from dicom_node.config import NodeConfig
from dicom_node.log_files import LogFiles
from dicom_node.logs import configure_logging
from dicom_node.store import Store, open_store
from dicom_node.support import without, without_secrets, write_bundle
from storage.clock import utc_now
from storage.studies import InstanceRecord

PATIENT, NAME = "CANARY-0815", "Kanarienvogel^Karla"


@pytest.fixture
def config(tmp_path: Path) -> NodeConfig:
    return NodeConfig(
        storage={"root": tmp_path / "root", "min_free_mb": 0},  # type: ignore[arg-type]
        web={"secret": "hush" * 10, "inbox_token": "softly" * 10, "limits_url": "redis://u:pass-word@h:1"},  # type: ignore[arg-type]
    )


@pytest.fixture
def store(config: NodeConfig) -> Iterator[Store]:
    store = open_store(config)
    record = InstanceRecord(
        sop_instance_uid="1.2.3.1", sop_class_uid="1.2", transfer_syntax_uid="1.2", study_instance_uid="1.2",
        series_instance_uid="1.2.3", modality="MR", series_description="", patient_id=PATIENT, patient_name=NAME,
        study_date="", accession_number="", study_description="", instance_number=1, path="studies/a", size=1,
        sha256="0" * 64, calling_ae="CT1", header={},
    )  # fmt: skip
    store.studies.record_instance(record)
    yield store
    store.database.close()


def test_no_patient_and_no_secret_is_in_the_bundle(config: NodeConfig, store: Store, tmp_path: Path) -> None:
    log = tmp_path / "work.log"
    log.write_text(f"a fault of the node once wrote {NAME} ({PATIENT}), and Karla alone\n")
    out = tmp_path / "bundle.zip"
    assert write_bundle(config, store, out, [log], utc_now) == 3
    with zipfile.ZipFile(out) as bundle:
        parts = {name: bundle.read(name).decode() for name in bundle.namelist()}
    whole = "".join(parts.values())
    for word in (PATIENT, "Kanarienvogel", "Karla", "hush", "softly", "pass-word"):
        assert word not in whole, word
    assert "a fault of the node once wrote" in parts["log-1-work.log"]
    assert json.loads(parts["rows.json"])["instances"] == 1
    assert json.loads(parts["configuration.json"])["node"]["ae_title"] == "BTNODE"
    assert "btn_scans" in parts["metrics.txt"]
    assert "pydicom" in json.loads(parts["versions.json"])["packages"]
    with pytest.raises(FileExistsError):
        write_bundle(config, store, out, [], utc_now)


def test_names_in_other_letters_go_as_they_are_and_as_json_has_them(
    config: NodeConfig, store: Store, tmp_path: Path
) -> None:
    record = InstanceRecord(
        sop_instance_uid="1.3.3.1", sop_class_uid="1.2", transfer_syntax_uid="1.2", study_instance_uid="1.3",
        series_instance_uid="1.3.3", modality="MR", patient_id="12", patient_name="Müller^Jörg=李^明 子",
        path="studies/b", size=1, sha256="1" * 64,
    )  # fmt: skip
    store.studies.record_instance(record)
    log = tmp_path / "work.log"
    inner = json.dumps({"name": "Müller", "other": "子"})
    lines = ["Müller, 李", json.dumps({"event": "Jörg 明"}), json.dumps({"error": repr(inner)}), "the end of 12"]
    log.write_text("\n".join(lines), encoding="utf-8")
    out = tmp_path / "bundle.zip"
    assert write_bundle(config, store, out, [log], utc_now) == 6
    with zipfile.ZipFile(out) as bundle:
        told = bundle.read("log-1-work.log").decode()
    assert told.splitlines()[:2] == ["[removed], [removed]", '{"event": "[removed] [removed]"}']
    assert told.isascii()
    assert "u00fc" not in told
    assert "u5b50" not in told
    assert told.endswith("the end of 12")


def test_words_go_longest_first() -> None:
    assert without("Doe^Jane, Jane", ["Jane", "Doe^Jane"]) == ("[removed], [removed]", 2)


def test_urls_keep_all_but_their_password() -> None:
    told = without_secrets({"database_url": "postgresql+psycopg://node:pw@db/x", "url": "not a url", "secret": None})
    assert told == {"database_url": "postgresql+psycopg://node:***@db/x", "url": "[removed]", "secret": None}


def test_log_files_are_put_aside_when_full_and_the_oldest_goes(tmp_path: Path) -> None:
    files = LogFiles(folder=tmp_path / "logs", max_bytes=2000, keep=2)
    before = (logging.root.handlers[:], logging.root.level)
    logging.root.handlers = []  # those of the test's runner are not to be closed
    try:
        configure_logging("info", "work-1", files)
        for number in range(60):
            structlog.get_logger("t").info("a line of some length", number=number)
            logging.getLogger("other").warning("from a library %d", number)
    finally:
        for handler in logging.root.handlers:
            handler.close()
        logging.root.handlers[:], logging.root.level = before
        structlog.reset_defaults()
        structlog.contextvars.clear_contextvars()
    kept = sorted(path.name for path in files.folder.iterdir())
    assert kept == ["work-1.log", "work-1.log.1", "work-1.log.2"]
    assert all(path.stat().st_size <= 2000 and path.stat().st_mode & 0o777 == 0o640 for path in files.folder.iterdir())
    last = files.folder.joinpath("work-1.log").read_text().splitlines()
    assert last[-1] == "WARNING:other:from a library 59"
    assert json.loads(last[-2])["number"] == 59


def test_without_a_folder_lines_go_to_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    told = io.StringIO()
    before = (logging.root.handlers[:], logging.root.level)
    logging.root.handlers = []
    try:
        configure_logging("info", "work-1")
        monkeypatch.setattr("sys.stderr", told)
        structlog.get_logger("t").info("hello")
        logging.getLogger("other").warning("and a library")
    finally:
        for handler in logging.root.handlers:
            handler.close()
        logging.root.handlers[:], logging.root.level = before
        structlog.reset_defaults()
        structlog.contextvars.clear_contextvars()
    assert '"event": "hello"' in told.getvalue()
    assert "and a library" in told.getvalue()
