"""`tumor-node models agreement`: the table in words, and an empty node's."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from typer.testing import CliRunner

from dicom_node.cli import application
from dicom_node.commands.model_agreement import agreement_lines, tally_lines
from storage.model_agreement import AnswerPair, Version, agreements
from storage.model_answers import AnswerTally
from storage.vocabulary import AnswerMode

NEW = Version(task="segmentation", name="new", version="2", sha256="b" * 64)
SENT = Version(task="segmentation", name="old", version="1", sha256="a" * 64)
MOMENT = datetime(2026, 3, 1, tzinfo=UTC)


def test_the_table_in_words() -> None:
    pairs = [
        AnswerPair(
            version=NEW,
            reference=SENT,
            value="tumour",
            reference_value="tumour",
            at=MOMENT,
            dice={"WT": dice, "ET": None},
            volume_difference_ml={"WT": 2.0, "ET": 0.0},
        )
        for dice in (0.9, 0.8)
    ]
    assert agreement_lines(agreements(pairs)) == [
        "segmentation: new 2 (bbbbbbbbbbbb) beside old 1 (aaaaaaaaaaaa)",
        "  2 studies, 2026-03-01 to 2026-03-01: same answer in 100.0%, kappa undefined (one value throughout)",
        "  mean Dice WT 0.850, ET -",
        "  mean volume difference WT +2.0, ET +0.0 mL",
    ]


def test_what_each_version_answered() -> None:
    tally = AnswerTally(
        version=NEW,
        mode=AnswerMode.SHADOW,
        answers=3,
        errors=1,
        mean_seconds=12.34,
        first_at=MOMENT,
        last_at=MOMENT,
        values={"tumour": 2, "no tumour": 1},
    )
    assert tally_lines([tally]) == [
        "segmentation: new 2 (bbbbbbbbbbbb), shadow: 3 answers (tumour 2, no tumour 1), 1 errors, 12.3 s each"
    ]


def test_a_new_node_has_nothing_to_compare(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(f"storage: {{root: {tmp_path / 'root'}}}\n")
    ended = CliRunner().invoke(application(), ["models", "agreement", "--config", str(tmp_path / "config.yaml")])
    assert (ended.exit_code, ended.stdout.strip()) == (0, "no shadow version has answered a study yet")
