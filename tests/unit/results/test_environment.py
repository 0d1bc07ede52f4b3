"""What a process inherits from its surroundings changes nothing in what it writes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]

_ENCODE = """
import hashlib, os
os.umask({umask})
from dicom_node.results.encoders import encode_all
from tests.mr_series import mr_series
from tests.report_builders import STAMP, evidence_of, full_report
series = mr_series()
for encoded in encode_all(full_report(series.grid), evidence_of(series), STAMP):
    print(encoded.kind, hashlib.sha256(encoded.to_bytes()).hexdigest())
"""


def test_results_do_not_depend_on_locale_time_zone_or_umask() -> None:
    surroundings = [
        ({"LC_ALL": "C.UTF-8", "TZ": "UTC", "PYTHONHASHSEED": "1"}, 0o022),
        ({"LC_ALL": "C", "TZ": "Pacific/Kiritimati", "PYTHONUTF8": "0", "PYTHONHASHSEED": "2"}, 0),
        ({"LC_ALL": "tr_TR.UTF-8", "PYTHONHASHSEED": "3"}, 0o077),
    ]
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    running = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", _ENCODE.format(umask=umask)],
            env={**kept, **variables, "PYTHONPATH": str(REPOSITORY)},
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
        )
        for variables, umask in surroundings
    ]
    written = [process.communicate(timeout=240)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert len(written[0].splitlines()) >= 2
    assert len(set(written)) == 1
