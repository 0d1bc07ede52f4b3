"""Whom the node talks to by DICOM, as the composition root tells the pages: peers, destinations, and a sign of life."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PeerShown:
    """Who may associate. addresses: networks it must come from, none for any. services: 'store', 'echo', ..."""

    ae_title: str
    addresses: tuple[str, ...]
    services: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class DestinationShown:
    """Where results go. address: host and port or URL, never a secret. kinds: the results it gets."""

    name: str
    kind: str
    address: str
    tls: bool
    kinds: tuple[str, ...]
    commitment: bool


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a destination said to a sign of life, and after how long, in milliseconds."""

    ok: bool
    text: str
    took_ms: int


def _nobody(name: str) -> Answer:
    raise KeyError(name)


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """ae_title, port: the node's own. test: asks the destination of this name; raises KeyError for no such one."""

    ae_title: str = ""
    port: int = 0
    peers: tuple[PeerShown, ...] = ()
    destinations: tuple[DestinationShown, ...] = ()
    test: Callable[[str], Answer] = _nobody
