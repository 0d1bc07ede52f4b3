"""Three vendor styles x ten seeds, clutter included: every series gets its true role, no clutter gets one."""

from __future__ import annotations

import pytest

from dicom_node.inbound.headers import read_header
from dicom_node.inbound.series_headers import group_by_series
from dicom_node.inbound.series_roles import assign
from dicom_node.phantom.study import make_study
from dicom_node.phantom.vendors import VendorName
from dicom_node.phantom.write_dicom import objects_of

VENDORS: tuple[VendorName, ...] = ("siemens", "ge", "philips")


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("vendor", VENDORS)
def test_every_series_is_what_it_is(vendor: VendorName, seed: int) -> None:
    study = make_study(seed, vendor, size="small", clutter=True)
    headers = [read_header(instance) for series in study.series for instance in objects_of(study, series)]
    assignment = assign(group_by_series(headers))
    for series in study.series:
        assert assignment.role_of(series.series_instance_uid) == series.role, series.description
    assert assignment.missing == ()
    assert len(study.series) > 4
