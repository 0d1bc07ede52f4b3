from __future__ import annotations

import pytest

from dicom_node.inbound.peers import ALL_SERVICES, Peer, Refusal, ServiceName, admit

ECHO = frozenset({ServiceName.ECHO})
PEERS = (
    Peer(ae_title="PACS1", networks=("10.0.0.7", "10.1.0.0/16")),
    Peer(ae_title="*", networks=("192.168.1.0/24",), services=ECHO),
    Peer(ae_title="V6", networks=("fd00::/8",)),
)


@pytest.mark.parametrize(
    ("calling", "address", "verdict"),
    [
        ("PACS1", "10.0.0.7", ALL_SERVICES),
        ("PACS1", "10.1.200.3", ALL_SERVICES),
        ("PACS1", "::ffff:10.0.0.7", ALL_SERVICES),
        ("PACS1", "192.168.1.9", ECHO),
        ("NEW", "192.168.1.9", ECHO),
        ("V6", "fd00::1", ALL_SERVICES),
        ("PACS1", "10.0.0.8", "address"),
        ("V6", "10.0.0.7", "address"),
        ("pacs1", "10.0.0.7", "address"),
    ],
)
def test_title_and_address_decide(calling: str, address: str, verdict: object) -> None:
    got = admit(PEERS, own_ae="BTNODE", called_ae="BTNODE", calling_ae=calling, address=address)
    assert (got.reason.value if isinstance(got, Refusal) else got) == verdict


def test_refusals_say_who_and_what() -> None:
    peers = (Peer(ae_title="PACS2"),)
    unknown = admit(peers, own_ae="BTNODE", called_ae="BTNODE", calling_ae="PACS1", address="127.0.0.1")
    assert isinstance(unknown, Refusal)
    assert (unknown.text, unknown.rejection) == ("AE 'PACS1' from 127.0.0.1 is not in peers", (1, 1, 3))
    called = admit((), own_ae="BTNODE", called_ae="OTHER", calling_ae="PACS1", address="127.0.0.1")
    assert isinstance(called, Refusal)
    assert called.rejection == (1, 1, 7)
    assert admit((), own_ae="BTNODE", called_ae="BTNODE", calling_ae="X", address="127.0.0.1") == ALL_SERVICES
