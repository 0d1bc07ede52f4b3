"""Which account somebody has whom the identity provider vouches for: known, found by address, or made."""

from __future__ import annotations

import hashlib
import re
import secrets

from fastapi import Request

from storage.errors import Conflict
from storage.identities import Identity
from storage.users import UserRow
from storage.vocabulary import AccountStatus, Role
from web.context import WebContext
from web.dependencies import client_address
from web.oidc_settings import OidcSettings
from web.oidc_tokens import Person
from web.problems import Problem
from web.settings import Registration
from web.trail import record


def account_for(context: WebContext, request: Request, settings: OidcSettings, person: Person) -> UserRow:
    """Return a person's account, whatever its status.

    Raises:
        Problem: 403 for nobody known here, without a verified address or without a role; 409 where the address belongs
            to another account; 429.
    """
    identity = Identity(issuer=person.issuer, subject=person.subject)
    known = context.identities.account(identity)
    if known is not None:
        return context.users.by_id(known)
    if not settings.match_email and not settings.create_accounts:
        raise _unknown()
    if not person.email:
        raise Problem(
            403,
            "oidc-email",
            "The identity provider does not vouch for your e-mail address; ask its administrator to verify it.",
        )
    if settings.match_email and (owner := context.users.by_email(person.email)) is not None:
        return _linked(context, request, identity, owner)
    if not settings.create_accounts:
        raise _unknown()
    return _made(context, request, settings, identity, person)


def _unknown() -> Problem:
    return Problem(403, "oidc-unknown", "You have no account here; ask an administrator for one.")


def _taken() -> Problem:
    return Problem(
        409,
        "oidc-taken",
        "Your e-mail address has an account here that this sign-in does not belong to; ask an administrator.",
    )


def _linked(context: WebContext, request: Request, identity: Identity, owner: UserRow) -> UserRow:
    if owner.status is not AccountStatus.ACTIVE:
        # Whoever asked for it has not been let in by anybody: it stays nobody's at the provider.
        return owner
    try:
        context.identities.link(identity, owner.id)
    except Conflict:
        raise _taken() from None
    record(context, request, "change-profile", user=owner, fields=["identity"])
    return owner


def _made(context: WebContext, request: Request, settings: OidcSettings, identity: Identity, person: Person) -> UserRow:
    policy = context.settings.registration
    if policy is Registration.CLOSED:
        raise _unknown()
    role = role_of(settings, person)
    if role is None:
        raise Problem(403, "oidc-role", "The identity provider gives you no role here; ask its administrator for one.")
    context.limits.check_registration(client_address(request))
    for username in _usernames(person):
        try:
            user = context.users.create(
                username=username,
                email=person.email,
                # Nobody knows it: this account signs in at the provider alone.
                hashed_password=context.hasher.hash(secrets.token_urlsafe(32)),
                full_name=person.full_name[:200],
                role=role,
                status=AccountStatus.ACTIVE if policy is Registration.OPEN else AccountStatus.PENDING,
                identity=identity,
            )
        except Conflict as error:
            if error.field == "username":
                continue
            break
        record(context, request, "register", user=user, by="identity provider", role=str(role))
        return user
    # A browser that came back twice at once has made the account by now.
    known = context.identities.account(identity)
    if known is None:
        raise _taken()
    return context.users.by_id(known)


def role_of(settings: OidcSettings, person: Person) -> Role | None:
    """Return the role of the first entry of the map that is among a person's groups."""
    return next((role for group, role in settings.role_map.items() if group in person.groups), None)


def _usernames(person: Person) -> tuple[str, str]:
    """What the account may be called: as at the provider, and where that is taken or no name here, with a mark."""
    wished = (person.username or person.email).partition("@")[0]
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", wished).strip("._-")[:50]
    mark = hashlib.sha256(f"{person.issuer}\0{person.subject}".encode()).hexdigest()[:8]
    marked = f"{name or 'user'}-{mark}"
    return (name if len(name) >= 3 else marked), marked
