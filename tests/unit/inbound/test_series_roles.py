from __future__ import annotations

import csv

import pytest

from dicom_node.inbound.headers import InstanceHeader, read_header
from dicom_node.inbound.series_headers import SeriesHeaders, group_by_series
from dicom_node.inbound.series_roles import assign
from dicom_node.phantom.study import make_study
from dicom_node.phantom.write_dicom import objects_of
from pipeline.volume import SeriesRole

T1, T1CE, T2, FLAIR = SeriesRole.T1, SeriesRole.T1CE, SeriesRole.T2, SeriesRole.FLAIR

_SE_T1 = {"scanning_sequence": ("SE",), "repetition_time_ms": 550.0, "echo_time_ms": 9.0}
_MPRAGE = {
    "scanning_sequence": ("GR", "IR"),
    "repetition_time_ms": 1900.0,
    "echo_time_ms": 2.5,
    "inversion_time_ms": 900.0,
    "acquisition_type": "3D",
}
_BRAVO = {"scanning_sequence": ("GR",), "repetition_time_ms": 8.2, "echo_time_ms": 3.2, "inversion_time_ms": 450.0}
_TSE_T2 = {"scanning_sequence": ("SE",), "repetition_time_ms": 5000.0, "echo_time_ms": 100.0}
_FLAIR = {
    "scanning_sequence": ("SE", "IR"),
    "repetition_time_ms": 9000.0,
    "echo_time_ms": 110.0,
    "inversion_time_ms": 2500.0,
}
_SPACE_FLAIR = _FLAIR | {"repetition_time_ms": 5000.0, "echo_time_ms": 388.0, "inversion_time_ms": 1800.0}
_T1_FLAIR = _SE_T1 | {"repetition_time_ms": 2500.0, "echo_time_ms": 24.0, "inversion_time_ms": 900.0}


def role_of(one):
    choices = assign([one]).choices
    return next(iter(choices), None)


