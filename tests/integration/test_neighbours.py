"""The test of a destination that the administration pages offer, against a real peer and against nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from pynetdicom import AE
from pynetdicom.sop_class import Verification

from dicom_node.config import NodeConfig
from dicom_node.neighbours import neighbours
from tests.orthanc import free_port


def config(root: Path, port: int) -> NodeConfig:
    place = {"host": "127.0.0.1", "timeout_s": 5}
    signs_in = {"url": "https://pacs/dicom-web", "auth": "bearer", "secret_env": "BTN_NONE"}
    return NodeConfig.model_validate(
        {
            "storage": {"root": root},
            "destinations": [
                {"name": "PACS", "ae_title": "PEER", "port": port, **place},
                {"name": "GONE", "ae_title": "PEER", "port": free_port(), **place},
                {"name": "WEB", "kind": "dicomweb", **signs_in},
            ],
        }
    )


def test_a_peer_that_answers_one_that_does_not_and_one_without_its_secret(tmp_path: Path) -> None:
    peer = AE(ae_title="PEER")
    peer.add_supported_context(Verification)
    server = peer.start_server(("127.0.0.1", 0), block=False)
    assert server is not None
    try:
        found = neighbours(config(tmp_path, server.socket.getsockname()[1]))
        assert [one.name for one in found.destinations] == ["PACS", "GONE", "WEB"]
        answered = found.test("PACS")
        assert (answered.ok, answered.text) == (True, "answered")
        gone = found.test("GONE")
        assert not gone.ok
        assert "no association" in gone.text
        assert "BTN_NONE" in found.test("WEB").text
        with pytest.raises(KeyError):
            found.test("elsewhere")
    finally:
        server.shutdown()
