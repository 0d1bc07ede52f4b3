"""Sign-in by an identity provider, against a real one on loopback that signs with real keys."""

from __future__ import annotations

import base64
import dataclasses
import hmac
import json
import logging
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from fastapi.testclient import TestClient

from storage.errors import Conflict
from storage.identities import Identity, IdentityRepository
from storage.vocabulary import AccountStatus, Role
from tests.certificates import Authority
from tests.identity_provider import (
    CLIENT_ID,
    CLIENT_SECRET,
    IdentityProvider,
    ec_key,
    identity_provider,
    public_pem,
    rsa_key,
)
from web.oidc_settings import OidcSettings
from web.settings import InvalidWebSettings

REPOSITORY = Path(__file__).resolve().parents[3]
COOKIE = "btn_oidc"
CALLBACK = "/sign-in/oidc/callback"
NOT_ACCEPTED = "was not accepted"


def settings(issuer: str, **changes: Any) -> OidcSettings:
    usual: dict[str, Any] = {
        "issuer": issuer,
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "public_url": "https://node.example",
        "name": "Hospital",
        "role_map": {"neuro-radiology": Role.DOCTOR, "staff": Role.TECHNICIAN},
        "match_email": True,
    }
    return OidcSettings(**usual | changes)


@pytest.fixture
def provider(node: Any) -> Iterator[IdentityProvider]:
    with identity_provider(node.clock) as running:
        node.oidc = settings(running.issuer)
        yield running


@pytest.fixture(scope="module")
def one_browser(shared_node: Any) -> Iterator[tuple[TestClient, IdentityProvider]]:
    """One browser and one provider for the tokens that are refused: they leave nothing behind."""
    with identity_provider(shared_node.clock) as running:
        shared_node.oidc = settings(running.issuer)
        curie(shared_node)
        with shared_node.client() as client:
            yield client, running


@pytest.fixture
def browser_of(one_browser: tuple[TestClient, IdentityProvider]) -> Iterator[tuple[TestClient, IdentityProvider]]:
    client, running = one_browser
    client.cookies.clear()
    yield client, running
    running.sign = running.signed


def configured(node: Any, **changes: Any) -> None:
    node.oidc = dataclasses.replace(node.oidc, **changes)


def go_there(client: TestClient, next_path: str = "/") -> dict[str, str]:
    """Begin, be signed in at the provider, and return the query with which the browser comes back."""
    begun = client.get("/sign-in/oidc", params={"next": next_path}, follow_redirects=False)
    assert begun.status_code == 303, begun.text
    with httpx.Client(trust_env=False, verify=False) as elsewhere:
        back = urlsplit(elsewhere.get(begun.headers["location"]).headers["location"])
    assert f"{back.scheme}://{back.netloc}{back.path}" == f"https://node.example{CALLBACK}"
    return {name: values[0] for name, values in parse_qs(back.query).items()}


def come_back(client: TestClient, answer: dict[str, str]) -> httpx.Response:
    return client.get(CALLBACK, params=answer, follow_redirects=False)


def sign_in(client: TestClient, next_path: str = "/") -> httpx.Response:
    return come_back(client, go_there(client, next_path))


def me(client: TestClient) -> dict[str, Any] | None:
    answer = client.get("/api/auth/me")
    return answer.json() if answer.status_code == 200 else None


def refused(client: TestClient, answer: httpx.Response, status: int, text: str) -> None:
    """The sign-in form says why, nobody is signed in, and the cookie of the attempt is gone."""
    assert (answer.status_code, text in answer.text) == (status, True), answer.text
    assert 'name="password"' in answer.text
    assert me(client) is None
    assert any(line.startswith(f'{COOKIE}="";') for line in answer.headers.get_list("set-cookie"))


def curie(node: Any, status: AccountStatus = AccountStatus.ACTIVE) -> Any:
    return node.user(Role.DOCTOR, "m.curie", status)