@pytest.mark.parametrize(
    ("description", "timing", "role"),
    [
        ("t1_se_tra", _SE_T1, T1),
        ("t1_mprage_sag_p2_iso", _MPRAGE, T1),
        ("t1_mpr_sag_iso", _MPRAGE, T1),
        ("Sag T1 BRAVO", _BRAVO, T1),
        ("sT1W_3D_TFE", _BRAVO, T1),
        ("AX T1 FLAIR", _T1_FLAIR, T1),
        ("AXT1", _SE_T1, T1),
        ("T1 nativ tra", _SE_T1, T1),
        ("t1 vor KM", _SE_T1, T1),
        ("T1 SIN CONTRASTE", _SE_T1, T1),
        ("T1 sans gado", _SE_T1, T1),
        ("T1 w/o contrast", _SE_T1, T1),
        ("T1 PRE-CONTRAST", _SE_T1, T1),
        ("T1 non-contrast", _SE_T1, T1),
        ("Ax T1 posterior fossa", _SE_T1, T1),
        ("T1 post-op", _SE_T1, T1),
        ("T1 post RT", _SE_T1, T1),
        ("t1_mprage_tra_p2_iso_KM", _MPRAGE, T1CE),
        ("T1 nach KM", _SE_T1, T1CE),
        ("t1_tse_tra +KM", _SE_T1, T1CE),
        ("Ax T1 BRAVO +C", _BRAVO, T1CE),
        ("+C AX T1 FSE", _SE_T1, T1CE),
        ("AX T1 FSE+C", _SE_T1, T1CE),
        ("AX T1 POST GAD", _SE_T1, T1CE),
        ("Ax T1 +Gd", _SE_T1, T1CE),
        ("T1 post without FS", _SE_T1, T1CE),
        ("T1CE", _SE_T1, T1CE),
        ("T1C tra", _SE_T1, T1CE),
        ("T1 GADO", _SE_T1, T1CE),
        ("T1 CON CONTRASTE", _SE_T1, T1CE),
        ("T1W_3D_TFE_post_Gd", _BRAVO, T1CE),
        ("T1 mdc", _SE_T1, T1CE),
        ("t2_tse_tra", _TSE_T2, T2),
        ("Ax T2 PROPELLER", _TSE_T2, T2),
        ("Ax T2 AIR Recon DL", _TSE_T2, T2),
        ("T2W_TSE", _TSE_T2, T2),
        ("t2_tirm_tra_dark-fluid", _FLAIR, FLAIR),
        ("Ax T2 FLAIR", _FLAIR, FLAIR),
        ("Sag CUBE FLAIR +C", _SPACE_FLAIR, FLAIR),
        ("t2_space_da-fl_sag", _SPACE_FLAIR, FLAIR),
        ("T2 FLAIR", _TSE_T2, FLAIR),
        ("", _TSE_T2, T2),
        ("", _FLAIR, FLAIR),
        ("", _MPRAGE, T1),
        ("Brain 3", {}, None),
        ("T2 TRA", {}, T2),
        ("PD tse", _TSE_T2 | {"echo_time_ms": 15.0}, None),
        ("t2_stir_cor", _TSE_T2 | {"inversion_time_ms": 160.0}, None),
        ("gre", {"scanning_sequence": ("GR",), "repetition_time_ms": 700.0, "echo_time_ms": 20.0}, None),
    ],
)
def test_words_and_timing(series, description, timing, role):
    assert role_of(series(series_description=description, **timing)) == role


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"series_description": "localizer"}, "LOCALIZER"),
        ({"series_description": "3Plane Loc SSFSE"}, "LOCALIZER"),
        ({"series_description": "T/S/C RF FAST PILOT"}, "LOCALIZER"),
        ({"image_type": ("ORIGINAL", "PRIMARY", "LOCALIZER")}, "LOCALIZER"),
        ({"series_description": "ep2d_diff_b1000_ADC"}, "DIFFUSION"),
        ({"series_description": "dADC"}, "DIFFUSION"),
        ({"b_value": 0.0}, "DIFFUSION"),
        ({"series_description": "SWI_Images"}, "SUSCEPTIBILITY"),
        ({"series_description": "T2* GRE"}, "SUSCEPTIBILITY"),
        ({"series_description": "rCBV"}, "PERFUSION"),
        ({"series_description": "TOF_3D_multi-slab"}, "ANGIOGRAPHY"),
        ({"series_description": "t1_sub"}, "SUBTRACTION"),
        ({"image_type": ("DERIVED", "PRIMARY", "SUBTRACTION")}, "SUBTRACTION"),
        ({"series_description": "t1_mprage_KM MPR cor"}, "REFORMAT"),
        ({"series_description": "t1 tra", "image_type": ("DERIVED", "SECONDARY", "MPR")}, "REFORMAT"),
        ({"series_description": "t1 tra", "image_type": ("DERIVED", "SECONDARY", "OTHER")}, "DERIVED"),
        ({"image_type": ("ORIGINAL", "PRIMARY", "P", "ND")}, "PHASE"),
        ({"series_description": "gre_field_mapping"}, "CALIBRATION"),
        ({"scanning_sequence": ("EP",)}, "EPI"),
        ({"image_type": ("ORIGINAL", "PRIMARY", "M", "MOSAIC")}, "MOSAIC"),
        ({"sop_class_uid": "1.2.840.10008.5.1.4.1.1.7"}, "SCREENSHOT"),
        ({"sop_class_uid": "1.2.840.10008.5.1.4.1.1.66.4", "modality": "SEG"}, "NOT_MR"),
        ({"modality": "CT", "sop_class_uid": "1.2.840.10008.5.1.4.1.1.2"}, "NOT_MR"),
        ({"model_name": "brain-tumor-node"}, "OWN_OBJECT"),
        ({"burned_in_annotation": True}, "BURNED_IN"),
        ({"series_description": "t2_tse_sag HWS"}, "OTHER_BODY_PART"),
        ({"body_part": "LSPINE"}, "OTHER_BODY_PART"),
        ({"series_description": "svs_se_30"}, "SPECTROSCOPY"),
        ({"series_description": "ciss3d_tra"}, "STEADY_STATE"),
        ({"series_description": "T1 map"}, "PARAMETER_MAP"),
    ],
)
def test_clutter_is_excluded_with_its_reason(series, fields, code):
    assignment = assign([series(**({"series_description": "t1 tra"} | _SE_T1 | fields))])
    assert [e.code for e in assignment.excluded] == [code]
    assert assignment.excluded[0].reason
    assert assignment.missing == tuple(SeriesRole)


