from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from pydicom.uid import ExplicitVRLittleEndian

from dicom_node.inbound.assembly import AssemblyPolicy, Outcome, decide
from dicom_node.inbound.headers import MR_IMAGE, InstanceHeader
from dicom_node.inbound.ingest import Claim, Ingest, Taken
from dicom_node.inbound.parsing import split_part10
from dicom_node.inbound.refusals import ObjectUnreadable
from dicom_node.inbound.study_facts import save_roles, study_facts
from storage.audit import AuditRepository
from storage.database import Database, upgrade
from storage.errors import StorageFull
from storage.files import FileStore
from storage.studies import StudyRepository


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory):
    """A migrated database without rows, to copy."""
    path = tmp_path_factory.mktemp("database") / "empty.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def node(tmp_path, empty_database):
    """(ingest, files, studies, audit) on an empty store."""
    url = f"sqlite:///{tmp_path}/node.db"
    shutil.copy(empty_database, tmp_path / "node.db")
    database = Database(url)
    files, studies, audit = FileStore(tmp_path / "store"), StudyRepository(database), AuditRepository(database)
    yield Ingest(files, studies, audit), files, studies, audit
    database.engine.dispose()


@pytest.fixture
def slices(make_series):
    """Data sets of a series of five slices, as bytes."""
    voxels = np.random.default_rng(0).integers(1, 99, (4, 4, 5))
    return [split_part10(path.read_bytes())[1] for path in make_series(voxels)]


def claim_of(data_set, **changes):
    from dicom_node.inbound.headers import read_header
    from dicom_node.inbound.parsing import parse_data_set

    header = read_header(parse_data_set(data_set, ExplicitVRLittleEndian, stop_before_pixels=True))
    given = {
        "sop_class_uid": MR_IMAGE,
        "sop_instance_uid": header.sop_instance_uid,
        "transfer_syntax_uid": ExplicitVRLittleEndian,
        "calling_ae": "MODALITY",
    }
    return Claim(**(given | changes))


def test_the_bytes_on_disk_are_the_bytes_that_came(node, slices):
    ingest, files, studies, _ = node
    receipt = ingest.receive(slices[0], claim_of(slices[0]))
    stored = files.read(receipt.path)
    assert receipt.taken is Taken.NEW
    assert split_part10(stored) == (ExplicitVRLittleEndian, slices[0])
    assert stored[:132] == b"\0" * 128 + b"DICM"
    row = studies.instances_of("1.2.3")[0]
    assert InstanceHeader.from_json(row.header).series_description == "t1"
    assert files.verify(row.path, row.sha256)


def test_the_same_object_from_two_senders_is_one_row(node, slices):
    ingest, _, studies, _ = node
    first = ingest.receive(slices[0], claim_of(slices[0], calling_ae="A"))
    second = ingest.receive(slices[0], claim_of(slices[0], calling_ae="B"))
    assert (first.taken, second.taken) == (Taken.NEW, Taken.DUPLICATE)
    assert len(studies.instances_of("1.2.3")) == 1


def test_many_threads_with_one_study_leave_one_row_each(node, slices):
    ingest, _, studies, _ = node
    with ThreadPoolExecutor(8) as pool:
        taken = [r.taken for r in pool.map(lambda d: ingest.receive(d, claim_of(d)), slices * 6)]
    assert taken.count(Taken.NEW) == 5
    assert set(taken) == {Taken.NEW, Taken.DUPLICATE}
    assert len(studies.instances_of("1.2.3")) == 5
    assert len(studies.open_scans()) == 1


def test_other_bytes_under_one_uid_are_both_kept(node, slices):
    ingest, files, _, _ = node
    first = ingest.receive(slices[0], claim_of(slices[0]))
    changed = slices[0][:-1] + b"\x07"
    second = ingest.receive(changed, claim_of(changed))
    assert second.taken is Taken.CONFLICT
    assert second.taken.filed
    assert split_part10(files.read(first.path))[1] == slices[0]
    assert split_part10(files.read(second.path))[1] == changed


@pytest.mark.parametrize(
    ("changes", "taken"),
    [
        ({"sop_instance_uid": "../../etc/x"}, Taken.INVALID_UID),
        ({"sop_instance_uid": "1" * 65}, Taken.INVALID_UID),
        ({"sop_instance_uid": ""}, Taken.INVALID_UID),
        ({"sop_class_uid": "MR"}, Taken.INVALID_UID),
        ({"sop_instance_uid": "1.2.999"}, Taken.UID_MISMATCH),
        ({"sop_class_uid": "1.2.840.10008.5.1.4.1.1.2"}, Taken.UID_MISMATCH),
    ],
)
def test_what_cannot_be_filed_is_kept_aside_and_noted(node, slices, changes, taken):
    ingest, files, studies, audit = node
    receipt = ingest.receive(slices[0], claim_of(slices[0], **changes))
    assert receipt.taken is taken
    assert not taken.filed
    assert files.read(receipt.path) == slices[0]
    assert files.abspath(receipt.path).parent == files.root / "uploads" / "quarantine"
    assert studies.open_scans() == []
    (event,) = audit.list(kind="quarantined")
    assert "etc" not in event.text
    assert event.data["path"] == receipt.path