def test_a_person_signs_in_and_is_known_by_the_subject_from_then_on(node: Any, provider: IdentityProvider) -> None:
    user = curie(node)
    with node.client() as client:
        assert "Sign in with Hospital" in client.get("/sign-in").text
        done = sign_in(client, "/upload?a=1")
        assert (done.status_code, done.headers["location"]) == (303, "/upload?a=1")
        cookies = {line.partition("=")[0]: line for line in done.headers.get_list("set-cookie")}
        assert "HttpOnly" in cookies["btn_session"]
        assert "Max-Age=0" in cookies[COOKIE]
        assert (me(client) or {})["username"] == "m.curie"
        assert client.get("/upload").status_code == 200
    # The address changed at the provider, where nobody vouches for the new one: the subject counts.
    provider.claims |= {"email": "marie@elsewhere.example", "email_verified": False}
    with node.client() as client:
        assert sign_in(client).status_code == 303
        assert (me(client) or {})["id"] == user.id
    entries = [(e["username"], e["outcome"], e["by"]) for e in node.events("audit.sign-in")]
    assert entries == [("m.curie", "success", "identity provider")] * 2
    assert [event["fields"] for event in node.events("audit.change-profile")] == [["identity"]]


def test_the_cookie_of_the_attempt_is_short_lived_and_out_of_a_scripts_reach(
    node: Any, provider: IdentityProvider
) -> None:
    with node.client(cookie_secure=True) as client:
        begun = client.get("/sign-in/oidc", follow_redirects=False)
    cookie = begun.headers["set-cookie"]
    assert cookie.startswith("__Host-btn_oidc=")
    for part in ("HttpOnly", "Secure", "SameSite=lax", "Path=/", "Max-Age=600"):
        assert part in cookie
    asked = parse_qs(urlsplit(begun.headers["location"]).query)
    assert asked["code_challenge_method"] == ["S256"]
    assert len(asked["state"][0]) == len(asked["nonce"][0]) == len(asked["code_challenge"][0]) == 43


def test_the_way_back_is_the_configured_one_whatever_host_a_request_names(
    node: Any, provider: IdentityProvider
) -> None:
    with node.client() as client:
        begun = client.get(
            "/sign-in/oidc",
            headers={"Host": "evil.example", "X-Forwarded-Host": "evil.example"},
            follow_redirects=False,
        )
    assert parse_qs(urlsplit(begun.headers["location"]).query)["redirect_uri"] == [f"https://node.example{CALLBACK}"]


def test_a_password_still_signs_in_the_same_account(node: Any, provider: IdentityProvider) -> None:
    curie(node)
    with node.client() as client:
        sign_in(client)
        login = {"username": "m.curie", "password": "correct horse battery"}
        assert client.post("/api/auth/login", json=login).status_code == 200


def test_a_sign_in_by_the_provider_ends_as_any_other(node: Any, provider: IdentityProvider) -> None:
    user = curie(node)
    with node.client() as client:
        sign_in(client)
        assert me(client) is not None
        node.users.revoke_tokens(user.id)
        assert me(client) is None


@pytest.mark.parametrize("state", [None, "", "x" * 43, "é"])
def test_another_state_is_refused(node: Any, provider: IdentityProvider, state: str | None) -> None:
    curie(node)
    with node.client() as client:
        answer = go_there(client)
        answer = {name: value for name, value in answer.items() if name != "state"}
        refused(
            client, come_back(client, answer if state is None else {**answer, "state": state}), 400, "sign in again"
        )
    assert "/token" not in provider.asked
    assert [event["reason"] for event in node.events("audit.sign-in")] == ["oidc-attempt"]


def test_a_browser_that_did_not_begin_is_refused(node: Any, provider: IdentityProvider) -> None:
    curie(node)
    with node.client() as attacker, node.client() as victim:
        refused(victim, come_back(victim, go_there(attacker)), 400, "sign in again")
    assert "/token" not in provider.asked


def test_a_cookie_is_taken_once(node: Any, provider: IdentityProvider) -> None:
    curie(node)
    with node.client() as client:
        answer = go_there(client)
        cookie = client.cookies[COOKIE]
        assert come_back(client, answer).status_code == 303
        client.cookies.clear()
        client.cookies.set(COOKIE, cookie)
        refused(client, come_back(client, answer), 400, "was used")
    assert provider.asked.count("/token") == 1


