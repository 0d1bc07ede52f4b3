"""A node with its pages for a browser: receiver and worker as a truth node, the web application in this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dicom_node.node import build_web
from dicom_node.phantom.nifti_cases import make_brats_case
from dicom_node.phantom.study import PhantomStudy, make_study
from dicom_node.phantom.timepoints import follow_up
from dicom_node.phantom.write_dicom import write_study
from pipeline.nifti import save_volume
from pipeline.volume import SeriesRole, Volume
from storage.vocabulary import AccountStatus, Role
from tests.acceptance.nodes import TruthNode, send
from tests.acceptance.test_shadow import CountingPacs
from tests.integration.test_web_server import served
from web.passwords import PasswordHasher

SEED = 11
ROLES = (SeriesRole.T1CE, SeriesRole.FLAIR)
PASSWORD = "a long pass phrase of the tests"


@dataclass(frozen=True, kw_only=True)
class Site:
    """Where it is, the node behind it, and where the phantom's files are written."""

    url: str
    node: TruthNode
    folder: Path

    def first_study(self) -> PhantomStudy:
        return make_study(SEED, "siemens", size="small", clutter=False, roles=ROLES[:1])

    def second_study(self, first: PhantomStudy) -> PhantomStudy:
        return follow_up(first, "grown", clutter=False, roles=ROLES)

    def send(self, study: PhantomStudy) -> None:
        """C-STORE a study as a modality would."""
        paths = [path for series in write_study(self.folder / study.study_instance_uid, study) for path in series.paths]
        assert len(send(self.node.address, paths)) == len(paths)

    def nifti_files(self) -> list[Path]:
        """Four files of one case, coarse for time's sake, named by role."""
        case = make_brats_case(SEED, 4.0)
        paths = []
        for role, image in case.images.items():
            paths.append(self.folder / f"case_{role.lower()}.nii.gz")
            save_volume(paths[-1], Volume(voxels=(1000 * image).astype(np.float32), grid=case.grid))
        return paths


@contextmanager
def site(folder: Path) -> Iterator[Site]:
    """A running node with an account for each role, named as the role."""
    sections = {"models": {"explain": False}}
    with CountingPacs() as pacs:
        node = TruthNode(folder / "node", SEED, pacs.ae_title, pacs.port, study_quiet_s=3.0, sections=sections)
        hasher = PasswordHasher(4)
        for role in Role:
            node.store.users.create(
                username=role.value,
                email=f"{role.value}@hospital.example",
                hashed_password=hasher.hash(PASSWORD),
                full_name=f"Robin {role.value.title()}",
                role=role,
                status=AccountStatus.ACTIVE,
            )
        node.start("--quick", "--still")
        try:
            with served(build_web(node.config, node.store)) as url:
                yield Site(url=url, node=node, folder=folder)
        finally:
            node.stop()
            node.store.database.close()
