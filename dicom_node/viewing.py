"""After a run: its series as people look at them, each laid on the reference, and the brain alone for the 3D view.

Made when the results are out, one study after the other, and only while no study waits. Until then, and where it fails,
the page shows the reference series alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import structlog

from dicom_node.run_inputs import REPORT, run_volumes
from pipeline.nifti import greys_bytes
from pipeline.study_space import StudySpace
from pipeline.view_volumes import view_volumes
from pipeline.volume import Grid, SeriesRole
from storage.files import FileStore
from storage.scans import ScanRepository
from storage.studies import StudyRepository

log = structlog.get_logger("viewing")

#: Where the run's series lie, written with the report. The names of what was made of it, written last.
SPACE = "space.npz"
VIEWS = "views.json"


class Views:
    """The handler of what follows a run. give_way: blocks while a study waits.

    write: a run's id, a name and bytes; raises where the run was erased (`late_files.write_late`).
    """

    def __init__(
        self,
        *,
        scans: ScanRepository,
        studies: StudyRepository,
        files: FileStore,
        write: Callable[[str, str, bytes], object],
        give_way: Callable[[], None],
    ) -> None:
        self._scans = scans
        self._studies = studies
        self._files = files
        self._write = write
        self._give_way = give_way

    def make(self, run_id: str) -> None:
        """Write `view-NAME.nii.gz` for each volume to look at. Never raises; may run twice and then does nothing."""
        try:
            folder = self._files.abspath(f"results/{run_id}")
            if (folder / VIEWS).exists() or not (folder / SPACE).exists():
                return
            self._give_way()
            told = json.loads((folder / REPORT).read_bytes())
            run = self._scans.run(run_id)
            volumes = run_volumes(run, self._scans.get(run.scan_id), told, self._studies, self._files)
            kept = told["reference_grid"]
            onto = Grid(shape=tuple(kept["shape"]), affine=np.array(kept["affine"]))
            space = StudySpace.from_bytes((folder / SPACE).read_bytes())
            names = []
            for name, greys in view_volumes(volumes, space, SeriesRole(told["reference_role"]), onto):
                self._write(run_id, f"view-{name.lower()}.nii.gz", greys_bytes(greys, onto))
                names.append(name)
                self._give_way()
            self._write(run_id, VIEWS, json.dumps(names).encode())
        except Exception as error:  # pictures for the page must not cost anything
            log.warning("no views", run=run_id, error=type(error).__name__, exc_info=error)
