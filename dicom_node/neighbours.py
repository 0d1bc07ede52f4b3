"""Peers and destinations for the administration pages, from the configuration."""

from __future__ import annotations

from dataclasses import replace

from dicom_node.config import NodeConfig
from dicom_node.config_sections import DestinationSection
from dicom_node.errors import DicomNodeError
from web.neighbours import Answer, DestinationShown, Neighbours, PeerShown

#: Somebody waits at the page.
_ANSWER_WITHIN_S = 10.0


def neighbours(config: NodeConfig) -> Neighbours:
    """What the pages show, and the test of one destination: C-ECHO, or a search over DICOMweb."""

    def test(name: str) -> Answer:
        # Senders are loaded where somebody asks, not in every web process.
        from dicom_node.outward import destinations_of, reach

        section = next((one for one in config.destinations if one.name == name), None)
        if section is None:
            raise KeyError(name)
        try:
            (destination,) = destinations_of(config.model_copy(update={"destinations": (section,)}))
            quick = replace(destination, timeout_s=min(destination.timeout_s, _ANSWER_WITHIN_S))
            came = reach(quick, config.node.ae_title)
        except DicomNodeError as error:
            return Answer(ok=False, text=str(error), took_ms=0)
        return Answer(ok=came.ok, text=came.text, took_ms=round(1000 * came.seconds))

    return Neighbours(
        ae_title=config.node.ae_title,
        port=config.node.port,
        peers=tuple(
            PeerShown(ae_title=peer.ae_title, addresses=peer.addresses, services=peer.services)
            for peer in config.node.peers
        ),
        destinations=tuple(_shown(section) for section in config.destinations),
        test=test,
    )


def _shown(section: DestinationSection) -> DestinationShown:
    by_web = section.kind == "dicomweb"
    return DestinationShown(
        name=section.name,
        kind=section.kind,
        address=section.url if by_web else f"{section.ae_title} at {section.host} port {section.port}",
        tls=section.tls or section.url.startswith("https:"),
        kinds=section.kinds,
        commitment=section.commitment == "request",
    )
