from __future__ import annotations

import hashlib
import random
import subprocess
import sys
import time
from pathlib import Path

from storage.database import Database
from storage.files import FileStore
from storage.studies import InstanceRecord, Outcome, StudyRepository

RECEIVER = """
import sys
from pathlib import Path
from storage.database import Database
from storage.files import FileStore
from storage.studies import InstanceRecord, StudyRepository

files, studies = FileStore(Path(sys.argv[1])), StudyRepository(Database(sys.argv[2]))
for number in range(int(sys.argv[3]), 10**6):
    uids = ("1.2", f"1.2.{number % 5}", f"1.2.{number % 5}.{number}")
    with files.new_spool_file() as spool:
        spool.write(b"%d" % number * 5000)
        path = files.commit(spool, *uids)
    studies.record_instance(InstanceRecord(
        study_instance_uid=uids[0], series_instance_uid=uids[1], sop_instance_uid=uids[2], sop_class_uid="1",
        transfer_syntax_uid="1", patient_id="P1", path=path, size=spool.size, sha256=spool.sha256))
    print(number, flush=True)
"""


def test_what_was_acknowledged_outlives_a_kill_at_any_moment(tmp_path: Path, sqlite_url: str) -> None:
    chance, first = random.Random(7), 0
    acknowledged: set[int] = set()
    for _ in range(3):
        command = [sys.executable, "-c", RECEIVER, str(tmp_path / "root"), sqlite_url, str(first)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        acknowledged.add(int(process.stdout.readline()))
        time.sleep(chance.uniform(0, 0.4))
        process.kill()
        acknowledged |= {int(line) for line in process.communicate()[0].splitlines()}
        first = max(acknowledged) + 1

    database, files = Database(sqlite_url), FileStore(tmp_path / "root")
    studies = StudyRepository(database)
    rows = {int(row.sop_instance_uid.rpartition(".")[2]): row for row in studies.instances_of("1.2")}
    assert acknowledged <= rows.keys()
    for number, row in rows.items():
        assert files.read(row.path) == b"%d" % number * 5000
    assert files.sweep() <= 3
    assert list((files.root / "spool").iterdir()) == []
    orphans = files.orphans(studies.known_paths())
    assert len(orphans) <= 3
    for orphan in orphans:
        data = orphan.read_bytes()
        record = InstanceRecord(
            study_instance_uid="1.2",
            series_instance_uid="1.2.99",
            sop_instance_uid=orphan.stem,
            sop_class_uid="1",
            transfer_syntax_uid="1",
            patient_id="P1",
            path=files.relative(orphan),
            size=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
        )
        assert studies.record_instance(record).outcome is Outcome.NEW
    assert files.orphans(studies.known_paths()) == []
    database.close()