def test_three_slices_are_too_few(series):
    assert assign([series(slices=3, series_description="t1", **_SE_T1)]).excluded[0].code == "TOO_FEW_SLICES"


def _two_t1(series, first=None, second=None):
    return assign(
        [
            series("1.1", series_description="T1", acquisition_datetime="20240101100000", **_SE_T1, **(first or {})),
            series("1.2", series_description="T1", acquisition_datetime="20240101103000", **_SE_T1, **(second or {})),
        ]
    )


def _chosen(assignment):
    return {str(role): choice.chosen.series_instance_uid for role, choice in assignment.choices.items()}


def test_the_agent_in_the_header_tells_two_equal_t1_apart(series):
    assert _chosen(_two_t1(series, second={"contrast_agent": "Gadovist"})) == {"T1": "1.1", "T1CE": "1.2"}


def test_an_agent_that_means_none_is_none(series):
    assignment = _two_t1(series, second={"contrast_agent": "NONE"})
    assert _chosen(assignment) == {"T1": "1.2"}
    assert assignment.rules == ("T1_PAIR_WITHOUT_SIGN_OF_CONTRAST",)


def test_an_agent_on_the_whole_exam_leaves_it_to_the_order(series):
    assignment = _two_t1(series, first={"contrast_agent": "GAD"}, second={"contrast_agent": "GAD"})
    assert _chosen(assignment) == {"T1": "1.1", "T1CE": "1.2"}
    assert assignment.rules == ("LATER_OF_T1_PAIR",)


def test_description_wins_over_the_tag(series):
    assignment = assign(
        [
            series("1.0", series_description="t2", acquisition_datetime="20240101095900", **_TSE_T2),
            series(
                "1.1",
                series_description="T1 nativ",
                acquisition_datetime="20240101100000",
                contrast_agent="KM",
                **_SE_T1,
            ),
        ]
    )
    assert _chosen(assignment) == {"T1": "1.1", "T2": "1.0"}
    assert assignment.rules == ("DESCRIPTION_OVER_TAG",)


def test_a_t1_after_a_series_with_contrast_is_enhanced(series):
    early, given, late = "20240101100000", "20240101101000", "20240101102000"
    assignment = assign(
        [
            series("1.1", series_description="T1", acquisition_datetime=early, **_SE_T1),
            series("1.2", series_description="perf", acquisition_datetime=given, contrast_agent="Gadovist"),
            series("1.3", series_description="T1", acquisition_datetime=late, **_SE_T1),
        ]
    )
    assert _chosen(assignment) == {"T1": "1.1", "T1CE": "1.3"}
    assert assignment.rules == ("AFTER_CONTRAST",)


def test_a_subtraction_says_nothing_of_when_contrast_was_given(series):
    early, late = "20240101100000", "20240101102000"
    assignment = assign(
        [
            series(
                "1.1",
                series_description="T1 KM SUB",
                acquisition_datetime=early,
                image_type=("DERIVED", "SECONDARY", "SUB"),
            ),
            series("1.2", series_description="T1", acquisition_datetime=late, **_SE_T1),
        ]
    )
    assert _chosen(assignment) == {"T1": "1.2"}


def test_thin_and_three_dimensional_before_thick_with_both_explained(series):
    assignment = assign(
        [
            series("1.1", series_description="t1 tra", step_mm=5.0, **_SE_T1),
            series("1.2", series_description="t1_mprage", slices=160, step_mm=1.0, **_MPRAGE),
        ]
    )
    choice = assignment.choices[T1]
    assert choice.chosen.series_instance_uid == "1.2"
    assert "3D acquisition" in choice.chosen.reasons
    assert choice.rejected[0].reasons[-1] == f"score {choice.rejected[0].score} is below the 115 of 't1_mprage'"


def test_a_whole_series_before_one_with_a_gap(series):
    assignment = assign(
        [
            series("1.1", series_description="t2", step_mm=5.0, **_TSE_T2),
            series("1.2", series_description="t2", step_mm=3.0, slices=48, without=(20,), **_TSE_T2),
        ]
    )
    assert _chosen(assignment) == {"T2": "1.1"}


def test_a_repeat_replaces_what_it_repeats(series):
    assert _chosen(_two_t1(series)) == {"T1": "1.2"}


