from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from dicom_node.outbound.sending import Destination
from tests.contracts.destination_contract import DestinationContract, Manner
from tests.stow_peer import StowPeer


class TestDicomwebDestination(DestinationContract):
    @contextmanager
    def peer(self, manner: Manner) -> Iterator[Destination]:
        if manner is Manner.DOWN:
            with socket.socket() as unused:
                unused.bind(("127.0.0.1", 0))
                yield self.to(f"http://127.0.0.1:{unused.getsockname()[1]}/dicom-web")
            return
        failure = None if manner is Manner.ACCEPTS else 0xC000
        with StowPeer(failure=lambda uid: failure) as peer:
            yield self.to(peer.url)

    def to(self, url: str) -> Destination:
        return Destination(name="peer", kind="dicomweb", url=url, timeout_s=2.0)
