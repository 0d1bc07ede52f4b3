"""What sign-in by the hospital's identity provider (OpenID Connect) runs with, checked at construction."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

from jwt.algorithms import has_crypto

from storage.vocabulary import Role
from web.settings import InvalidWebSettings

CALLBACK_PATH = "/sign-in/oidc/callback"


def is_safe_address(url: str) -> bool:
    """True for https, and for http to this machine, without a user name and a fragment."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port  # raises where it is no number
    except ValueError:
        return False
    if not host or parts.username is not None or parts.fragment or not url.isprintable() or " " in url:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host))


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True, kw_only=True)
class OidcSettings:
    """Frozen settings of one identity provider.

    issuer: as the provider writes it, letter for letter. public_url: where browsers reach this node; the provider sends
    them back to it, whatever Host a request names. client_secret: None for a public client, which PKCE alone protects.
    name: on the button; '' is the issuer's host. role_claim: the claim that holds groups or roles, dots lead into it;
    role_map: its values and the role of a new account, the first that fits counts. match_email: a first sign-in takes
    over the account of the same verified address. create_accounts: a first sign-in makes an account.
    ca_file: PEM certificates to trust instead of the system's.

    Raises:
        InvalidWebSettings: the package cryptography is missing, an address that is neither https nor loopback, no
            client_id, scopes without openid, accounts to be made without any role, or an unreadable ca_file.
    """

    issuer: str
    client_id: str
    public_url: str
    client_secret: str | None = field(default=None, repr=False)
    name: str = ""
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    role_claim: str = "groups"
    role_map: Mapping[str, Role] = field(default_factory=lambda: MappingProxyType({}))
    match_email: bool = False
    create_accounts: bool = False
    ca_file: Path | None = None

    def __post_init__(self) -> None:
        if not has_crypto:
            raise InvalidWebSettings(
                "web.oidc needs the package cryptography: install the node with its extra oidc, as in "
                "`pip install --constraint constraints.txt '.[oidc]'`"
            )
        if not is_safe_address(self.issuer) or urlsplit(self.issuer).query:
            raise InvalidWebSettings(
                f"web.oidc.issuer: {self.issuer!r} must be https and without a query, as in https://login.example.org"
            )
        public = urlsplit(self.public_url)
        if not is_safe_address(self.public_url) or public.path.strip("/") or public.query:
            raise InvalidWebSettings(
                f"web.oidc.public_url: {self.public_url!r} must be where browsers reach this node, https and without a "
                "path, as in https://node.example.org"
            )
        if not self.client_id:
            raise InvalidWebSettings("web.oidc.client_id: give the name under which the provider knows this node")
        if "openid" not in self.scopes or any(not scope or " " in scope for scope in self.scopes):
            raise InvalidWebSettings("web.oidc.scopes: one word each, and openid must be among them")
        if self.create_accounts and not self.role_map:
            raise InvalidWebSettings("web.oidc.create_accounts: say in web.oidc.roles.map who gets which role")
        self.tls_context()

    def tls_context(self) -> ssl.SSLContext:
        """Return how the provider's certificate is checked.

        Raises:
            InvalidWebSettings: ca_file cannot be read.
        """
        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise InvalidWebSettings(
                f"web.oidc.ca_file: {self.ca_file} cannot be read ({type(error).__name__}); it must be PEM certificates"
            ) from None

    @property
    def label(self) -> str:
        """What the button calls the provider."""
        return self.name or urlsplit(self.issuer).hostname or self.issuer

    @property
    def redirect_uri(self) -> str:
        """Where the provider sends browsers back to; it must be registered there."""
        return self.public_url.rstrip("/") + CALLBACK_PATH
