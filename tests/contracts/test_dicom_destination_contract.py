from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from pydicom.uid import Comprehensive3DSRStorage, SegmentationStorage
from pynetdicom import AE, evt

from dicom_node.outbound.sending import Destination
from tests.contracts.destination_contract import DestinationContract, Manner


class TestDicomDestination(DestinationContract):
    @contextmanager
    def peer(self, manner: Manner) -> Iterator[Destination]:
        if manner is Manner.DOWN:
            with socket.socket() as unused:
                unused.bind(("127.0.0.1", 0))
                yield self.to(unused.getsockname()[1])
            return
        ae = AE(ae_title="PEER")
        for sop_class in (SegmentationStorage, Comprehensive3DSRStorage):
            ae.add_supported_context(sop_class)
        status = 0x0000 if manner is Manner.ACCEPTS else 0xC000
        server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, lambda event: status)])
        try:
            yield self.to(server.server_address[1])
        finally:
            server.shutdown()

    def to(self, port: int) -> Destination:
        return Destination(name="peer", ae_title="PEER", host="127.0.0.1", port=port, timeout_s=2.0)
