"""A support bundle: what somebody needs who helps with this node, and nothing of its patients or its secrets."""

from __future__ import annotations

import json
import platform
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any

from dicom_node.config import NodeConfig
from dicom_node.doctor.examination import check_node
from dicom_node.doctor.report import as_json
from dicom_node.health import NodeHealth
from dicom_node.models_status import installed_models
from dicom_node.store import Store
from storage.clock import Clock
from storage.inventory import rows_by_table, without_password
from storage.patients import names_of_patients
from web.metrics import Metrics

_SECRETS = frozenset({"secret", "inbox_token", "username"})
_URLS = frozenset({"database_url", "limits_url", "url"})
_EVENTS = 500
_LOG_TAIL = 2 << 20
#: What is looked for is of the patients of this many scans, those changed last.
_SCANS = 5000
_GONE = "[removed]"
#: Log lines are JSON without other than ASCII, and may tell of JSON in their turn: of rows, within a database's error.
_JSON_IN_JSON = 3


def write_bundle(config: NodeConfig, store: Store, out: Path, logs: Sequence[Path], clock: Clock) -> int:
    """Write the bundle, a new zip file; how many patient's words had to be taken out of it.

    logs: files whose ends are put in.

    Raises:
        OSError: `out` is there already, or a file cannot be read or written. StorageError.
    """
    words = names_of_patients(store.database, _SCANS)
    removed = 0
    with zipfile.ZipFile(out, "x", zipfile.ZIP_DEFLATED) as bundle:
        for name, text in _parts(config, store, logs, clock):
            clean, found = without(text, words)
            removed += found
            bundle.writestr(name, clean)
    return removed


def without(text: str, words: Iterable[str]) -> tuple[str, int]:
    """The text with the words taken out, as they are and as JSON has them, longest first; how often one was found."""
    found = 0
    for word in sorted({form for one in words for form in _forms(one)}, key=len, reverse=True):
        times = text.count(word)
        if times:
            text, found = text.replace(word, _GONE), found + times
    return text, found


def _forms(word: str) -> Iterator[str]:
    yield word
    for _ in range(_JSON_IN_JSON):
        escaped = json.dumps(word)[1:-1]
        if escaped == word:
            return
        yield escaped
        word = escaped


def _parts(config: NodeConfig, store: Store, logs: Sequence[Path], clock: Clock) -> Iterator[tuple[str, str]]:
    yield "versions.json", _json(_versions(clock()))
    yield "configuration.json", _json(without_secrets(config.model_dump(mode="json")))
    yield "check.json", _json(as_json(list(check_node(config, load=False)), clock()))
    health, models = NodeHealth(config, store, clock).report(), installed_models(store.files)
    yield "health.json", _json(asdict(health))
    yield "models.json", _json([asdict(model) for model in models])
    yield "metrics.txt", Metrics().render(health, models).decode()
    yield "rows.json", _json(rows_by_table(store.database))
    # Kinds alone: texts name accounts, series and addresses.
    events = store.audit.list(limit=_EVENTS, newest_first=True)
    yield "events.json", _json([{"at": one.at.isoformat(), "kind": one.kind, "scan": one.scan_id} for one in events])
    for number, path in enumerate(logs, start=1):
        yield f"log-{number}-{path.name}", path.read_bytes()[-_LOG_TAIL:].decode(errors="replace")


def without_secrets(value: Any, key: str = "") -> Any:
    """A dumped configuration without secrets, and without passwords in its URLs."""
    if isinstance(value, Mapping):
        return {name: without_secrets(one, name) for name, one in value.items()}
    if isinstance(value, list):
        return [without_secrets(one, key) for one in value]
    if value and key in _SECRETS:
        return _GONE
    if value and key in _URLS:
        return without_password(value) or _GONE
    return value


def _versions(now: datetime) -> dict[str, Any]:
    packages = {one.metadata["Name"]: one.version for one in distributions()}
    return {
        "at": now.isoformat(),
        "node": version("brain-tumor-node"),
        "python": sys.version,
        "platform": platform.platform(),
        "packages": dict(sorted(packages.items(), key=lambda one: one[0].lower())),
    }


def _json(value: object) -> str:
    return json.dumps(value, indent=1, default=str)
