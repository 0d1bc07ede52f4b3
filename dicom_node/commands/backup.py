"""`backup`, `verify-backup`, `restore`."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from dicom_node.backup.layout import damaged_files, read_summary
from dicom_node.backup.making import make_backup
from dicom_node.backup.restoring import restore_backup
from dicom_node.commands.options import ConfigOption, configuration
from storage.clock import utc_now

BackupArgument = Annotated[Path, typer.Argument(help="A folder that `tumor-node backup` wrote.")]


def backup(
    out: Annotated[Path, typer.Argument(help="A new folder, outside storage.root.")],
    since: Annotated[
        Path | None, typer.Option(help="An earlier backup on the same disk: what never changes is linked from it.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Copy rows and files into a new folder while the node runs."""
    loaded = configuration(config)
    summary = make_backup(
        root=loaded.storage.root,
        database_url=loaded.storage.rows_url,
        out=out,
        made_at=utc_now(),
        software_version=version("brain-tumor-node"),
        since=since,
    )
    typer.echo(f"{out}: {summary.files} files, {summary.size_bytes / 1e6:.1f} MB")


def verify_backup(folder: BackupArgument) -> None:
    """Check every file of a backup against its hash."""
    damaged = damaged_files(folder)
    for path in damaged:
        typer.echo(f"missing or changed: {path}", err=True)
    if damaged:
        raise typer.Exit(1)
    typer.echo(f"{folder}: all {read_summary(folder).files} files are what they were")


def restore(folder: BackupArgument, config: ConfigOption = None) -> None:
    """Make an empty store anew from a backup. The node must be stopped."""
    loaded = configuration(config)
    summary = restore_backup(backup=folder, root=loaded.storage.root, database_url=loaded.storage.rows_url)
    typer.echo(f"restored {summary.files} files of {summary.made_at} into {loaded.storage.root}; start the node")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(backup)
    app.command("verify-backup")(verify_backup)
    app.command()(restore)