def test_a_code_is_taken_once_whichever_process_is_asked(node: Any, provider: IdentityProvider) -> None:
    curie(node)
    with node.client() as client, node.client() as other_process:
        answer = go_there(client)
        other_process.cookies.set(COOKIE, client.cookies[COOKIE])
        assert come_back(client, answer).status_code == 303
        refused(other_process, come_back(other_process, answer), 403, NOT_ACCEPTED)


def test_an_attempt_ends_after_ten_minutes(node: Any, provider: IdentityProvider) -> None:
    curie(node)
    with node.client() as client:
        answer = go_there(client)
        node.clock.forward(minutes=10)
        refused(client, come_back(client, answer), 400, "took too long")


def test_a_cookie_somebody_changed_or_a_sign_ins_token_is_none(node: Any, provider: IdentityProvider) -> None:
    user = curie(node)
    with node.client() as client:
        for forge in ("token", "changed", "unsigned"):
            answer = go_there(client)
            head, claims, signature = client.cookies[COOKIE].split(".")
            values = json.loads(base64.urlsafe_b64decode(claims + "=="))
            forged = {
                "token": client.app.state.context.tokens.issue(user.id, user.token_version),
                "changed": f"{head}.{_part({**values, 'next': '//evil.example'})}.{signature}",
                "unsigned": f"{_part({'alg': 'none'})}.{claims}.",
            }[forge]
            client.cookies.clear()
            client.cookies.set(COOKIE, forged)
            refused(client, come_back(client, answer), 400, "sign in again")
            client.cookies.clear()


def _part(values: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(values).encode()).rstrip(b"=").decode()


def without_signature(claims: dict[str, Any]) -> str:
    return f"{_part({'alg': 'none', 'kid': 'first'})}.{_part(claims)}."


def with_the_public_key_as_secret(claims: dict[str, Any]) -> str:
    signed = f"{_part({'alg': 'HS256', 'kid': 'first', 'typ': 'JWT'})}.{_part(claims)}"
    digest = hmac.digest(public_pem("first"), signed.encode(), "sha256")
    return f"{signed}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def by(key: Any, algorithm: str = "RS256", **header: Any) -> Any:
    return lambda claims: jwt.encode(claims, key, algorithm=algorithm, headers=header)


@pytest.mark.parametrize(
    "sign",
    [
        without_signature,
        with_the_public_key_as_secret,
        by(rsa_key("another"), kid="first"),
        by(rsa_key("first"), "PS256", kid="first"),
        by(rsa_key("first"), kid="unknown"),
        by(rsa_key("first"), kid="first", crit=["exp"]),
        by(ec_key(), "ES256", kid="first"),
        lambda claims: "no token",
        lambda claims: "a.b.c",
        lambda claims: jwt.encode(claims, rsa_key("first"), algorithm="RS256", headers={"kid": "first"})[:-4] + "AAAA",
    ],
)
def test_a_token_that_the_providers_key_did_not_sign_is_refused(
    browser_of: tuple[TestClient, IdentityProvider], sign: Any
) -> None:
    client, provider = browser_of
    provider.sign = sign
    refused(client, sign_in(client), 403, NOT_ACCEPTED)
    provider.sign = provider.signed
    assert sign_in(client).status_code == 303


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "of another attempt"},
        {"nonce": None},
        {"aud": "another"},
        {"aud": ["another"]},
        {"aud": [CLIENT_ID, "another"]},
        {"aud": [CLIENT_ID, "another"], "azp": "another"},
        {"azp": "another"},
        {"iss": "https://evil.example"},
        {"iss": None},
        {"exp": -61},
        {"exp": None},
        {"exp": "never"},
        {"exp": 1e300},
        {"iat": 120},
        {"iat": -3600},
        {"iat": None},
        {"nbf": 120},
        {"sub": ""},
        {"sub": None},
        {"sub": 7},
        {"sub": "x" * 256},
    ],
)
def test_a_token_for_another_time_place_or_attempt_is_refused(
    shared_node: Any, browser_of: tuple[TestClient, IdentityProvider], claims: dict[str, Any]
) -> None:
    client, provider = browser_of
    now = int(shared_node.clock().timestamp())

    def sign(given: dict[str, Any]) -> str:
        times = {name: now + claims[name] for name in ("exp", "iat", "nbf") if isinstance(claims.get(name), int)}
        return raw_rs256({name: value for name, value in {**given, **claims, **times}.items() if value is not None})

    provider.sign = sign
    refused(client, sign_in(client), 403, NOT_ACCEPTED)


