"""A small identity provider on loopback: discovery, keys, authorization and token endpoint, with real signatures."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

CLIENT_ID, CLIENT_SECRET = "node", "se:cret/of the client"


@cache
def rsa_key(name: str) -> rsa.RSAPrivateKey:
    """The key of this name, made once."""
    return rsa.generate_private_key(public_exponent=65537, key_size=1024 if name == "short" else 2048)


def public_pem(name: str) -> bytes:
    """What everybody knows of a key."""
    return (
        rsa_key(name)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


class IdentityProvider:
    """Answers as it should; tests change what it says of a person, of itself, and how it signs.

    claims: of the person who signs in, laid over those of every token. sign: from the claims to a token. declines: the
    error with which every browser is sent back. raw: other paths and their answers. asked: paths, in order.
    """

    def __init__(self, url: str, clock: Callable[[], datetime]) -> None:
        self.issuer = url
        self.clock = clock
        self.key_id = "first"
        self.claims: dict[str, Any] = {
            "sub": "0001",
            "email": "m.curie@hospital.example",
            "email_verified": True,
            "preferred_username": "m.curie",
            "name": "Marie Curie",
            "groups": ["staff", "neuro-radiology"],
        }
        self.sign: Callable[[dict[str, Any]], str] = self.signed
        self.discovery: dict[str, Any] = {
            "issuer": url,
            "authorization_endpoint": f"{url}/authorize?tenant=7",
            "token_endpoint": f"{url}/token",
            "jwks_uri": f"{url}/keys",
        }
        self.declines = ""
        self.raw: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.forms: list[dict[str, str]] = []
        self._codes: dict[str, dict[str, str]] = {}

    def signed(self, claims: dict[str, Any]) -> str:
        """A token by the present key."""
        return jwt.encode(claims, rsa_key(self.key_id), algorithm="RS256", headers={"kid": self.key_id})

    def keys(self) -> list[dict[str, Any]]:
        """The present key alone."""
        data = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(rsa_key(self.key_id).public_key()))
        return [{**data, "kid": self.key_id, "use": "sig"}]

    def authorize(self, asked: dict[str, str]) -> str:
        """Where the browser is sent back to; whoever comes is signed in."""
        assert asked["tenant"] == "7"
        assert asked["response_type"] == "code"
        assert asked["code_challenge_method"] == "S256"
        assert "openid" in asked["scope"].split()
        code = secrets.token_urlsafe(16)
        self._codes[code] = asked
        said = {"error": self.declines} if self.declines else {"code": code}
        return f"{asked['redirect_uri']}?{urlencode({**said, 'state': asked['state']})}"

    def token(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        """The answer of the token endpoint. A code is taken once."""
        self.forms.append(form)
        basic = base64.b64encode(b"node:se%3Acret%2Fof+the+client").decode()
        posted = (form.get("client_id"), form.get("client_secret")) == (CLIENT_ID, CLIENT_SECRET)
        if authorization != f"Basic {basic}" and not posted:
            return 401, {"error": "invalid_client"}
        asked = self._codes.pop(form["code"], None)
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if (
            asked is None
            or asked["code_challenge"] != challenge
            or asked["redirect_uri"] != form["redirect_uri"]
            or form["grant_type"] != "authorization_code"
        ):
            return 400, {"error": "invalid_grant"}
        now = int(self.clock().timestamp())
        claims = {"iss": self.issuer, "aud": asked["client_id"], "iat": now, "exp": now + 300, "nonce": asked["nonce"]}
        return 200, {"token_type": "Bearer", "access_token": "x", "id_token": self.sign({**claims, **self.claims})}


class _Handler(BaseHTTPRequestHandler):
    provider: IdentityProvider

    def log_message(self, *_: Any) -> None:
        pass

    def _send(self, status: int, values: object) -> None:
        body = values if isinstance(values, bytes) else json.dumps(values).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        self.provider.asked.append(parts.path)
        if parts.path == "/.well-known/openid-configuration":
            self._send(200, self.provider.discovery)
        elif parts.path == "/keys":
            self._send(200, {"keys": self.provider.keys()})
        elif parts.path == "/authorize":
            self.send_response(302)
            self.send_header("Location", self.provider.authorize(dict(parse_qsl(parts.query))))
            self.end_headers()
        elif parts.path in self.provider.raw:
            self._send(200, self.provider.raw[parts.path])
        elif parts.path == "/elsewhere":
            self.send_response(302)
            self.send_header("Location", "/keys")
            self.end_headers()
        else:
            self._send(404, {})

    def do_POST(self) -> None:
        self.provider.asked.append(self.path)
        form = dict(parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
        self._send(*self.provider.token(form, self.headers.get("Authorization", "")))


@contextmanager
def identity_provider(clock: Callable[[], datetime], tls: ssl.SSLContext | None = None) -> Iterator[IdentityProvider]:
    """A running provider, by https with `tls`."""
    handler = type("Handler", (_Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    url = f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_port}"
    handler.provider = IdentityProvider(url, clock)  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield handler.provider  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def ec_key() -> ec.EllipticCurvePrivateKey:
    """A new key on P-256."""
    return ec.generate_private_key(ec.SECP256R1())
