"""Sign-in by the hospital's identity provider: OpenID Connect, authorization code with PKCE, state and nonce."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from urllib.parse import urlencode

from web.oidc_attempts import Attempt, Attempts, InvalidAttempt
from web.oidc_http import ProviderFault
from web.oidc_provider import CodeRefused, Provider
from web.oidc_settings import OidcSettings
from web.oidc_tokens import InvalidIdToken, Person, person, verified
from web.problems import Problem

log = logging.getLogger(__name__)

_MOST_CODE_CHARACTERS = 4096


class OidcSignIn:
    """The two steps of a sign-in by one provider. secret: of the node's tokens; clock: aware UTC."""

    def __init__(self, settings: OidcSettings, *, secret: str, clock: Callable[[], datetime]) -> None:
        self.settings = settings
        self._clock = clock
        self._attempts = Attempts(secret, clock)
        self._provider = Provider(settings, clock)

    def begin(self, next_path: str) -> tuple[str, str]:
        """Return the provider's address to send the browser to, and the cookie that keeps the attempt.

        Raises:
            Problem: 502 where the provider cannot be used.
        """
        try:
            endpoint = self._provider.endpoints().authorization
        except ProviderFault as fault:
            raise _unusable(fault) from None
        attempt, cookie = self._attempts.begin(next_path)
        query = urlencode(
            {
                "response_type": "code",
                "client_id": self.settings.client_id,
                "redirect_uri": self.settings.redirect_uri,
                "scope": " ".join(self.settings.scopes),
                "state": attempt.state,
                "nonce": attempt.nonce,
                "code_challenge": attempt.challenge,
                "code_challenge_method": "S256",
            }
        )
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{query}", cookie

    def finish(self, cookie: str, answer: Mapping[str, str]) -> tuple[Person, str]:
        """Return who was signed in at the provider, and where the visitor was going.

        answer: the query with which the browser came back.

        Raises:
            Problem: 400 for an attempt that is not this browser's, is old or was used; 403 where the provider declined,
                or what it sent does not hold; 502 where it cannot be used.
        """
        try:
            attempt = self._attempts.take(cookie, answer.get("state", ""))
        except InvalidAttempt as error:
            log.info("a sign-in by the identity provider was refused: attempt (%s)", error)
            raise Problem(
                400, "oidc-attempt", "This sign-in is not this browser's, was used, or took too long; sign in again."
            ) from None
        try:
            return self._person(attempt, answer), attempt.next_path
        except ProviderFault as fault:
            raise _unusable(fault) from None
        except (InvalidIdToken, CodeRefused) as error:
            log.warning("a sign-in by the identity provider was refused: %s (%s)", type(error).__name__, error)
            raise Problem(
                403,
                "oidc-token",
                "What the identity provider sent was not accepted; sign in again, or tell an administrator.",
            ) from None

    def _person(self, attempt: Attempt, answer: Mapping[str, str]) -> Person:
        settings = self.settings
        named = answer.get("iss")
        if named != settings.issuer and (named is not None or self._provider.endpoints().names_itself):
            raise InvalidIdToken("iss of the answer")
        code = answer.get("code", "")
        if "error" in answer or not 0 < len(code) <= _MOST_CODE_CHARACTERS:
            raise Problem(
                403, "oidc-declined", "The identity provider did not let you in; try again, or ask its administrator."
            )
        claims = verified(
            self._provider.id_token(code, attempt.verifier),
            key=self._provider.key,
            issuer=settings.issuer,
            client_id=settings.client_id,
            nonce=attempt.nonce,
            now=self._clock(),
        )
        return person(claims, settings.role_claim)


def _unusable(fault: ProviderFault) -> Problem:
    log.warning("the identity provider of web.oidc cannot be used: %s", fault)
    return Problem(
        502,
        "oidc-unusable",
        "The identity provider cannot be used now; sign in with your password, or try again later.",
    )