def raw_rs256(claims: dict[str, Any], key_id: str = "first") -> str:
    """Signed as it stands: PyJWT would refuse to sign some claims and keys, another provider's library would not."""
    signed = f"{_part({'alg': 'RS256', 'kid': key_id})}.{_part(claims)}"
    signature = rsa_key(key_id).sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{signed}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


@pytest.mark.parametrize("claims", [{"aud": [CLIENT_ID]}, {"aud": [CLIENT_ID, "another"], "azp": CLIENT_ID}])
def test_an_audience_that_is_a_list_may_be_right(node: Any, provider: IdentityProvider, claims: dict[str, Any]) -> None:
    curie(node)
    provider.claims |= claims
    with node.client() as client:
        assert sign_in(client).status_code == 303


def test_a_short_key_signs_nobody_in(node: Any, provider: IdentityProvider) -> None:
    curie(node)
    provider.key_id = "short"
    provider.sign = lambda claims: raw_rs256(claims, "short")
    with node.client() as client:
        refused(client, sign_in(client), 403, NOT_ACCEPTED)


def test_es256_is_taken(node: Any, provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    curie(node)
    key = ec_key()
    public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key()))
    monkeypatch.setattr(provider, "keys", lambda: [{**public, "kid": "curve", "alg": "ES256"}])
    provider.sign = by(key, "ES256", kid="curve")
    with node.client() as client:
        assert sign_in(client).status_code == 303


def test_a_rotated_key_is_fetched_and_an_unknown_one_not_at_every_token(node: Any, provider: IdentityProvider) -> None:
    curie(node)
    with node.client() as client:
        assert sign_in(client).status_code == 303
        assert sign_in(client).status_code == 303
        assert provider.asked.count("/keys") == 1
        provider.sign = by(rsa_key("first"), kid="unknown")
        client.cookies.clear()
        for _ in range(3):
            refused(client, sign_in(client), 403, NOT_ACCEPTED)
        assert provider.asked.count("/keys") == 1
        node.clock.forward(seconds=10)
        provider.key_id, provider.sign = "second", provider.signed
        assert sign_in(client).status_code == 303
        client.cookies.clear()
        assert provider.asked.count("/keys") == 2
        # The old one is no longer the provider's.
        provider.sign = by(rsa_key("first"), kid="first")
        refused(client, sign_in(client), 403, NOT_ACCEPTED)


@pytest.mark.parametrize(
    "claims",
    [
        {"email_verified": False},
        {"email_verified": "true"},
        {"email_verified": None},
        {"email": ""},
        {"email": ["m.curie@hospital.example"]},
        # NFKC would make this the address of the account.
        {"email": "ｍ.curie@hospital.example"},
    ],
)
@pytest.mark.parametrize("create", [False, True])
def test_an_address_nobody_vouches_for_finds_and_makes_no_account(
    node: Any, provider: IdentityProvider, claims: dict[str, Any], create: bool
) -> None:
    curie(node)
    configured(node, create_accounts=create)
    provider.claims |= claims
    with node.client(registration="open") as client:
        refused(client, sign_in(client), 403, "does not vouch for your e-mail address")
    assert node.users.count() == 1


