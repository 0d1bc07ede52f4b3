"""One phantom study: a patient, four series in a vendor's habits, clutter, and the truth."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from dicom_node.phantom.acquisition import Size, sampling
from dicom_node.phantom.anatomy import Head, make_head, site_in_brain
from dicom_node.phantom.clutter import ClutterSeries, make_clutter
from dicom_node.phantom.fields import generator, moved
from dicom_node.phantom.imaging import Imperfections
from dicom_node.phantom.lesions import Lesion, draw_lesion
from dicom_node.phantom.motion import draw_motion
from dicom_node.phantom.patients import PhantomPatient, plain_patient
from dicom_node.phantom.scanner import Scanner
from dicom_node.phantom.series import Clutter, PhantomSeries, Stack, store
from dicom_node.phantom.vendors import VENDORS, SeriesHabit, Vendor, VendorName
from dicom_node.uids import derive_uid
from pipeline.volume import FloatArray, Grid, LabelArray, SeriesRole

#: The order in which a technician measures them: what needs no contrast comes first.
_PROTOCOL = (SeriesRole.T2, SeriesRole.FLAIR, SeriesRole.T1, SeriesRole.T1CE)
ALL_ROLES = tuple(SeriesRole)
_FIRST_DAY = date(2024, 1, 8)


@dataclass(frozen=True, kw_only=True, eq=False)
class PhantomStudy:
    """A study and all that is true of it. visit: 0 for the first. model: ManufacturerModelName."""

    seed: int
    salt: str
    vendor: Vendor
    model: str
    size: Size
    enhanced: bool
    visit: int
    patient: PhantomPatient
    study_instance_uid: str
    frame_of_reference_uid: str
    study_date: date
    study_description: str
    head: Head
    series: tuple[PhantomSeries, ...]

    def of_role(self, role: SeriesRole) -> PhantomSeries:
        """The series of a role.

        Raises:
            KeyError: the study was made without that role.
        """
        for series in self.series:
            if series.role is role:
                return series
        raise KeyError(f"this phantom study holds no {role} series")

    def truth_on(self, grid: Grid, motion: NDArray[np.float64] | None = None) -> LabelArray:
        """True labels 0, 1, 2, 4 at the voxel centres of `grid`, in the position the head had under `motion`.

        motion: head RAS mm to scanner RAS mm, (4, 4); none is the position during T1CE.
        """
        return self.head.truth_on(
            grid if motion is None else moved(grid, np.asarray(np.linalg.inv(motion), dtype=np.float64))
        )

    def truth_of(self, series: PhantomSeries) -> LabelArray:
        """True labels on the series' own grid, where the head was while it was measured."""
        return self.truth_on(series.volume.grid, series.motion)


def first_visit(seed: int) -> date:
    """The date of the first study of a seed."""
    return _FIRST_DAY + timedelta(days=seed % 300)


