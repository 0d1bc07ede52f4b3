"""The engine in a process of its own: dbos is a singleton, and one test kills it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import os, signal, sys, time
from pathlib import Path
from dicom_node.engine import Engine, Step
from dicom_node.errors import Permanent, Transient

folder = Path(sys.argv[1])
def note(text):
    with (folder / "log").open("a") as log:
        log.write(text + "\\n")
def first(run): note(f"first {run}")
def second(run):
    note(f"second {run}")
    if run == "killed" and not (folder / "killed").exists():
        (folder / "killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if run == "permanent":
        raise Permanent("no")
    if run == "transient" and not (folder / "tried").exists():
        (folder / "tried").touch()
        raise Transient("not now")
def third(run): note(f"third {run}")
def after(run):
    note(f"after {run}")
    if run == "killed-after" and not (folder / "killed").exists():
        (folder / "killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if run == "broken-after":
        raise ValueError("for the record alone")
    note(f"recorded {run}")
engine = Engine(
    database_url=f"sqlite:///{folder / 'engine.sqlite'}",
    executor_id="one",
    steps=[Step(name=n, handler=h) for n, h in (("first", first), ("second", second), ("third", third))],
    on_failure=lambda run, error: note(f"failed {run} {type(error).__name__}"),
    afterwards=Step(name="after", handler=after) if sys.argv[2] == "--after" else None,
    poll_s=0.1,
)
engine.start()
for run in sys.argv[3:]:
    engine.submit(run, "1")
    engine.submit(run, "1")
deadline = time.monotonic() + 60
while engine.unfinished():
    assert time.monotonic() < deadline
    time.sleep(0.05)
engine.stop()
"""


def run(folder: Path, *runs: str, after: bool = False) -> int:
    flag = "--after" if after else "--plain"
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, str(folder), flag, *runs]
    return subprocess.run(command, capture_output=True, timeout=120, check=False).returncode


def log(folder: Path) -> list[str]:
    return (folder / "log").read_text().splitlines()


def test_steps_run_in_order_once_although_submitted_twice(tmp_path: Path) -> None:
    assert run(tmp_path, "plain") == 0
    assert log(tmp_path) == ["first plain", "second plain", "third plain"]


def test_a_permanent_error_ends_the_run_and_a_transient_one_is_tried_again(tmp_path: Path) -> None:
    assert run(tmp_path, "permanent", "transient") == 0
    assert "failed permanent Permanent" in log(tmp_path)
    assert log(tmp_path).count("second transient") == 2
    assert "third transient" in log(tmp_path)


def test_a_killed_run_resumes_at_the_step_that_was_cut_off(tmp_path: Path) -> None:
    assert run(tmp_path, "killed") == -9
    assert run(tmp_path) == 0
    assert log(tmp_path) == ["first killed", "second killed", "second killed", "third killed"]


def test_what_comes_after_a_run_fails_no_run_and_survives_a_kill(tmp_path: Path) -> None:
    assert run(tmp_path, "broken-after", "permanent", "killed-after", after=True) == -9
    assert run(tmp_path, after=True) == 0
    lines = log(tmp_path)
    assert [line for line in lines if line.startswith("failed")] == ["failed permanent Permanent"]
    assert "after permanent" not in lines
    assert lines.count("third killed-after") == 1
    assert lines[-2:] == ["after killed-after", "recorded killed-after"]


DRAINING = (
    PROGRAM.partition("engine = Engine(")[0]
    + """
import threading
begun = threading.Event()
def slow(run):
    begun.set()
    time.sleep(1.5)
    note(f"second {run}")
engine = Engine(
    database_url=f"sqlite:///{folder / 'engine.sqlite'}", executor_id="one",
    steps=[Step(name="second", handler=slow), Step(name="third", handler=third)],
    on_failure=lambda run, error: note(f"failed {run} {type(error).__name__}"), poll_s=0.1,
)
engine.start()
for run in ("in-hand", "waiting"):
    engine.submit(run, "1")
assert begun.wait(30)
engine.stop(20.0)
"""
)


def test_a_worker_that_stops_finishes_its_run_and_leaves_the_next_to_its_successor(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", DRAINING, str(tmp_path), "--plain"]
    done = subprocess.run(command, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert log(tmp_path) == ["second in-hand", "third in-hand"]
    assert run(tmp_path) == 0
    assert "third waiting" in log(tmp_path)
