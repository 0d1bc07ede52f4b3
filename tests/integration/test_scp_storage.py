"""The listener against real peers: DCMTK's programs, pynetdicom as SCU, and plain sockets with bad manners."""

from __future__ import annotations

import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import UID, ExplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.sop_class import MRImageStorage, Verification

from dicom_node.inbound.fast.journal_store import JournalStore
from dicom_node.inbound.ingest import Ingest
from dicom_node.inbound.parsing import split_part10
from dicom_node.inbound.peers import Peer
from dicom_node.inbound.scp import StorageServer
from storage.audit import AuditRepository
from storage.database import Database, upgrade
from storage.files import FileStore
from storage.studies import StudyRepository

#: pynetdicom as SCU leaves its socket open where the peer hung up first; the fixture `start` closes them.
_PEER_SOCKETS: list[socket.socket] = []


class Node:
    """A listener on an empty store."""

    def __init__(self, folder: Path, *, path: str, min_free_bytes: int = 0, **options):
        self.database = Database(f"sqlite:///{folder}/node.db")
        self.files = FileStore(folder / "store", min_free_bytes=min_free_bytes)
        self.studies = StudyRepository(self.database)
        self.audit = AuditRepository(self.database)
        ingest = Ingest(self.files, self.studies, self.audit)
        if path == "fast":
            options["journal"] = JournalStore(self.files, ingest, segment_bytes=4 << 20)
        self.server = StorageServer(ae_title="BTNODE", host="127.0.0.1", port=0, ingest=ingest, **options)
        self.server.start()
        self.port = self.server.port

    def stored(self):
        assert self.server.settle()
        return sorted((self.files.root / "studies").rglob("*.dcm"))

    def instances(self):
        assert self.server.settle()
        return [i for scan in self.studies.open_scans() for i in self.studies.scan_facts(scan.id).instances]


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory):
    """A migrated database without rows, to copy."""
    path = tmp_path_factory.mktemp("database") / "empty.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(params=["pynetdicom", "fast"])
def receive_path(request):
    """Both data paths pass the same tests."""
    return request.param


@pytest.fixture
def start(tmp_path, empty_database, receive_path):
    """Starts nodes and stops them at the end."""
    nodes = []

    def begin(**options):
        options.setdefault("path", receive_path)
        folder = tmp_path / f"node{len(nodes)}"
        folder.mkdir()
        shutil.copy(empty_database, folder / "node.db")
        nodes.append(Node(folder, **options))
        return nodes[-1]

    yield begin
    for node in nodes:
        node.server.stop(drain_s=1)
        node.database.engine.dispose()
    while _PEER_SOCKETS:
        _PEER_SOCKETS.pop().close()


@pytest.fixture
def mr(shared_data):
    """A small classic MR object of the real world."""
    return dcmread(shared_data / "dicom/pydicom_MR_small/MR_small.dcm")


def associate(port, title="MODALITY", called="BTNODE"):
    ae = AE(ae_title=title)
    ae.add_requested_context(MRImageStorage, [ExplicitVRLittleEndian])
    ae.add_requested_context(Verification)
    association = ae.associate("127.0.0.1", port, ae_title=called)
    if association.dul.socket is not None and association.dul.socket.socket is not None:
        _PEER_SOCKETS.append(association.dul.socket.socket)
    return association


def store_raw(association, data_set: bytes, sop_class: str, sop_instance: str) -> int | None:
    """C-STORE of bytes as they are, with a command that may say anything. None where the association was cut."""
    request = C_STORE()
    request.MessageID, request.Priority = 1, 2
    # Past the setters: they refuse to send what a hostile peer sends.
    request._affected_sop_class_uid, request._affected_sop_instance_uid = UID(sop_class), UID(sop_instance)
    request.DataSet = BytesIO(data_set)
    context = next(c for c in association.accepted_contexts if c.abstract_syntax == MRImageStorage)
    association._reactor_checkpoint.clear()
    association.dimse.send_msg(request, context.context_id)
    _, response = association.dimse.get_msg(block=True)
    association._reactor_checkpoint.set()
    return None if response is None else response.Status


def encoded(dataset) -> bytes:
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = False, True
    write_dataset(buffer, dataset)
    return buffer.getvalue()


