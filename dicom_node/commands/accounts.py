"""`add-user`: the first account, and any other, without the web page."""

from __future__ import annotations

import getpass
import sys
from typing import Annotated

import typer

from dicom_node.commands.options import ConfigOption, configuration
from dicom_node.errors import Permanent
from dicom_node.store import open_store
from storage.audit_chain import AUDIT_PREFIX
from storage.vocabulary import AccountStatus, Role
from web.passwords import PasswordHasher, PasswordRefused, check_new_password


class AccountRefused(Permanent):
    """An account that cannot be made; the message says what to change."""

    code = "account-refused"


def add_user(
    username: Annotated[str, typer.Argument(help="Name to sign in with.")],
    role: Annotated[Role, typer.Option(help="What the account may do.")] = Role.DOCTOR,
    email: Annotated[str, typer.Option(help="Address; USERNAME@localhost where not given.")] = "",
    full_name: Annotated[str, typer.Option(help="Name shown on the page.")] = "",
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input.")
    ] = False,
    config: ConfigOption = None,
) -> None:
    """Make an active account; the password is asked for twice."""
    if password_stdin:
        password = sys.stdin.readline().rstrip("\n")
    else:
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    try:
        check_new_password(password)
    except PasswordRefused as error:
        raise AccountRefused(str(error)) from None
    store = open_store(configuration(config))
    user = store.users.create(
        username=username,
        email=email or f"{username}@localhost",
        hashed_password=PasswordHasher().hash(password),
        full_name=full_name,
        role=role,
        status=AccountStatus.ACTIVE,
    )
    store.audit.append(
        AUDIT_PREFIX + "create-user",
        f"account '{user.username}' ({user.role}) made on the command line",
        data={"outcome": "success", "username": getpass.getuser(), "account": user.username, "role": user.role.value},
    )
    store.database.close()
    typer.echo(f"account '{user.username}' made, role {user.role}")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(add_user)
