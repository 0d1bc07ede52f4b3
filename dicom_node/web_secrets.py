"""The secrets of the web process: what signs sign-in tokens, and what lets a machine in. Never in config.yaml."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from dicom_node.config import ConfigurationInvalid, NodeConfig

_MINIMUM_SECRET_BYTES = 32


def web_secret(config: NodeConfig) -> str:
    """The secret that signs sign-in tokens: from the environment, the configured file, or made once and kept.

    Raises:
        ConfigurationInvalid: shorter than 32 bytes, or the file cannot be read.
    """
    if config.web.secret is not None:
        secret = config.web.secret
    else:
        path = config.web.secret_file or config.storage.root / "web-secret"
        try:
            if config.web.secret_file is None and not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                _write_once(path, secrets.token_urlsafe(48))
            secret = path.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ConfigurationInvalid(f"web.secret_file: {path} cannot be read ({error.strerror})") from None
    if len(secret.encode()) < _MINIMUM_SECRET_BYTES:
        raise ConfigurationInvalid("web.secret: fewer than 32 bytes; make one with `openssl rand -base64 48`")
    return secret


def inbox_token(config: NodeConfig) -> str | None:
    """The token with which a machine may store by DICOMweb; None where none is set.

    Raises:
        ConfigurationInvalid: shorter than 32 characters, or the file cannot be read.
    """
    token, path = config.web.inbox_token, config.web.inbox_token_file
    if token is None and path is not None:
        try:
            token = path.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ConfigurationInvalid(f"web.inbox_token_file: {path} cannot be read ({error.strerror})") from None
    if token is not None and len(token) < _MINIMUM_SECRET_BYTES:
        raise ConfigurationInvalid("web.inbox_token: fewer than 32 characters; make one with `openssl rand -hex 32`")
    return token


def _write_once(path: Path, text: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return  # another process of this node was first
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