def run(tool, *arguments):
    return subprocess.run([tool, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)


def closed_within(connection, seconds):
    connection.settimeout(seconds)
    try:
        while connection.recv(4096):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


def test_dcmtk_echo_and_a_wrong_called_title(start, debian_tool):
    node = start()
    assert run(debian_tool("echoscu"), "-aec", "BTNODE", "127.0.0.1", node.port).returncode == 0
    refused = run(debian_tool("echoscu"), "-aec", "OTHER", "127.0.0.1", node.port)
    assert refused.returncode != 0
    assert "Called AE Title Not Recognized" in refused.stderr


def test_only_peers_may_associate(start, debian_tool):
    node = start(peers=(Peer(ae_title="MODALITY"),))
    assert run(debian_tool("echoscu"), "-aet", "MODALITY", "-aec", "BTNODE", "127.0.0.1", node.port).returncode == 0
    assert run(debian_tool("echoscu"), "-aet", "STRANGER", "-aec", "BTNODE", "127.0.0.1", node.port).returncode != 0


def test_storescu_and_dcmsend_each_leave_one_row_an_object(start, debian_tool, shared_data):
    node = start()
    files = sorted((shared_data / "dicom/siemens_xa30_enhanced").rglob("*.dcm"))
    files += sorted((shared_data / "dicom/icometrix_noisepixels/compressed_jpegls").glob("*.dcm"))[:2]
    plain = [f for f in files if "jpegls" not in str(f)]
    sent = run(debian_tool("storescu"), "-aec", "BTNODE", "127.0.0.1", node.port, *plain)
    assert sent.returncode == 0, sent.stderr
    sent = run(debian_tool("dcmsend"), "--decompress-never", "-v", "-aec", "BTNODE", "127.0.0.1", node.port, *files)
    assert "with status SUCCESS  : 5" in sent.stderr, sent.stderr
    assert len(node.instances()) == 5
    stored = {d.SOPInstanceUID: d.PixelData for d in map(dcmread, node.stored())}
    assert stored == {d.SOPInstanceUID: d.PixelData for d in map(dcmread, files)}


@pytest.mark.parametrize("name", ["", "_RLE", "_bigendian", "_implicit", "_jp2klossless", "_jpeg_ls_lossless"])
def test_every_syntax_is_stored_bit_for_bit(start, shared_data, name):
    node = start()
    data = (shared_data / f"dicom/pydicom_MR_small/MR_small{name}.dcm").read_bytes()
    syntax, data_set = split_part10(data)
    dataset = dcmread(BytesIO(data))
    ae = AE()
    ae.add_requested_context(MRImageStorage, [syntax])
    association = ae.associate("127.0.0.1", node.port, ae_title="BTNODE")
    assert store_raw(association, data_set, dataset.SOPClassUID, dataset.SOPInstanceUID) == 0x0000
    association.release()
    (stored,) = node.stored()
    assert split_part10(stored.read_bytes()) == (syntax, data_set)
    assert dcmread(stored).file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID


def test_the_file_and_the_row_are_there_when_success_is_answered(start, mr):
    node = start()
    association = associate(node.port)
    for _ in range(2):
        assert association.send_c_store(mr).Status == 0x0000
        assert len(node.stored()) == 1
        assert len(node.instances()) == 1
    assert list((node.files.root / "spool").glob("*.part")) == []
    association.release()


def test_one_study_by_two_interleaved_associations(start, mr):
    node = start()
    first, second = associate(node.port, "A"), associate(node.port, "B")
    for number in range(6):
        mr.SOPInstanceUID, mr.InstanceNumber = f"1.2.3.{number}", number
        assert (first if number % 2 else second).send_c_store(mr).Status == 0x0000
        assert (second if number % 3 else first).send_c_store(mr).Status == 0x0000
    first.release()
    second.release()
    assert len(node.instances()) == len(node.stored()) == 6
    assert len(node.studies.open_scans()) == 1
    assert {i.calling_ae for i in node.instances()} == {"A", "B"}


@pytest.mark.parametrize(
    ("sop_instance", "statuses"),
    [
        ("../../etc/x", (0x0117,)),
        ("/etc/passwd", (0x0117,)),
        ("1" * 65, (0x0117, None)),
        ("", (0x0117, None)),
        ("1.2.x", (0x0117,)),
        ("1.2.3.4.5.6", (0xA900,)),
    ],
)
def test_hostile_uids_stay_outside_the_archive(start, mr, sop_instance, statuses):
    node = start()
    association = associate(node.port)
    assert store_raw(association, encoded(mr), MRImageStorage, sop_instance) in statuses
    association.abort()
    assert node.stored() == []
    assert node.instances() == []
    after = associate(node.port)
    assert after.send_c_store(mr).Status == 0x0000
    after.release()


def test_a_data_set_that_cannot_be_parsed_is_quarantined(start):
    node = start()
    association = associate(node.port)
    deep = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 5000
    assert store_raw(association, deep, MRImageStorage, "1.2.3") == 0xC000
    association.release()
    assert len(list((node.files.root / "uploads" / "quarantine").iterdir())) == 1
    assert [e.kind for e in node.audit.list()] == ["quarantined"]


def test_a_full_disk_is_out_of_resources_and_passes(start, mr):
    node = start(min_free_bytes=1 << 60)
    association = associate(node.port)
    status = association.send_c_store(mr)
    assert (status.Status, status.ErrorComment) == (0xA700, "storage-full")
    node.files._min_free_bytes = 0
    assert association.send_c_store(mr).Status == 0x0000
    association.release()
    assert len(node.stored()) == 1


def test_an_object_over_the_limit_closes_the_association(start, mr):
    node = start(max_object_bytes=1 << 16)
    association = associate(node.port)
    mr.PixelData = b"\0" * (1 << 18)
    assert getattr(association.send_c_store(mr), "Status", None) is None
    assert node.stored() == []
    association = associate(node.port)
    mr.PixelData = b"\0" * 8192
    for _ in range(12):
        assert association.send_c_store(mr).Status == 0x0000
    association.release()


def test_a_pdu_that_claims_two_gib_is_refused_at_once(start):
    node = start()
    with socket.create_connection(("127.0.0.1", node.port)) as connection:
        connection.sendall(struct.pack(">BBL", 0x01, 0, 2**31))
        begun = time.monotonic()
        assert closed_within(connection, 5)
        assert time.monotonic() - begun < 2


@pytest.mark.parametrize("greeting", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01", b"\xff" * 64])
def test_another_protocol_is_hung_up_on(start, greeting):
    node = start()
    with socket.create_connection(("127.0.0.1", node.port)) as connection:
        connection.sendall(greeting)
        assert closed_within(connection, 3)


def test_silent_and_half_open_connections_end_while_others_are_served(start, debian_tool):
    node = start(association_timeout_s=1.0)
    silent = [socket.create_connection(("127.0.0.1", node.port)) for _ in range(10)]
    for connection in silent[:5]:
        connection.sendall(struct.pack(">BBL", 0x01, 0, 200) + b"\0" * 50)
    assert run(debian_tool("echoscu"), "-aec", "BTNODE", "127.0.0.1", node.port).returncode == 0
    assert all(closed_within(connection, 5) for connection in silent)
    for connection in silent:
        connection.close()


def test_more_associations_than_the_maximum_are_rejected_for_now(start):
    node = start(max_associations=2)
    held = [associate(node.port), associate(node.port)]
    # On a busy machine the library reads a rejection with the end of the connection behind it as an abort at times.
    third = next((one for one in (associate(node.port) for _ in range(5)) if one.is_rejected), None)
    assert third is not None
    assert third.acceptor.primitive.result == 0x02
    for association in held:
        assert association.send_c_echo().Status == 0x0000
        association.release()


def test_a_sender_that_dies_in_the_middle_leaves_nothing(start, mr):
    node = start()
    association = associate(node.port)
    peer = association.dul.socket.socket
    head = struct.pack(">BBL", 0x04, 0, 1000) + struct.pack(">L", 500) + bytes([1, 0]) + b"\0" * 100
    peer.sendall(head)
    peer.close()
    association.kill()
    again = associate(node.port)
    assert again.send_c_store(mr).Status == 0x0000
    again.release()
    assert len(node.stored()) == 1
    assert list((node.files.root / "spool").glob("*.part")) == []


def test_stop_lets_an_open_association_finish_and_takes_no_new_one(start, mr):
    node = start()
    association = associate(node.port)
    stopping = threading.Thread(target=node.server.stop, kwargs={"drain_s": 10})
    stopping.start()
    time.sleep(0.4)
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", node.port), timeout=1)
    assert association.send_c_store(mr).Status == 0x0000
    association.release()
    stopping.join(5)
    assert not stopping.is_alive()
    assert len(node.stored()) == 1


def test_the_listener_loads_no_framework():
    code = (
        "import sys, dicom_node.inbound.scp;"
        "print({'tensorflow', 'torch', 'SimpleITK', 'dicom2nifti', 'nibabel', 'scipy'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.strip() == "set()"
