"""A report as JSON-ready values and back.

The voxels of a segmentation stay out: they are saved as a NIfTI file of their own, and come back as an argument.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline.anatomy_json import (
    bidimensional_from_dict,
    bidimensional_to_dict,
    brain_from_dict,
    brain_to_dict,
    extent_from_dict,
    extent_to_dict,
    place_from_dict,
    place_to_dict,
)
from pipeline.errors import PipelineError
from pipeline.followup_json import follow_up_from_dict, follow_up_to_dict
from pipeline.report import (
    DiameterLine,
    Finding,
    Flag,
    Label,
    Lesion,
    Measurement,
    ModelChoice,
    ModelIdentity,
    RegistrationResult,
    Report,
    Segmentation,
    SkipCode,
    Skipped,
    Stage,
    StageTiming,
)
from pipeline.survival import prognosis_from_dict, prognosis_to_dict
from pipeline.volume import Grid, SeriesRole

#: Raised with any change of the fields below that an older reader would get wrong.
SCHEMA_VERSION = 1

Json = dict[str, Any]


class ReportUnreadable(PipelineError):
    """A report dictionary of another version, with fields missing, or whose segmentation is not the one given."""

    code = "report-unreadable"


def report_to_dict(report: Report) -> Json:
    """The report as plain dicts, lists, strings and numbers, snake_case, without voxels.

    A stage's entry carries 'skipped': true with code and reason, or false with its result.
    """
    measurements = report.measurements
    return {
        "schema_version": SCHEMA_VERSION,
        "notice": report.notice,
        "roles": [role.value for role in report.roles],
        "reference_role": report.reference_role.value,
        "reference_grid": _grid_to_dict(report.reference_grid),
        "detection": _finding_to_dict(report.detection),
        "tumour_type": _finding_to_dict(report.tumour_type),
        "segmentation": _segmentation_to_dict(report.segmentation),
        "measurements": _skipped_to_dict(measurements)
        if isinstance(measurements, Skipped)
        else {"skipped": False, "values": [_measurement_to_dict(measurement) for measurement in measurements]},
        "lesions": [_lesion_to_dict(lesion) for lesion in report.lesions],
        "registrations": [{**vars(result), "role": result.role.value} for result in report.registrations],
        "flags": [vars(flag) for flag in report.flags],
        "timings": [{**vars(timing), "stage": timing.stage.value} for timing in report.timings],
        "choices": [{**vars(choice), "stage": choice.stage.value} for choice in report.choices],
        "brain": brain_to_dict(report.brain),
        "bidimensional": [bidimensional_to_dict(lesion) for lesion in report.bidimensional],
        "follow_up": follow_up_to_dict(report.follow_up),
        # Nobody asked, nothing is said.
        **({} if report.prognosis is None else {"prognosis": prognosis_to_dict(report.prognosis)}),
    }


def report_from_dict(values: Mapping[str, Any], segmentation: Segmentation | None) -> Report:
    """The report that `report_to_dict` wrote; `segmentation` holds the voxels where there was one.

    Raises:
        ReportUnreadable: another schema version, a field missing or of a wrong kind, voxels missing, voxels given where
            the report has none, or voxels of another grid, model or volume than the report's.
    """
    version = values.get("schema_version")
    if version != SCHEMA_VERSION:
        raise ReportUnreadable(f"the report has schema version {version}, this program reads {SCHEMA_VERSION}")
    try:
        return Report(
            notice=values["notice"],
            roles=tuple(SeriesRole(role) for role in values["roles"]),
            reference_role=SeriesRole(values["reference_role"]),
            reference_grid=_grid_from_dict(values["reference_grid"]),
            detection=_finding_from_dict(values["detection"]),
            tumour_type=_finding_from_dict(values["tumour_type"]),
            segmentation=_segmentation_from_dict(values, segmentation),
            measurements=_skipped_from_dict(values["measurements"])
            if values["measurements"]["skipped"]
            else tuple(Measurement(**value) for value in values["measurements"]["values"]),
            lesions=tuple(_lesion_from_dict(lesion) for lesion in values["lesions"]),
            registrations=tuple(
                RegistrationResult(**{**result, "role": SeriesRole(result["role"])})
                for result in values["registrations"]
            ),
            flags=tuple(Flag(**flag) for flag in values["flags"]),
            timings=tuple(StageTiming(**{**timing, "stage": Stage(timing["stage"])}) for timing in values["timings"]),
            # Reports written before models were chosen lack it.
            choices=tuple(
                ModelChoice(**{**choice, "stage": Stage(choice["stage"])}) for choice in values.get("choices", [])
            ),
            # And those written before the brain was measured.
            brain=brain_from_dict(values.get("brain")),
            bidimensional=tuple(bidimensional_from_dict(lesion) for lesion in values.get("bidimensional", [])),
            follow_up=follow_up_from_dict(values.get("follow_up")),
            prognosis=prognosis_from_dict(values.get("prognosis")),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ReportUnreadable(f"the report lacks a field or holds a wrong one: {error!r}") from error


def identity_to_dict(model: ModelIdentity) -> Json:
    """A model's identity; 'members' only where it is an ensemble."""
    told = {name: value for name, value in vars(model).items() if name != "members"}
    return told | {"members": [identity_to_dict(member) for member in model.members]} if model.members else told


