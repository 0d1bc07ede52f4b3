"""`check`, `doctor` and `echo`: what is wrong, and does a destination answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from dicom_node.commands.options import ConfigOption, configuration
from dicom_node.config import ConfigurationInvalid
from dicom_node.doctor.findings import Fault, Finding, wrong
from dicom_node.doctor.report import as_json, is_well, line, summary
from dicom_node.errors import Permanent
from dicom_node.logs import configure_logging
from storage.clock import utc_now


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
    loaded = configuration(config)
    from dicom_node.doctor.examination import check_node

    findings: list[Finding] = []
    for finding in check_node(loaded, load=not quick):
        findings.append(finding)
        typer.echo(line(finding))
    typer.echo(summary(findings))
    raise typer.Exit(0 if is_well(findings) else 1)


def doctor(
    config: ConfigOption = None,
    to: Annotated[
        Path | None,
        typer.Option("--json", metavar="FILE", help="Also write it as JSON; - for standard output alone."),
    ] = None,
    study: Annotated[
        bool, typer.Option("--study/--no-study", help="Send a phantom study (a test patient) all the way through.")
    ] = True,
    study_timeout_s: Annotated[float, typer.Option("--study-timeout", help="Seconds the study may take.")] = 600.0,
    quick: Annotated[
        bool, typer.Option("--quick", help="Check the models' files and hashes without loading them.")
    ] = False,
) -> None:
    """Examine the node, its destinations and a study's whole way. Exit code 1 where something has to be mended."""
    configure_logging("error", "doctor")
    findings: list[Finding] = []

    def tell(finding: Finding) -> None:
        findings.append(finding)
        if str(to) != "-":
            typer.echo(line(finding))

    try:
        loaded = configuration(config)
    except ConfigurationInvalid as error:
        tell(wrong("configuration", Fault.CONFIGURATION_INVALID, str(error)))
    else:
        from dicom_node.doctor.examination import Scope, examine_node

        scope = Scope(load_models=not quick, study_within_s=study_timeout_s if study else None)
        for finding in examine_node(loaded, scope):
            tell(finding)
    report = json.dumps(as_json(findings, utc_now()), indent=1)
    if str(to) == "-":
        typer.echo(report)
    else:
        typer.echo(summary(findings))
        if to is not None:
            to.write_text(report + "\n", encoding="utf-8")
    raise typer.Exit(0 if is_well(findings) else 1)


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
    for command in (check, doctor, echo):
        app.command()(command)
