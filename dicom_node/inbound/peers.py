"""Who may associate, and for what: the peers of the configuration against what a connection says of itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv6Address, ip_address, ip_network


class ServiceName(StrEnum):
    """What a peer may be allowed to do."""

    STORE = "store"
    ECHO = "echo"
    COMMITMENT = "commitment"


ALL_SERVICES = frozenset(ServiceName)


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A peer that may associate.

    ae_title: '*' for any. networks: addresses or networks in CIDR notation it may come from; empty is anywhere.
    """

    ae_title: str
    networks: tuple[str, ...] = ()
    services: frozenset[ServiceName] = ALL_SERVICES

    def comes_from(self, address: str) -> bool:
        """Whether the peer may come from this address."""
        parsed = ip_address(address)
        # A listener on '::' sees IPv4 peers as ::ffff:a.b.c.d.
        if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
            parsed = parsed.ipv4_mapped
        return not self.networks or any(parsed in ip_network(network, strict=False) for network in self.networks)


class RefusalReason(StrEnum):
    """Why an association is refused."""

    CALLED_AE = "called-ae"
    CALLING_AE = "calling-ae"
    ADDRESS = "address"
    TOO_MANY = "too-many-associations"
    PRESSURE = "pressure"
    TLS = "tls"
    NOT_DICOM = "not-dicom"
    TOO_SLOW = "too-slow"
    SERVICE = "service"


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A refusal. rejection: (result, source, reason) of the A-ASSOCIATE-RJ, PS3.8 table 9-21. text: for people."""

    reason: RefusalReason
    text: str
    rejection: tuple[int, int, int]


_CALLING_NOT_RECOGNISED = (1, 1, 3)
_CALLED_NOT_RECOGNISED = (1, 1, 7)


def admit(
    peers: Sequence[Peer], *, own_ae: str, called_ae: str, calling_ae: str, address: str
) -> frozenset[ServiceName] | Refusal:
    """What the peer may do, or why it is refused. No peers at all: everybody may do everything."""
    if called_ae != own_ae:
        return Refusal(
            reason=RefusalReason.CALLED_AE,
            text=f"AE '{calling_ae}' from {address} called '{called_ae}': this node is '{own_ae}'",
            rejection=_CALLED_NOT_RECOGNISED,
        )
    if not peers:
        return ALL_SERVICES
    titled = [peer for peer in peers if peer.ae_title in ("*", calling_ae)]
    if not titled:
        return Refusal(
            reason=RefusalReason.CALLING_AE,
            text=f"AE '{calling_ae}' from {address} is not in peers",
            rejection=_CALLING_NOT_RECOGNISED,
        )
    allowed = [peer.services for peer in titled if peer.comes_from(address)]
    if not allowed:
        networks = ", ".join(sorted({network for peer in titled for network in peer.networks}))
        return Refusal(
            reason=RefusalReason.ADDRESS,
            text=f"AE '{calling_ae}' is in peers, but not from {address}: its addresses are {networks}",
            rejection=_CALLING_NOT_RECOGNISED,
        )
    return frozenset().union(*allowed)