def test_garbage_is_quarantined_as_unreadable(node):
    ingest, _, _, _ = node
    begin = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    data = begin * 10_000
    claim = Claim(sop_class_uid=MR_IMAGE, sop_instance_uid="1.2", transfer_syntax_uid=ExplicitVRLittleEndian)
    assert ingest.receive(data, claim).taken is Taken.UNREADABLE


def test_hostile_study_and_series_uids_never_reach_a_path(node, make_series):
    ingest, files, studies, _ = node

    def spoil(k, dataset):
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "../../../tmp/x", ""
        return dataset

    voxels = np.random.default_rng(0).integers(1, 99, (4, 4, 4))
    data_sets = [split_part10(p.read_bytes())[1] for p in make_series(voxels, change=spoil)]
    receipts = [ingest.receive(d, claim_of(d)) for d in data_sets]
    assert {r.taken for r in receipts} == {Taken.NEW}
    assert all(files.abspath(r.path).is_relative_to(files.root / "studies") for r in receipts)
    (scan,) = studies.open_scans()
    facts = studies.scan_facts(scan.id)
    assert len(facts.series) == 1
    assert facts.series[0].series_instance_uid.startswith("2.25.")
    assert len(study_facts(facts).series[0].headers.headers) == 4


def test_our_own_object_coming_back_opens_no_scan(node, make_series):
    ingest, _, studies, _ = node

    def own(k, dataset):
        dataset.ManufacturerModelName = "brain-tumor-node"
        return dataset

    data = split_part10(make_series(np.ones((4, 4, 1)), change=own)[0].read_bytes())[1]
    assert ingest.receive(data, claim_of(data)).taken is Taken.NEW
    assert studies.open_scans() == []


def test_a_file_whose_row_was_never_written_is_adopted_once(node, slices, monkeypatch):
    ingest, _, studies, _ = node

    def die(*_):
        raise StorageFull("cut off between file and row")

    with monkeypatch.context() as cut:
        cut.setattr(studies, "record_instances", die)
        with pytest.raises(StorageFull):
            ingest.receive(slices[0], claim_of(slices[0]))
    assert studies.open_scans() == []
    assert ingest.adopt_orphans() == 1
    assert ingest.adopt_orphans() == 0
    assert len(studies.instances_of("1.2.3")) == 1
    assert ingest.receive(slices[0], claim_of(slices[0])).taken is Taken.DUPLICATE


def test_an_uploaded_file_is_the_same_object_as_one_received(node, slices, make_series):
    ingest, _, studies, _ = node
    ingest.receive(slices[0], claim_of(slices[0]))
    voxels = np.random.default_rng(0).integers(1, 99, (4, 4, 5))
    path = make_series(voxels, name="upload")[0]
    assert ingest.receive_file(path.read_bytes(), source="upload").taken is Taken.DUPLICATE
    with pytest.raises(ObjectUnreadable, match="not a DICOM file"):
        ingest.receive_file(b"GIF89a" * 100, source="upload")
    assert len(studies.instances_of("1.2.3")) == 1


def test_a_preamble_that_is_a_program_becomes_zeros(node, make_series):
    ingest, files, _, _ = node
    data = make_series(np.ones((4, 4, 1)))[0].read_bytes()
    disguised = (b"MZ" + b"\x90" * 126) + data[128:]
    receipt = ingest.receive_file(disguised, source="upload")
    stored = files.abspath(receipt.path)
    assert stored.read_bytes()[:132] == b"\0" * 128 + b"DICM"
    assert stored.stat().st_mode & 0o777 == 0o640


def test_from_bytes_to_a_decision_and_its_roles_on_the_rows(node, slices):
    ingest, _, studies, _ = node
    for data in slices:
        ingest.receive(data, claim_of(data))
    (scan,) = studies.open_scans()
    facts = study_facts(studies.scan_facts(scan.id), process_now=True)
    decision = decide(facts, AssemblyPolicy(), facts.last_received_at)
    assert decision.outcome is Outcome.READY
    save_roles(studies, scan.id, decision.roles)
    (row,) = studies.scan_facts(scan.id).series
    assert row.role == "T1"
    assert row.role_reasons[0] == "its description says T1"
    assert studies.scan_facts(scan.id).scan.modalities == ("T1",)
    studies.override_role(scan.id, row.series_instance_uid, "ignore", by="somebody")
    again = study_facts(studies.scan_facts(scan.id))
    assert decide(again, AssemblyPolicy(), facts.last_received_at).roles.excluded[0].code == "IGNORED_BY_PERSON"
