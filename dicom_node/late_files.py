"""Files that follow a run's results: while they wait or are made, a person may erase the scan."""

from __future__ import annotations

from storage.errors import NotFound
from storage.files import FileStore
from storage.scans import ScanRepository


def write_late(scans: ScanRepository, files: FileStore, run_id: str, name: str, data: bytes) -> None:
    """Put results/<run>/<name> in place while the run is there.

    Erasing removes the folder, then the rows, then the folder again: a file written before the rows went goes with it,
    and one written after is removed here.

    Raises:
        NotFound: the run was erased; nothing of it is left. StorageFull, StorageFault.
    """
    scans.run(run_id)
    files.write_result(run_id, name, data)
    try:
        scans.run(run_id)
    except NotFound:
        files.remove_folder(f"results/{run_id}")
        raise
