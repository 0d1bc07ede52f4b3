"""What the configuration says of itself: secrets, destinations, and whom `node.peers` leaves out."""

from __future__ import annotations

import socket
from collections.abc import Iterator

from dicom_node.config import ConfigurationInvalid, NodeConfig
from dicom_node.config_sections import DestinationSection
from dicom_node.doctor.findings import Fault, Finding, ok, warning, wrong
from dicom_node.inbound.peers import Refusal, ServiceName, admit
from dicom_node.outward import destinations_of
from dicom_node.receiver import listener_peers
from dicom_node.web_oidc import oidc_settings
from dicom_node.web_secrets import inbox_token, web_secret


def examine_settings(config: NodeConfig) -> Iterator[Finding]:
    """Secrets and destinations."""
    try:
        web_secret(config)
        inbox_token(config)
        oidc_settings(config)
        yield ok("configuration", "every key is known and in range")
    except (ConfigurationInvalid, OSError) as error:
        yield wrong("configuration", Fault.SECRET_MISSING, str(error))
    try:
        destinations_of(config)
    except ConfigurationInvalid as error:
        yield wrong("destinations", Fault.SECRET_MISSING, str(error))
    if not config.destinations:
        yield wrong("destinations", Fault.NO_DESTINATION, "none is configured; results would go nowhere")


def examine_peers(config: NodeConfig) -> Iterator[Finding]:
    """Whether the destinations may associate with us, each for what it has to."""
    peers = listener_peers(config)
    if not peers:
        yield ok("peers", f"node.peers is empty: anybody who calls '{config.node.ae_title}' may associate")
        return
    whole = True
    for section in config.destinations:
        if section.kind != "dicom":
            continue
        needed = _needed(config, section)
        verdict = admit(
            peers,
            own_ae=config.node.ae_title,
            called_ae=config.node.ae_title,
            calling_ae=section.ae_title,
            address=_address(section.host),
        )
        if isinstance(verdict, Refusal):
            text = f"destination '{section.name}' may not associate with this node: {verdict.text}; add it there"
        elif missing := sorted(needed - verdict):
            text = (
                f"destination '{section.name}' (AE '{section.ae_title}') may associate but not for "
                f"{', '.join(missing)}: add it to its services in node.peers"
            )
        else:
            continue
        whole = False
        if needed:
            yield wrong("peers", Fault.PEERS_EXCLUDE_PACS, f"{text}; it has to, for {', '.join(sorted(needed))}")
        else:
            yield warning("peers", Fault.PEERS_EXCLUDE_PACS, f"{text} if images come from it")
    if whole:
        yield ok("peers", f"{len(peers)} may associate, every DICOM destination among them")


def _needed(config: NodeConfig, section: DestinationSection) -> frozenset[ServiceName]:
    needed = set()
    if section.commitment == "request":
        needed.add(ServiceName.COMMITMENT)
    if section.name == config.query.destination:
        # The PACS itself: images come from it, and with C-MOVE what is fetched does.
        needed.add(ServiceName.STORE)
    return frozenset(needed)


def _address(host: str) -> str:
    try:
        return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0]).partition("%")[0]
    except OSError:
        return "0.0.0.0"  # no address of any peer; that the name has none is a finding of its own
