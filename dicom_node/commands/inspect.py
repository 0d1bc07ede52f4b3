"""`check` and `echo`: what is wrong, and does a destination answer."""

from __future__ import annotations

from typing import Annotated

import typer

from dicom_node.commands.options import ConfigOption, configuration
from dicom_node.errors import Permanent


class UnknownDestination(Permanent):
    """A destination that the configuration does not name."""

    code = "unknown-destination"


def check(
    config: ConfigOption = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Check the models' files and hashes without loading them.")
    ] = False,
) -> None:
    """List what is wrong with configuration, database, models and destinations. Exit code 1 where something is."""
    from dicom_node.check import check_node

    loaded = configuration(config)
    wrong = 0
    for line in check_node(loaded, load=not quick):
        typer.echo(f"{'ok   ' if line.ok else 'WRONG'}  {line.what}: {line.detail}")
        wrong += not line.ok
    typer.echo("all is well" if not wrong else f"{wrong} things are wrong")
    raise typer.Exit(1 if wrong else 0)


def echo(name: Annotated[str, typer.Argument(help="A destination's name.")], config: ConfigOption = None) -> None:
    """Ask one destination for a sign of life: C-ECHO, or a QIDO-RS search."""
    from dicom_node.outward import destinations_of, reach

    loaded = configuration(config)
    found = [destination for destination in destinations_of(loaded) if destination.name == name]
    if not found:
        known = ", ".join(section.name for section in loaded.destinations) or "none"
        raise UnknownDestination(f"'{name}' is not a configured destination; configured: {known}")
    answer = reach(found[0], loaded.node.ae_title)
    typer.echo(f"{name}: {answer.text} ({answer.seconds * 1000:.0f} ms)")
    raise typer.Exit(0 if answer.ok else 1)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (check, echo):
        app.command()(command)
