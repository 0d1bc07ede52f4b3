"""One identity provider: its endpoints (discovery), the keys it signs with, and codes exchanged for tokens."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote_plus

import jwt

from web.oidc_http import ProviderFault, ProviderHttp
from web.oidc_settings import OidcSettings, is_safe_address

_KEPT = timedelta(hours=1)
# A stranger can send tokens with any key id: the provider is not asked at each of them.
_KEYS_AGAIN = timedelta(seconds=10)
# So long a provider that did not answer is taken to be away, so that visitors do not all wait for it.
_AWAY = timedelta(seconds=5)
_MOST_TOKEN_CHARACTERS = 32 * 1024


class CodeRefused(Exception):
    """The provider does not take this code: used before, out of date, or another's."""


@dataclass(frozen=True, kw_only=True)
class Endpoints:
    """What discovery says. secret_in_body: the client's secret is a field of the form, not a header."""

    authorization: str
    token: str
    keys: str
    secret_in_body: bool
    names_itself: bool
    """The answers at the redirect URI carry `iss` (RFC 9207)."""


class Provider:
    """Discovery and keys are kept for an hour; keys are read again for one that is not among them.

    clock: aware UTC.
    """

    def __init__(self, settings: OidcSettings, clock: Callable[[], datetime]) -> None:
        self._settings = settings
        self._clock = clock
        self._http = ProviderHttp(settings.tls_context())
        self._endpoints: tuple[datetime, Endpoints] | None = None
        self._keys: tuple[datetime, list[Any]] | None = None
        self._away: tuple[datetime, str] | None = None

    def endpoints(self) -> Endpoints:
        """Return where to send browsers, codes and questions for keys.

        Raises:
            ProviderFault: no answer, another issuer than configured, or an address that is not https.
        """
        now = self._clock()
        if self._endpoints is not None and now - self._endpoints[0] < _KEPT:
            return self._endpoints[1]
        if self._away is not None and now - self._away[0] < _AWAY:
            raise ProviderFault(self._away[1])
        try:
            found = self._discovered()
        except ProviderFault as fault:
            self._away = now, str(fault)
            raise
        self._endpoints, self._away = (now, found), None
        return found

    def _discovered(self) -> Endpoints:
        document = self._http.get(self._settings.issuer.rstrip("/") + "/.well-known/openid-configuration")
        if document.get("issuer") != self._settings.issuer:
            raise ProviderFault("its discovery document names another issuer; write web.oidc.issuer as it stands there")
        addresses = [document.get(name) for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")]
        for address in addresses:
            if not isinstance(address, str) or not is_safe_address(address):
                raise ProviderFault("its discovery document lacks an endpoint, or one is not https")
        methods = document.get("token_endpoint_auth_methods_supported")
        if not isinstance(methods, list):
            methods = ["client_secret_basic"]  # OpenID Connect Discovery 1.0, section 3
        return Endpoints(
            authorization=str(addresses[0]),
            token=str(addresses[1]),
            keys=str(addresses[2]),
            secret_in_body="client_secret_basic" not in methods and "client_secret_post" in methods,
            names_itself=document.get("authorization_response_iss_parameter_supported") is True,
        )

    def id_token(self, code: str, verifier: str) -> str:
        """Exchange a code for an ID token, which is not checked yet.

        Raises:
            CodeRefused: the provider does not take the code.
            ProviderFault: no answer, no ID token, or the provider does not take this node for its client.
        """
        settings, endpoints = self._settings, self.endpoints()
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": settings.redirect_uri,
            "code_verifier": verifier,
        }
        headers: dict[str, str] = {}
        if settings.client_secret is None:
            fields["client_id"] = settings.client_id
        elif endpoints.secret_in_body:
            fields |= {"client_id": settings.client_id, "client_secret": settings.client_secret}
        else:
            pair = f"{quote_plus(settings.client_id)}:{quote_plus(settings.client_secret)}"
            headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        status, answer = self._http.post(endpoints.token, fields, headers)
        if status != 200:
            if answer.get("error") == "invalid_grant":
                raise CodeRefused
            raise ProviderFault(f"its token endpoint answers {status} {_word(answer.get('error'))}".rstrip())
        token = answer.get("id_token")
        if not isinstance(token, str) or not token or len(token) > _MOST_TOKEN_CHARACTERS:
            raise ProviderFault("its token endpoint sends no ID token, or one that is too long")
        return token

    def key(self, key_id: str | None, algorithm: str) -> jwt.PyJWK | None:
        """Return the key a token names, None where the provider has none for this algorithm.

        key_id: None for a token that names none; then the key must be the only one.

        Raises:
            ProviderFault: the keys cannot be read.
        """
        now = self._clock()
        found = _chosen(self._keys[1], key_id, algorithm) if self._keys is not None else None
        age = _KEPT if self._keys is None else now - self._keys[0]
        if age >= _KEPT or (found is None and age >= _KEYS_AGAIN):
            keys = self._http.get(self.endpoints().keys).get("keys")
            self._keys = now, keys if isinstance(keys, list) else []
            found = _chosen(self._keys[1], key_id, algorithm)
        return found


def _chosen(keys: list[Any], key_id: str | None, algorithm: str) -> jwt.PyJWK | None:
    kind = {"RS256": ("RSA", None), "ES256": ("EC", "P-256")}.get(algorithm)
    fitting = [
        key
        for key in keys
        if isinstance(key, dict)
        and (key.get("kty"), key.get("crv")) == kind
        and key.get("use", "sig") == "sig"
        and key.get("alg", algorithm) == algorithm
        and (key_id is None or key.get("kid") == key_id)
    ]
    if len(fitting) != 1:
        return None
    try:
        return jwt.PyJWK(fitting[0], algorithm=algorithm)
    except jwt.PyJWTError:
        return None


def _word(error: object) -> str:
    """An error code of OAuth 2; nothing where it is no such word, for it goes to the log."""
    return error if isinstance(error, str) and re.fullmatch(r"[a-z_]{1,40}", error) else ""
