from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dicom_node.supervisor import restart_pause_s

PARENT = """
import sys
from dicom_node.supervisor import Child, supervise
steady = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(60)"
dying = "import sys; open(sys.argv[1], 'a').write('.')"
folder = sys.argv[1]
programs = {"steady": steady, "dying": dying}
children = [Child(name=n, command=[sys.executable, "-c", c, f"{folder}/{n}"]) for n, c in programs.items()]
sys.exit(supervise(children))
"""


@pytest.mark.parametrize(("quick_ends", "pause_s"), [(0, 0.0), (1, 0.5), (2, 1.0), (3, 2.0), (7, 30.0), (50, 30.0)])
def test_a_child_that_keeps_ending_is_started_ever_later(quick_ends: int, pause_s: float) -> None:
    assert restart_pause_s(quick_ends) == pause_s


NO_PROCESS_AT_FIRST = """
import errno, subprocess
real, failures = subprocess.Popen, [OSError(errno.EAGAIN, "no process"), subprocess.SubprocessError("preexec_fn")]
def popen(command, **options):
    if command[-1].endswith("/dying") and failures:
        raise failures.pop()
    return real(command, **options)
subprocess.Popen = popen
"""


def started(folder: Path, before: str = "") -> tuple[subprocess.Popen[bytes], int]:
    parent = subprocess.Popen([sys.executable, "-c", before + PARENT, str(folder)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while not (folder / "steady").exists() or not (folder / "steady").read_text():
        assert time.monotonic() < deadline, "the child was not started"
        time.sleep(0.02)
    return parent, int((folder / "steady").read_text())


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0]


def gone(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while alive(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@pytest.mark.parametrize("before", ["", NO_PROCESS_AT_FIRST])
def test_a_child_that_ends_is_started_again_and_sigterm_ends_all(tmp_path: Path, before: str) -> None:
    parent, child = started(tmp_path, before)
    deadline = time.monotonic() + 20
    while len((tmp_path / "dying").read_text() if (tmp_path / "dying").exists() else "") < 2:
        assert time.monotonic() < deadline, "the ended child was not started again"
        time.sleep(0.05)
    assert alive(child)
    parent.send_signal(signal.SIGTERM)
    assert parent.wait(15) == 0
    assert gone(child)


def test_children_die_with_a_killed_parent(tmp_path: Path) -> None:
    parent, child = started(tmp_path)
    parent.kill()
    parent.wait(10)
    assert gone(child)