def test_an_account_is_found_by_address_only_where_that_is_wanted(node: Any, provider: IdentityProvider) -> None:
    curie(node)
    configured(node, match_email=False)
    with node.client() as client:
        refused(client, sign_in(client), 403, "You have no account here")
    configured(node, create_accounts=True)
    with node.client(registration="open") as client:
        refused(client, sign_in(client), 409, "does not belong to")
    assert node.users.count() == 1


def test_the_address_of_a_linked_account_is_not_taken_by_another_subject(node: Any, provider: IdentityProvider) -> None:
    user = curie(node)
    with node.client() as client:
        assert sign_in(client).status_code == 303
    provider.claims["sub"] = "0002"
    with node.client() as client:
        refused(client, sign_in(client), 409, "does not belong to")
    assert IdentityRepository(node.database).account(Identity(issuer=provider.issuer, subject="0001")) == user.id
    assert IdentityRepository(node.database).account(Identity(issuer=provider.issuer, subject="0002")) is None


def test_a_first_sign_in_makes_an_account_as_the_registration_policy_says(
    node: Any, provider: IdentityProvider
) -> None:
    configured(node, create_accounts=True)
    with node.client(registration="approval") as client:
        refused(client, sign_in(client), 403, "waits for an administrator&#39;s approval")
        refused(client, sign_in(client), 403, "waits for an administrator&#39;s approval")
        user = node.users.by_username("m.curie")
        assert (user.role, user.status, user.email) == (Role.DOCTOR, AccountStatus.PENDING, "m.curie@hospital.example")
        assert user.full_name == "Marie Curie"
        node.users.approve(user.id)
        assert sign_in(client).status_code == 303
    provider.claims |= {
        "sub": "0002",
        "email": "i@hospital.example",
        "preferred_username": "M.Curie",
        "groups": "staff",
    }
    with node.client(registration="open") as client:
        assert sign_in(client).status_code == 303
        other = me(client) or {}
        assert (other["role"], other["username"][:8]) == ("technician", "M.Curie-")
    provider.claims |= {"sub": "0003", "email": "j@hospital.example"}
    with node.client(registration="closed") as client:
        refused(client, sign_in(client), 403, "You have no account here")
    assert node.users.count() == 2
    made = [(event["username"], event["role"]) for event in node.events("audit.register")]
    assert made == [("m.curie", "doctor"), (other["username"], "technician")]


def test_nobody_knows_a_password_of_a_made_account(node: Any, provider: IdentityProvider) -> None:
    configured(node, create_accounts=True)
    with node.client(registration="open") as client:
        sign_in(client)
        for password in ("", "0001", "m.curie"):
            login = client.post("/api/auth/login", json={"username": "m.curie", "password": password})
            assert login.status_code == 401


@pytest.mark.parametrize(
    ("wished", "expected"),
    [
        ("Curie@hospital.example", "Curie"),
        ("Marie Curie", "Marie-Curie"),
        ("", "m.curie"),
        ("..x..", "x-"),
        ("居里", "user-"),
        ("a" * 300, "a" * 50),
    ],
)
def test_a_made_account_is_called_as_at_the_provider_where_that_is_a_name(
    node: Any, provider: IdentityProvider, wished: str, expected: str
) -> None:
    configured(node, create_accounts=True)
    provider.claims["preferred_username"] = wished
    with node.client(registration="open") as client:
        sign_in(client)
        name = (me(client) or {})["username"]
        assert name.startswith(expected) if expected.endswith("-") else name == expected


@pytest.mark.parametrize(
    ("claim", "claims", "role"),
    [
        ("groups", {"groups": []}, None),
        ("groups", {"groups": ["visitors", 7, None]}, None),
        ("groups", {"groups": None}, None),
        ("groups", {"groups": "neuro-radiology"}, "doctor"),
        ("groups", {"groups": ["staff"]}, "technician"),
        ("realm_access.roles", {"realm_access": {"roles": ["staff"]}}, "technician"),
        ("realm_access.roles", {"realm_access": ["staff"]}, None),
        ("https://hospital.example/roles", {"https://hospital.example/roles": ["staff"]}, "technician"),
    ],
)
def test_the_role_comes_from_the_claim_and_without_one_there_is_no_account(
    node: Any, provider: IdentityProvider, claim: str, claims: dict[str, Any], role: str | None
) -> None:
    configured(node, create_accounts=True, role_claim=claim)
    provider.claims |= claims
    with node.client(registration="open") as client:
        answer = sign_in(client)
        if role is None:
            refused(client, answer, 403, "gives you no role here")
            assert node.users.count() == 0
        else:
            assert (me(client) or {})["role"] == role


