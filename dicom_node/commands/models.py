"""`models list`, `models register` and `models optimise`: which models the node has, a new one, and a faster one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from dicom_node.commands import model_agreement
from dicom_node.commands.options import ConfigOption, ModelsOption, configuration
from dicom_node.errors import Permanent
from dicom_node.logs import configure_logging
from pipeline.errors import ConversionFailed, PipelineError
from pipeline.models.runtime_options import RuntimeOptions
from pipeline.volume import REFERENCE_ORDER

models = typer.Typer(help="The models of the node: list them, add one, make them faster.", no_args_is_help=True)

_SIDE_TEXT = "Side of the slices in pixels, or three sides of a volume."


class EntryInvalid(Permanent):
    """Words on the command line from which no manifest entry can be made."""

    code = "entry-invalid"


@models.command("list")
def list_models(
    folder: ModelsOption = None,
    load: Annotated[bool, typer.Option("--load", help="Also load each model and try it, which takes seconds.")] = False,
    config: ConfigOption = None,
) -> None:
    """The manifest's models, how each is used, and what is wrong where one cannot be. Exit code 1 where one cannot."""
    from pipeline.models.catalogue import check_models, load_models
    from pipeline.models.manifest import read_manifest

    where, options = _settings(folder, config)
    statuses = load_models(where, replace(options, convert=False))[1] if load else check_models(where)
    for values, status in zip(read_manifest(where), statuses, strict=True):
        mode, runtime = str(values.get("mode", "active")), str(values.get("runtime", "reference"))
        said = status.detail if status.ok else f"NOT USABLE: {status.detail}"
        typer.echo(f"{status.task:<13} {status.name} {status.version}  {mode}, {runtime}\n{'':<13} {said}")
    raise typer.Exit(0 if all(status.ok for status in statuses) else 1)


@models.command("register")
def register_file(
    what: Annotated[str, typer.Argument(metavar="FILE|NAME", help="A weight file, or an entry whose file changed.")],
    name: Annotated[str, typer.Option(help="How reports name the model; the file's name where not given.")] = "",
    task: Annotated[str, typer.Option(help="detection, type or segmentation.")] = "",
    version: Annotated[str, typer.Option(help="The version reports name.")] = "1",
    input_size: Annotated[list[int] | None, typer.Option(help=_SIDE_TEXT)] = None,
    classes: Annotated[str, typer.Option(help="The node's names of the classes, with commas, in its order.")] = "",
    kind: Annotated[
        str, typer.Option("--format", help="The manifest's 'format', where the suffix tells another.")
    ] = "",
    more: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=JSON", help="Any other manifest key.")] = None,
    reference: Annotated[bool, typer.Option("--reference", help="Look for no faster runtime.")] = False,
    folder: ModelsOption = None,
    config: ConfigOption = None,
) -> None:
    """Check a weight file, convert it to a faster runtime where that is faithful, and enter it in the manifest."""
    from pipeline.models.manifest import DETECTION_CLASSES
    from pipeline.models.optimise import manifest_values
    from pipeline.models.registration import format_of, register_model

    where, options = _settings(folder, config)
    source = Path(what) if Path(what).exists() else None
    values: dict[str, Any] = {}
    if source is None:
        values = dict(manifest_values(where, what))
    elif task not in ("detection", "type", "segmentation"):
        raise EntryInvalid(f"'{what}' is a file: say with --task whether it is for detection, type or segmentation")
    else:
        values = {"name": source.stem, "task": task, "version": version, "format": format_of(source, task)}
    given: dict[str, Any] = {"name": name, "task": task, "format": kind, "input_size": input_size}
    given["classes"] = [word.strip() for word in classes.split(",")] if classes else None
    values |= {key: value for key, value in given.items() if value}
    if source is None and version != "1":
        values["version"] = version
    if source is not None and task != "segmentation":
        values.setdefault("roles", [role.value for role in REFERENCE_ORDER])
    if task == "detection":
        values.setdefault("classes", list(DETECTION_CLASSES))
    values |= dict(_assignment(word) for word in more or ())
    done = register_model(values, where, options, source=source, faster=not reference)
    typer.echo(f"registered {values['name']} {values['version']}: {done.detail}")
    parity = done.values.get("runtime_parity")
    if parity:
        typer.echo(f"held against the reference: {json.dumps(parity)}")


@models.command()
def optimise(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="All, where none is named.")] = None,
    cases: Annotated[
        Path | None, typer.Option(help="Labelled NIfTI cases, to try a segmenter's lower precision.")
    ] = None,
    beside: Annotated[
        bool, typer.Option("--beside", help="Keep a classifier's converted file beside its weights, not in the cache.")
    ] = False,
    folder: ModelsOption = None,
    config: ConfigOption = None,
) -> None:
    """Convert models to their fastest faithful runtime, and say so in the manifest. Exit code 1 where one fails."""
    from pipeline.models.manifest import ManifestEntry, read_manifest
    from pipeline.models.optimise import OPTIMISERS, manifest_values, optimised
    from pipeline.models.training.release import register as enter

    where, options = _settings(folder, config)
    failed = 0
    for name in names or [str(values.get("name")) for values in read_manifest(where)]:
        try:
            values = optimised(manifest_values(where, name), where, options, cases)
            if beside and values["task"] != "segmentation" and values["format"] in OPTIMISERS:
                from pipeline.models.resnet50 import keep_beside

                values |= keep_beside(ManifestEntry.from_json(values), where, options)
            enter(where, values)
            parity = (
                f", held against the reference: {json.dumps(found)}" if (found := values.get("runtime_parity")) else ""
            )
            typer.echo(f"{name}: {values.get('runtime', 'runs as fast as it can')}{parity}")
        except ConversionFailed as error:
            failed += 1
            typer.echo(f"{name}: stays with its reference: {error.reason}", err=True)
        except PipelineError as error:
            failed += 1
            typer.echo(str(error), err=True)
    raise typer.Exit(1 if failed else 0)


def _settings(folder: Path | None, config: Path | None) -> tuple[Path, RuntimeOptions]:
    from dicom_node.node import runtime_options

    configure_logging("error", "models")
    loaded = configuration(config)
    return folder or loaded.models.folder, replace(runtime_options(loaded), convert=True)


def _assignment(word: str) -> tuple[str, Any]:
    key, equals, text = word.partition("=")
    if not equals:
        raise EntryInvalid(f"--set wants KEY=JSON, not '{word}'")
    try:
        return key, json.loads(text)
    except ValueError:
        return key, text  # a plain word needs no quotes


def register(app: typer.Typer) -> None:
    """Add the command group."""
    model_agreement.register(models)
    app.add_typer(models, name="models")