def test_a_person_overrides_every_rule(series):
    one = series("1.1", series_description="localizer")
    two = series("1.2", series_description="t2", **_TSE_T2)
    assignment = assign([one, two], {"1.1": T1CE, "1.2": "ignore"})
    assert _chosen(assignment) == {"T1CE": "1.1"}
    assert [e.code for e in assignment.excluded] == ["IGNORED_BY_PERSON"]


def test_two_echoes_are_several_volumes(series):
    one = series(series_description="t2", **_TSE_T2)
    echoes = tuple(
        InstanceHeader.from_json(h.to_json() | {"echo_number": 2, "sop_instance_uid": f"9.{k}"})
        for k, h in enumerate(one.headers)
    )
    both = SeriesHeaders(series_instance_uid="1.2.3.4", headers=one.headers + echoes)
    assert assign([both]).excluded[0].code == "SEVERAL_VOLUMES"


def test_an_empty_study_lacks_all_roles():
    assignment = assign([])
    assert assignment.missing == tuple(SeriesRole)
    assert assignment.to_json() == {"roles": {}, "missing": ["T1", "T1CE", "T2", "FLAIR"], "excluded": [], "rules": []}


@pytest.mark.parametrize(
    ("vendor", "enhanced"), [("siemens", False), ("ge", False), ("philips", False), ("siemens", True)]
)
def test_every_phantom_series_gets_its_role_and_no_clutter_gets_one(vendor, enhanced):
    study = make_study(3, vendor, size="small", enhanced=enhanced)
    headers = [read_header(d) for s in study.series for d in objects_of(study, s)]
    assignment = assign(group_by_series(headers))
    assert {s.description: assignment.role_of(s.series_instance_uid) for s in study.series} == {
        s.description: s.role for s in study.series
    }
    told = {e.series_instance_uid for e in assignment.excluded} | set(_chosen(assignment).values())
    assert told == {s.series_instance_uid for s in study.series}


def _csv_series(row, number):
    def value(name, factor=1.0):
        return float(row[name]) * factor if row[name] else None

    return SeriesHeaders(
        series_instance_uid=str(number),
        headers=tuple(
            InstanceHeader(
                sop_instance_uid=f"1.{number}.{k}",
                sop_class_uid="1.2.840.10008.5.1.4.1.1.4",
                study_instance_uid="1",
                series_instance_uid=str(number),
                transfer_syntax_uid="1.2.840.10008.1.2.1",
                modality=row["Modality"],
                manufacturer=row["Manufacturer"],
                series_description=row["SeriesDescription"],
                protocol_name=row["ProtocolName"],
                sequence_name=row["SequenceName"] or row["PulseSequenceName"],
                scanning_sequence=tuple(filter(None, row["ScanningSequence"].split("\\"))),
                image_type=tuple(f"{row['ImageType']} {row['ImageTypeText']}".split()),
                acquisition_type=row["MRAcquisitionType"],
                repetition_time_ms=value("RepetitionTime", 1000),
                echo_time_ms=value("EchoTime", 1000),
                inversion_time_ms=value("InversionTime", 1000),
                contrast_agent=row["ContrastBolusIngredient"],
                rows=64,
                columns=64,
                pixel_spacing_mm=(3.0, 3.0),
                orientation=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
                position=(0.0, 0.0, 3.0 * k),
            )
            for k in range(30)
        ),
    )


#: Read by hand: all that shows a T1-weighted magnitude image of a head. The rest are EPI, diffusion, maps and phases.
_T1_IN_CSV = {"t1_fl2d_sag": 4, "AnatBrain_T1W3D": 1, "anat-T1w_acq-tfl": 2}


def test_real_headers_of_109_series(shared_data):
    with (shared_data / "dicom/headers.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    found: dict[str, int] = {}
    for number, row in enumerate(rows):
        assignment = assign([_csv_series(row, number)])
        if assignment.choices:
            assert set(assignment.choices) == {T1}
            found[row["SeriesDescription"]] = found.get(row["SeriesDescription"], 0) + 1
        else:
            assert assignment.excluded[0].code != "UNKNOWN_CONTRAST"
    assert len(rows) == 109
    assert found == _T1_IN_CSV