def identity_from_dict(values: Mapping[str, Any]) -> ModelIdentity:
    """What `identity_to_dict` wrote. Raises TypeError for other fields."""
    members = tuple(identity_from_dict(member) for member in values.get("members", ()))
    return ModelIdentity(**{**values, "members": members})


def _grid_to_dict(grid: Grid) -> Json:
    return {"shape": list(grid.shape), "affine": grid.affine.tolist()}


def _grid_from_dict(values: Json) -> Grid:
    return Grid(shape=tuple(values["shape"]), affine=np.array(values["affine"], dtype=np.float64))


def _skipped_to_dict(skipped: Skipped) -> Json:
    return {"skipped": True, "stage": skipped.stage.value, "code": skipped.code.value, "reason": skipped.reason}


def _skipped_from_dict(values: Json) -> Skipped:
    return Skipped(stage=Stage(values["stage"]), code=SkipCode(values["code"]), reason=values["reason"])


def _finding_to_dict(finding: Finding | Skipped) -> Json:
    if isinstance(finding, Skipped):
        return _skipped_to_dict(finding)
    return {
        "skipped": False,
        "stage": finding.stage.value,
        "value": finding.value,
        "probability": finding.probability,
        "probabilities": dict(finding.probabilities),
        "basis": finding.basis,
        "role": finding.role.value,
        "model": identity_to_dict(finding.model),
        "slice_probabilities": [list(pair) for pair in finding.slice_probabilities],
        "calibration_error": finding.calibration_error,
    }


def _finding_from_dict(values: Json) -> Finding | Skipped:
    if values["skipped"]:
        return _skipped_from_dict(values)
    return Finding(
        stage=Stage(values["stage"]),
        value=values["value"],
        probability=values["probability"],
        probabilities=dict(values["probabilities"]),
        basis=values["basis"],
        role=SeriesRole(values["role"]),
        model=identity_from_dict(values["model"]),
        slice_probabilities=tuple((position, value) for position, value in values["slice_probabilities"]),
        calibration_error=values.get("calibration_error"),
    )


def _measurement_to_dict(measurement: Measurement) -> Json:
    """An interval that is not there is left out, as it was before there were any."""
    told = vars(measurement).copy()
    if measurement.low is None:
        del told["low"], told["high"]
    return told


def _label_volumes_ml(segmentation: Segmentation) -> dict[str, float]:
    counts = np.bincount(segmentation.labels.ravel(), minlength=max(Label) + 1)
    return {label.name: float(counts[label]) * segmentation.grid.voxel_volume_ml for label in Label}


def _segmentation_to_dict(segmentation: Segmentation | Skipped) -> Json:
    if isinstance(segmentation, Skipped):
        return _skipped_to_dict(segmentation)
    return {
        "skipped": False,
        "model": identity_to_dict(segmentation.model),
        "label_volumes_ml": _label_volumes_ml(segmentation),
    }


def _segmentation_from_dict(report: Mapping[str, Any], segmentation: Segmentation | None) -> Segmentation | Skipped:
    values = report["segmentation"]
    if values["skipped"]:
        if segmentation is not None:
            raise ReportUnreadable("voxels were given for a report whose segmentation was skipped")
        return _skipped_from_dict(values)
    if segmentation is None:
        raise ReportUnreadable("the report has a segmentation, and no voxels were given for it")
    if segmentation.model != identity_from_dict(values["model"]):
        raise ReportUnreadable("the voxels given are of another model than the report's segmentation")
    if not segmentation.grid.same_as(_grid_from_dict(report["reference_grid"]), tolerance_mm=0.01):
        raise ReportUnreadable("the voxels given lie on another grid than the report's reference series")
    kept, given = values["label_volumes_ml"], _label_volumes_ml(segmentation)
    if any(abs(kept[name] - given[name]) > 1e-3 + 1e-4 * kept[name] for name in given):
        raise ReportUnreadable("the voxels given have other volumes than the report's segmentation")
    return segmentation


def _lesion_to_dict(lesion: Lesion) -> Json:
    return {
        "number": lesion.number,
        "centroid_mm": list(lesion.centroid_mm),
        "volume_ml": lesion.volume_ml,
        "longest": _line_to_dict(lesion.longest),
        "perpendicular": _line_to_dict(lesion.perpendicular),
        "extent": extent_to_dict(lesion.extent),
        "place": place_to_dict(lesion.place),
        "tracking_uid": lesion.tracking_uid,
    }


def _lesion_from_dict(values: Json) -> Lesion:
    return Lesion(
        number=values["number"],
        centroid_mm=_point(values["centroid_mm"]),
        volume_ml=values["volume_ml"],
        longest=_line_from_dict(values["longest"]),
        perpendicular=_line_from_dict(values["perpendicular"]),
        extent=extent_from_dict(values.get("extent")),
        place=place_from_dict(values.get("place")),
        tracking_uid=values.get("tracking_uid", ""),
    )


def _line_to_dict(line: DiameterLine | None) -> Json | None:
    if line is None:
        return None
    return {"start_mm": list(line.start_mm), "end_mm": list(line.end_mm), "length_mm": line.length_mm}


def _line_from_dict(values: Json | None) -> DiameterLine | None:
    if values is None:
        return None
    return DiameterLine(
        start_mm=_point(values["start_mm"]), end_mm=_point(values["end_mm"]), length_mm=values["length_mm"]
    )


def _point(values: list[float]) -> tuple[float, float, float]:
    x, y, z = values
    return x, y, z