def test_the_role_of_an_account_that_is_here_stays_the_administrators(node: Any, provider: IdentityProvider) -> None:
    node.users.set_role(curie(node).id, Role.TECHNICIAN)
    with node.client() as client:
        sign_in(client)
        assert (me(client) or {})["role"] == "technician"


@pytest.mark.parametrize(
    ("status", "text"),
    [(AccountStatus.DISABLED, "This account is disabled."), (AccountStatus.PENDING, "waits for an administrator")],
)
@pytest.mark.parametrize("linked", [False, True])
def test_an_account_that_may_not_sign_in_is_told_so(
    node: Any, provider: IdentityProvider, status: AccountStatus, text: str, linked: bool
) -> None:
    user = curie(node)
    identity = Identity(issuer=provider.issuer, subject="0001")
    identities = IdentityRepository(node.database, node.clock)
    if linked:
        identities.link(identity, user.id)
    node.users.set_status(user.id, status)
    with node.client() as client:
        refused(client, sign_in(client), 403, text)
        german = go_there(client)
        page = client.get(CALLBACK, params=german, headers={"Accept-Language": "de"})
        assert "Dieses Konto" in page.text
    assert identities.account(identity) == (user.id if linked else None)
    assert {(e["username"], e["reason"]) for e in node.events("audit.sign-in")} == {("m.curie", status.value)}


@pytest.mark.parametrize("target", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)"])
def test_the_way_back_leads_nowhere_else(node: Any, provider: IdentityProvider, target: str) -> None:
    curie(node)
    with node.client() as client:
        assert sign_in(client, target).headers["location"] == "/"


def test_a_path_too_long_for_a_cookie_is_left_out(node: Any, provider: IdentityProvider) -> None:
    curie(node)
    with node.client() as client:
        assert sign_in(client, "/" + "é" * 900).headers["location"] == "/"


def test_who_declines_at_the_provider_is_told_and_nothing_is_asked_of_it(node: Any, provider: IdentityProvider) -> None:
    curie(node)
    provider.declines = "access_denied"
    with node.client() as client:
        refused(client, sign_in(client), 403, "did not let you in")
    assert "/token" not in provider.asked


@pytest.mark.parametrize(("named", "status"), [("https://evil.example", 403), (None, 403), ("its own", 303)])
def test_an_answer_of_another_provider_is_refused(
    node: Any, provider: IdentityProvider, named: str | None, status: int
) -> None:
    curie(node)
    provider.discovery["authorization_response_iss_parameter_supported"] = True
    with node.client() as client:
        answer = go_there(client)
        if named is not None:
            answer["iss"] = provider.issuer if named == "its own" else named
        assert come_back(client, answer).status_code == status


def test_a_refusal_keeps_the_code_out_of_the_page(node: Any, provider: IdentityProvider) -> None:
    with node.client() as client:
        answer = go_there(client)
        page = come_back(client, answer)
    assert page.status_code == 403
    assert answer["code"] not in page.text
    assert answer["state"] not in page.text


@pytest.mark.parametrize("secret_in", ["header", "body"])
def test_the_secret_goes_where_the_provider_wants_it(node: Any, provider: IdentityProvider, secret_in: str) -> None:
    curie(node)
    if secret_in == "body":
        provider.discovery["token_endpoint_auth_methods_supported"] = ["client_secret_post"]
    with node.client() as client:
        assert sign_in(client).status_code == 303
    assert ("client_secret" in provider.forms[0]) == (secret_in == "body")


