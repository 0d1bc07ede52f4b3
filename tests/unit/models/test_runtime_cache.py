"""The cache of converted networks: made once, whole or not at all, never believed without its hashes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.models.runtime_cache import cached_runtime_file

SHA, TAG = "5" * 64, "net-1.xml"


def write_pair(path: Path) -> None:
    path.write_text("network")
    path.with_suffix(".bin").write_text("weights")


def never(path: Path) -> None:
    pytest.fail("it was built again")


def test_it_is_built_once_with_what_lies_beside_it(tmp_path: Path) -> None:
    first = cached_runtime_file(tmp_path / "new" / "cache", SHA, TAG, write_pair)
    assert first.read_text() == "network"
    assert first.with_suffix(".bin").read_text() == "weights"
    assert cached_runtime_file(tmp_path / "new" / "cache", SHA, TAG, never) == first


@pytest.mark.parametrize("part", ["net-1.xml", "net-1.bin", "sha256.json"])
def test_a_damaged_part_is_made_again(tmp_path: Path, part: str) -> None:
    first = cached_runtime_file(tmp_path, SHA, TAG, write_pair)
    (first.parent / part).write_text("damage")
    again = cached_runtime_file(tmp_path, SHA, TAG, write_pair)
    assert again == first
    assert again.read_text() == "network"
    cached_runtime_file(tmp_path, SHA, TAG, never)


def test_a_missing_or_foreign_part_is_noticed(tmp_path: Path) -> None:
    first = cached_runtime_file(tmp_path, SHA, TAG, write_pair)
    first.with_suffix(".bin").unlink()
    first = cached_runtime_file(tmp_path, SHA, TAG, write_pair)
    (first.parent / "more").write_text("")
    cached_runtime_file(tmp_path, SHA, TAG, write_pair)
    assert not (first.parent / "more").exists()


def test_other_weights_and_other_conversions_are_kept_apart(tmp_path: Path) -> None:
    paths = {
        cached_runtime_file(tmp_path, sha, tag, write_pair) for sha in (SHA, "6" * 64) for tag in (TAG, "net-2.xml")
    }
    assert len(paths) == 4


def test_a_failed_build_leaves_nothing_and_says_why(tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        path.write_text("half")
        raise RuntimeError("no such layer")

    with pytest.raises(RuntimeError, match="no such layer"):
        cached_runtime_file(tmp_path, SHA, TAG, fail)
    with pytest.raises(FileNotFoundError, match=TAG):
        cached_runtime_file(tmp_path, SHA, TAG, lambda path: None)
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]
    assert cached_runtime_file(tmp_path, SHA, TAG, write_pair).exists()


def test_what_a_killed_process_left_is_cleared(tmp_path: Path) -> None:
    left = tmp_path / f"{SHA}.{TAG}.part-1"
    left.mkdir()
    (left / TAG).write_text("half")
    cached_runtime_file(tmp_path, SHA, TAG, write_pair)
    assert not left.exists()


def test_a_path_for_a_tag_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="plain file name"):
        cached_runtime_file(tmp_path, SHA, "../x", write_pair)


def test_two_processes_build_it_once(tmp_path: Path) -> None:
    code = (
        "import sys, time, pathlib; from pipeline.models.runtime_cache import cached_runtime_file\n"
        "def build(path):\n"
        "    print('built'); time.sleep(0.5); path.write_text('network')\n"
        f"path = cached_runtime_file(pathlib.Path({str(tmp_path)!r}), {SHA!r}, {TAG!r}, build)\n"
        "assert path.read_text() == 'network'"
    )
    both = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert "".join(said) == "built\n"
