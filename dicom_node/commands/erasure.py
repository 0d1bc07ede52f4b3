"""`erase-patient` and `verify-receipt`."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from dicom_node.commands.options import ConfigOption, configuration
from storage.clock import utc_now


def erase_patient(
    receipt: Annotated[Path, typer.Argument(help="A new file for the receipt.")],
    by: Annotated[str, typer.Option(help="Who answers for it; stands in receipt and audit trail.")],
    issuer: Annotated[str | None, typer.Option(help="Only of this Issuer of Patient ID; left out: of any.")] = None,
    config: ConfigOption = None,
) -> None:
    """Erase a patient's images, results and rows, read the Patient ID from standard input, and write a receipt.

    Exit code 1 where something of the patient was found afterwards; the receipt says where.
    """
    from dicom_node.erasure import ErasureRefused
    from dicom_node.erasure import erase_patient as erase
    from dicom_node.store import open_store
    from dicom_node.web_secrets import web_secret

    # Not an argument: those are seen in the list of processes and kept in the shell's history.
    patient_id = sys.stdin.readline().strip()
    if not patient_id:
        raise ErasureRefused("nothing was erased: no Patient ID on standard input")
    loaded = configuration(config)
    store = open_store(loaded)
    # Before anything goes: what cannot be told of afterwards is not begun.
    try:
        told = receipt.open("x", encoding="utf-8")
    except OSError as error:
        raise ErasureRefused(f"nothing was erased: {receipt} cannot be made ({error.strerror})") from None
    with told:
        try:
            made = erase(
                store,
                patient_id=patient_id,
                issuer=issuer,
                by=by,
                at=utc_now(),
                secret=web_secret(loaded),
                rows_url=loaded.storage.rows_url,
                software_version=version("brain-tumor-node"),
            )
            store.database.close()
            told.write(made.to_json())
            told.flush()
        except BaseException:
            receipt.unlink(missing_ok=True)
            raise
    typer.echo(f"{len(made.scans)} scans, {len(made.files)} images erased; {made.searched} files searched")
    for place in made.left:
        typer.echo(f"still found in {place}", err=True)
    raise typer.Exit(0 if made.clean else 1)


def verify_receipt(
    receipt: Annotated[Path, typer.Argument(help="A receipt of `tumor-node erase-patient`.")],
    config: ConfigOption = None,
) -> None:
    """Check a receipt against its hash and the sealed audit trail."""
    from dicom_node.erasure import Receipt
    from dicom_node.erasure import verify_receipt as verify
    from dicom_node.store import open_store

    store = open_store(configuration(config))
    verify(store, Receipt.from_json(receipt.read_text(encoding="utf-8")))
    store.database.close()
    typer.echo(f"{receipt}: as it was written, and in the audit trail")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("erase-patient")(erase_patient)
    app.command("verify-receipt")(verify_receipt)
