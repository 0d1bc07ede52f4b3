"""`models agreement`: how far versions of a model agree on the studies that this node has answered."""

from __future__ import annotations

from collections.abc import Mapping

import typer

from dicom_node.commands.options import ConfigOption, configuration
from dicom_node.store import open_store
from storage.model_agreement import Agreement, Version, agreements
from storage.model_answers import AnswerTally


def agreement(config: ConfigOption = None) -> None:
    """Compare shadow versions with what was sent, and say what each version answered."""
    store = open_store(configuration(config))
    found, tallies = agreements(store.answers.pairs()), store.answers.tallies()
    store.database.close()
    for line in (*agreement_lines(found), "", *tally_lines(tallies)):
        typer.echo(line)


def agreement_lines(found: list[Agreement]) -> list[str]:
    """The table of agreement, a block of lines for each two versions."""
    if not found:
        return ["no shadow version has answered a study yet"]
    lines = []
    for one in found:
        kappa = "kappa undefined (one value throughout)" if one.kappa is None else f"kappa {one.kappa:.2f}"
        lines += [
            f"{one.version.task}: {_named(one.version)} beside {_named(one.reference)}",
            f"  {one.n} studies, {one.first_at:%Y-%m-%d} to {one.last_at:%Y-%m-%d}: same answer in {one.share:.1%}, "
            f"{kappa}",
        ]
        if one.mean_dice:
            lines.append(f"  mean Dice {_figures(one.mean_dice, '.3f')}")
            lines.append(f"  mean volume difference {_figures(one.mean_volume_difference_ml, '+.1f')} mL")
    return lines


def tally_lines(tallies: list[AnswerTally]) -> list[str]:
    """What each version answered in each mode, one line each."""
    lines = []
    for one in tallies:
        values = ", ".join(f"{name} {count}" for name, count in one.values.items())
        seconds = "" if one.mean_seconds is None else f", {one.mean_seconds:.1f} s each"
        lines.append(
            f"{one.version.task}: {_named(one.version)}, {one.mode}: {one.answers} answers ({values or 'none'}), "
            f"{one.errors} errors{seconds}"
        )
    return lines


def _named(version: Version) -> str:
    return f"{version.name} {version.version} ({version.sha256[:12]})"


def _figures(values: Mapping[str, float | None], form: str) -> str:
    return ", ".join(f"{name} {'-' if value is None else format(value, form)}" for name, value in values.items())


def register(group: typer.Typer) -> None:
    """Add the command to the group `models`."""
    group.command()(agreement)