def make_study(
    seed: int,
    vendor: VendorName,
    *,
    size: Size = "standard",
    tumour: bool = True,
    clutter: bool = True,
    enhanced: bool = False,
    roles: Iterable[SeriesRole] = ALL_ROLES,
    motion_mm: float = 3.0,
    motion_deg: float = 3.0,
    patient: PhantomPatient | None = None,
    salt: str = "",
    lesions: tuple[Lesion, ...] | None = None,
    visit: int = 0,
    days_after_first: int = 0,
    flaws: Imperfections | None = None,
) -> PhantomStudy:
    """A study, the same for the same arguments.

    The head, its tumour and its tissues follow from `seed` alone; motion, noise and wording from seed, vendor and
    visit. `salt` changes nothing but the UIDs. `lesions`, where given, replaces the tumour drawn from the seed. T1CE
    is measured with the head at rest; every other series under its own motion of at most motion_mm and motion_deg.
    """
    make = VENDORS[vendor]
    rng = generator(seed, "study", vendor, str(visit))
    noise_seed = int(rng.integers(2**31))
    head = make_head(seed)
    if lesions is None:
        lesions = (draw_lesion(seed, site_in_brain(head, seed)),) if tumour else ()
    head = make_head(seed, lesions)
    scanner = Scanner(head, noise_seed, size, flaws or Imperfections())
    tilt = float(rng.uniform(10, 15))
    uid_parts = ("phantom", str(seed), vendor, str(visit), "enhanced" if enhanced else "classic", size, salt)

    def position(name: str) -> NDArray[np.float64]:
        return np.eye(4) if name == SeriesRole.T1CE else draw_motion(noise_seed, name, motion_mm, motion_deg)

    wanted = set(roles)
    found: list[PhantomSeries] = []
    images: dict[SeriesRole, tuple[FloatArray, Grid]] = {}
    first_number = 2 if clutter else 1
    for order, role in enumerate(r for r in _PROTOCOL if r in wanted):
        habit = make.series[role]
        where = sampling(role, size, tilt)
        images[role] = scanner.measure(habit.sequence, where, role, position(role))
        image, grid = images[role]
        stored, slope = store(image, make, noise_seed, role)
        number = (first_number + order) * make.number_step + (1 if make.number_step > 1 else 0)
        found.append(
            PhantomSeries(
                role=role,
                clutter=None,
                description=str(rng.choice(habit.descriptions)),
                habit=habit,
                number=number,
                series_instance_uid=derive_uid(*uid_parts, "series", role),
                minutes_after_start=3 + 5 * order,
                motion=position(role),
                stacks=(Stack(stored=stored, slope=slope, grid=grid, thickness_mm=where.thickness_mm),),
            )
        )
    if clutter:
        still = position("clutter")
        made = make_clutter(
            make,
            make.series[SeriesRole.T1CE],
            lambda sequence, where, name: scanner.measure(sequence, where, name, still)[0],
            images.get(SeriesRole.T1CE),
            images.get(SeriesRole.T1),
            lambda where: scanner.diffusion_map(where, still),
        )
        for order, extra in enumerate(made):
            found.append(_finished(extra, make, noise_seed, order, still, derive_uid(*uid_parts, "series", extra.kind)))
    return PhantomStudy(
        seed=seed,
        salt=salt,
        vendor=make,
        model=str(rng.choice(make.models)),
        size=size,
        enhanced=enhanced,
        visit=visit,
        patient=patient or plain_patient(seed),
        study_instance_uid=derive_uid(*uid_parts, "study"),
        frame_of_reference_uid=derive_uid(*uid_parts, "frame of reference"),
        study_date=first_visit(seed) + timedelta(days=days_after_first),
        study_description=str(rng.choice(make.study_descriptions)),
        head=head,
        series=tuple(sorted(found, key=lambda series: series.number)),
    )


def _finished(
    extra: ClutterSeries, vendor: Vendor, seed: int, order: int, motion: NDArray[np.float64], uid: str
) -> PhantomSeries:
    stacks: list[Stack] = []
    for index, (image, grid, thickness, image_type, b_value) in enumerate(extra.parts):
        stored, slope = store(image, vendor, seed, f"{extra.kind} {index}")
        stacks.append(
            Stack(stored=stored, slope=slope, grid=grid, thickness_mm=thickness, image_type=image_type, b_value=b_value)
        )
    habit: SeriesHabit = extra.habit
    # The localizer comes first, what is derived last.
    place = 1 if extra.kind is Clutter.LOCALIZER else 10 + order
    return PhantomSeries(
        role=None,
        clutter=extra.kind,
        description=habit.descriptions[0],
        habit=habit,
        number=place * vendor.number_step + (1 if vendor.number_step > 1 else 0),
        series_instance_uid=uid,
        minutes_after_start=1 if extra.kind is Clutter.LOCALIZER else 25 + order,
        motion=motion if extra.moved else np.eye(4),
        stacks=tuple(stacks),
        screenshot=extra.screenshot,
    )
