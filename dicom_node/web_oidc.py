"""What of the configuration concerns the hospital's identity provider, as the dashboard takes it."""

from __future__ import annotations

import os
from types import MappingProxyType
from typing import TYPE_CHECKING

from dicom_node.config import ConfigurationInvalid, NodeConfig

if TYPE_CHECKING:
    from web.oidc_settings import OidcSettings


def oidc_settings(config: NodeConfig) -> OidcSettings | None:
    """The identity provider of `web.oidc`; None where none is configured.

    Raises:
        ConfigurationInvalid: a setting cannot be used, or the environment lacks the secret that `secret_env` names.
    """
    section = config.web.oidc
    if section.issuer is None:
        return None
    # Only now: the listener and the worker need nothing of the dashboard.
    from storage.vocabulary import Role
    from web.oidc_settings import OidcSettings
    from web.settings import InvalidWebSettings

    secret = os.environ.get(section.secret_env, "") if section.secret_env else None
    if secret == "":
        raise ConfigurationInvalid(
            f"web.oidc: the client's secret is what the environment variable {section.secret_env} holds, and that is "
            "not set; set it, or leave secret_env empty for a public client"
        )
    try:
        return OidcSettings(
            issuer=section.issuer,
            name=section.name,
            client_id=section.client_id,
            client_secret=secret,
            public_url=section.public_url,
            scopes=section.scopes,
            role_claim=section.roles.claim,
            role_map=MappingProxyType({group: Role(role) for group, role in section.roles.map.items()}),
            match_email=section.match_email,
            create_accounts=section.create_accounts,
            ca_file=section.ca_file,
        )
    except InvalidWebSettings as error:
        raise ConfigurationInvalid(str(error)) from None