def test_a_wrong_secret_is_said_in_the_log_without_it(
    node: Any, provider: IdentityProvider, caplog: pytest.LogCaptureFixture
) -> None:
    curie(node)
    configured(node, client_secret="wrong secret of the client")
    with caplog.at_level(logging.INFO), node.client() as client:
        answer = go_there(client)
        refused(client, come_back(client, answer), 502, "cannot be used now")
    said = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("web"))
    assert "its token endpoint answers 401 invalid_client" in said
    for kept_out in ("wrong secret", answer["code"], answer["state"], "curie", "0001"):
        assert kept_out not in said
    assert "wrong secret" not in repr(node.oidc)


@pytest.mark.parametrize(
    "change",
    [
        {"issuer": "https://login.example"},
        {"issuer": None},
        {"token_endpoint": "http://login.example/token"},
        {"jwks_uri": None},
        {"authorization_endpoint": "javascript:alert(1)"},
    ],
)
def test_a_discovery_document_that_leads_elsewhere_is_not_used(
    node: Any, provider: IdentityProvider, change: dict[str, Any]
) -> None:
    provider.discovery |= change
    with node.client() as client:
        answer = client.get("/sign-in/oidc", follow_redirects=False)
        assert (answer.status_code, "cannot be used now" in answer.text) == (502, True)


@pytest.mark.parametrize("keys", ["redirect", "too large", "not JSON", "a list", "absent"])
def test_keys_that_cannot_be_read_are_the_providers_fault(node: Any, provider: IdentityProvider, keys: str) -> None:
    curie(node)
    if keys in ("redirect", "absent"):
        provider.discovery["jwks_uri"] = f"{provider.issuer}/{'elsewhere' if keys == 'redirect' else 'nowhere'}"
    else:
        what = {"too large": b"[" * 300_000, "not JSON": b"\xff{", "a list": b"[]"}[keys]
        provider.raw["/raw"] = what
        provider.discovery["jwks_uri"] = f"{provider.issuer}/raw"
    with node.client() as client:
        refused(client, sign_in(client), 502, "cannot be used now")


def test_without_the_provider_a_password_signs_in(node: Any, client: TestClient) -> None:
    with identity_provider(node.clock) as gone:
        url = gone.issuer
    node.oidc = settings(url)
    node.user()
    with node.client() as client:
        page = client.get("/sign-in/oidc?next=/upload", follow_redirects=False)
        assert (page.status_code, "The identity provider cannot be used now" in page.text) == (502, True)
        assert 'name="next" value="/upload"' in page.text
        csrf = page.text.partition('name="csrf" value="')[2].partition('"')[0]
        form = {"csrf": csrf, "username": "doctor", "password": "correct horse battery", "next": "/upload"}
        done = client.post("/sign-in", data=form, follow_redirects=False)
        assert (done.status_code, done.headers["location"]) == (303, "/upload")


def test_a_provider_that_went_away_meanwhile_and_came_back(node: Any, provider: IdentityProvider) -> None:
    curie(node)
    with node.client() as client:
        right = provider.discovery["token_endpoint"]
        provider.discovery["token_endpoint"] = "http://127.0.0.1:1/token"
        refused(client, sign_in(client), 502, "cannot be used now")
        provider.discovery["token_endpoint"] = right
        node.clock.forward(hours=1)
        assert sign_in(client).status_code == 303


def test_a_provider_that_is_away_is_not_asked_by_every_visitor(node: Any, provider: IdentityProvider) -> None:
    issuer = provider.discovery.pop("issuer")
    with node.client() as client:
        for _ in range(3):
            assert client.get("/sign-in/oidc").status_code == 502
        assert len(provider.asked) == 1
        provider.discovery["issuer"] = issuer
        node.clock.forward(seconds=5)
        assert client.get("/sign-in/oidc", follow_redirects=False).status_code == 303


def test_attempts_are_limited(node: Any, provider: IdentityProvider) -> None:
    with node.client() as client:
        codes = [client.get("/sign-in/oidc", follow_redirects=False).status_code for _ in range(121)]
        assert codes == [303] * 120 + [429]
        limited = client.get(CALLBACK)
        assert limited.status_code == 429
        assert 0 < int(limited.headers["retry-after"]) <= 60


