"""Fixtures shared by every test: where the real data and the Debian tools are."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

from dicom_node.config import ENVIRONMENT_PREFIX

#: The packages whose loggers a test may look into.
_OURS = ("dicom_node", "pipeline", "storage", "web")
REPOSITORY = Path(__file__).resolve().parent.parent
# Networks are kept by their hash once converted: every node that a test starts would convert them anew.
os.environ.setdefault(
    f"{ENVIRONMENT_PREFIX}MODELS__CACHE", str(Path(tempfile.gettempdir()) / f"btn-model-cache-{os.getuid()}")
)


def _absent(reason: str) -> None:
    """Skip with the reason; in CI, where everything is installed, an absence is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason} (required in CI)")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real MRI, from BTN_SHARED_DATA or beside the checkout."""
    folder = Path(os.environ.get("BTN_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        _absent(f"no real MRI data at {folder}: set BTN_SHARED_DATA")
    return folder


@pytest.fixture(scope="session")
def debian_tool() -> Callable[[str], str]:
    """From a program's name to its path in /usr/bin or /usr/sbin: the venv has look-alikes by pynetdicom."""

    def find(name: str) -> str:
        path = shutil.which(name, path="/usr/bin:/usr/sbin")
        if path is None:
            _absent(f"{name} is not installed: apt-get install the packages the README names")
        assert path is not None
        return path

    return find


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """Whatever a test sets up of logging ends with it: commands configure the process they believe to be theirs."""
    root = logging.getLogger()
    root.manager.disable = logging.NOTSET
    for name, logger in root.manager.loggerDict.items():
        if isinstance(logger, logging.Logger) and name.partition(".")[0] in _OURS:
            logger.disabled, logger.propagate = False, True
            logger.setLevel(logging.NOTSET)
    level, handlers, structured = root.level, root.handlers[:], structlog.get_config()
    yield
    root.setLevel(level)
    root.handlers[:] = handlers
    structlog.configure(**structured)