def test_the_providers_certificate_is_checked(node: Any, tmp_path: Path, debian_tool: Any) -> None:
    authority = Authority(debian_tool("openssl"), tmp_path)
    certificate, key = authority.issue("provider")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    curie(node)
    with identity_provider(node.clock, tls) as running:
        node.oidc = settings(running.issuer)
        with node.client() as client:
            assert client.get("/sign-in/oidc").status_code == 502
        configured(node, ca_file=authority.certificate)
        with node.client() as client:
            assert sign_in(client).status_code == 303


def test_without_a_provider_there_is_no_button_and_no_way(node: Any, client: TestClient) -> None:
    assert "/sign-in/oidc" not in client.get("/sign-in").text
    assert client.get("/sign-in/oidc").status_code == 404
    assert client.get(CALLBACK, params={"code": "x", "state": "y"}).status_code == 404


def test_the_button_keeps_where_one_was_going_and_speaks_german(node: Any, provider: IdentityProvider) -> None:
    with node.client() as client:
        page = client.get("/sign-in", params={"next": "/upload?a=1&b=2"}, headers={"Accept-Language": "de"}).text
    assert f'href="/sign-in/oidc?{urlencode({"next": "/upload?a=1&b=2"}, safe="/")}"' in page
    assert "Anmelden mit Hospital" in page


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"issuer": "http://login.example"}, "web.oidc.issuer"),
        ({"issuer": "https://login.example?x=1"}, "web.oidc.issuer"),
        ({"issuer": "https://me@login.example"}, "web.oidc.issuer"),
        ({"public_url": "http://node.example"}, "web.oidc.public_url"),
        ({"public_url": "https://node.example/dashboard"}, "web.oidc.public_url"),
        ({"public_url": ""}, "web.oidc.public_url"),
        ({"client_id": ""}, "web.oidc.client_id"),
        ({"scopes": ("profile",)}, "web.oidc.scopes"),
        ({"scopes": ("openid profile",)}, "web.oidc.scopes"),
        ({"create_accounts": True}, "web.oidc.roles.map"),
        ({"ca_file": Path("/nowhere.pem")}, "web.oidc.ca_file"),
    ],
)
def test_settings_that_cannot_work_are_named(change: dict[str, Any], named: str) -> None:
    right: dict[str, Any] = {
        "issuer": "https://login.example",
        "client_id": CLIENT_ID,
        "public_url": "https://node.example/",
    }
    assert OidcSettings(**right).redirect_uri == f"https://node.example{CALLBACK}"
    assert OidcSettings(**right).label == "login.example"
    with pytest.raises(InvalidWebSettings, match=named.replace(".", r"\.")):
        OidcSettings(**{**right, **change})


WITHOUT_CRYPTOGRAPHY = """
import sys
sys.modules["cryptography"] = None
from web.oidc_settings import OidcSettings
from web.settings import InvalidWebSettings
try:
    OidcSettings(issuer="https://login.example", client_id="node", public_url="https://node.example")
except InvalidWebSettings as error:
    print(error)
"""


def test_without_cryptography_it_says_how_to_install_it() -> None:
    said = subprocess.run(
        [sys.executable, "-c", WITHOUT_CRYPTOGRAPHY], capture_output=True, text=True, cwd=REPOSITORY, check=True
    ).stdout
    assert "'.[oidc]'" in said
    assert said.count("\n") == 1


def test_an_identity_has_one_account_and_an_account_one_identity_an_issuer(node: Any) -> None:
    identities = IdentityRepository(node.database, node.clock)
    first, other = node.user(), node.user(Role.ADMIN)
    identity = Identity(issuer="https://login.example", subject="1")
    identities.link(identity, first.id)
    for again, user in ((identity, other), (Identity(issuer="https://login.example", subject="2"), first)):
        with pytest.raises(Conflict):
            identities.link(again, user.id)
    identities.link(Identity(issuer="https://another.example", subject="1"), first.id)
    assert identities.account(identity) == first.id
