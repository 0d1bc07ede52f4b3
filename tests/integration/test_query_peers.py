"""Asking and retrieving: Orthanc over DIMSE and DICOMweb, DCMTK's dcmqrscp, and DCMTK's tools as strangers to us."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydicom import dcmread
from pynetdicom import AE, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind

from dicom_node.inbound.ingest import Claim, Ingest
from dicom_node.inbound.parsing import split_part10
from dicom_node.outbound.asking import NoAnswer, PacsQuery, PatientIdentity, ReceivedObject
from dicom_node.outbound.qido import DicomwebPacs, reached
from dicom_node.outbound.retrieve import DicomPacs
from dicom_node.outbound.sending import Destination
from tests.listener import Listener, listening
from tests.mr_series import MrSeries, mr_series
from tests.orthanc import Modality, OrthancServer, free_port

FLAIR = mr_series(series="FLAIR")
T1 = mr_series(series="T1", slices=3)
PRIOR = mr_series(study="2", series="T1")
STUDY = str(FLAIR.datasets[0].StudyInstanceUID)
OURS = PatientIdentity(patient_id="ID-7", issuer_of_patient_id="WARD9")


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listener]:
    with listening(tmp_path_factory.mktemp("node")) as node:
        yield node


@pytest.fixture(scope="module")
def orthanc(
    here: Listener, tmp_path_factory: pytest.TempPathFactory, debian_tool: Callable[[str], str]
) -> Iterator[OrthancServer]:
    folder = tmp_path_factory.mktemp("orthanc")
    modality = Modality(name="node", ae_title="BTNODE", port=here.address.port)
    with OrthancServer(debian_tool("Orthanc"), folder, modalities=[modality]) as server:
        for name, series in (("flair", FLAIR), ("t1", T1), ("prior", PRIOR)):
            server.store(series.write(folder / name))
        yield server


def dimse(orthanc: OrthancServer, by: str = "get", **changes: object) -> PacsQuery:
    known = {"name": "pacs", "ae_title": orthanc.ae_title, "host": orthanc.host, "port": orthanc.dicom_port}
    to = Destination(**{**known, "timeout_s": 5.0, **changes})
    return DicomPacs(to, "BTNODE", by=by, retrieve_timeout_s=30.0)  # type: ignore[arg-type]


def web(orthanc: OrthancServer) -> PacsQuery:
    to = Destination(name="pacs", kind="dicomweb", url=orthanc.dicomweb_url, timeout_s=5.0)
    return DicomwebPacs(to, retrieve_timeout_s=30.0)


@pytest.fixture(params=["dimse", "dicomweb"])
def pacs(request: pytest.FixtureRequest, orthanc: OrthancServer) -> PacsQuery:
    return dimse(orthanc) if request.param == "dimse" else web(orthanc)


def test_the_pacs_says_how_many_instances_each_series_has(pacs: PacsQuery) -> None:
    counts = {one.description: (one.modality, one.instances) for one in pacs.series(STUDY)}
    assert counts == {"FLAIR": ("MR", 5), "T1": ("MR", 3)}
    uid = str(T1.datasets[0].SeriesInstanceUID)
    assert sorted(pacs.instances(STUDY, uid)) == sorted(str(one.SOPInstanceUID) for one in T1.datasets)


def test_the_patient_it_files_a_study_under_and_the_priors(pacs: PacsQuery) -> None:
    found = pacs.study(STUDY)
    assert found is not None
    assert found.patient.patient_id == "ID-7"
    assert pacs.study("1.2.3.4") is None
    priors = {one.study.study_instance_uid: one for one in pacs.studies_of(OURS)}
    assert set(priors) == {STUDY, str(PRIOR.datasets[0].StudyInstanceUID)}
    prior = priors[str(PRIOR.datasets[0].StudyInstanceUID)]
    assert OURS.same(prior.patient)
    assert (prior.study.study_date, prior.study.modalities) == ("20260102", ("MR",))
    for unknown in ("ID", "Ü-7 Ł"):
        assert pacs.studies_of(PatientIdentity(patient_id=unknown)) == []
    for odd in ("", "*", "ID-?", "A\\B"):
        with pytest.raises(NoAnswer, match="wildcards"):
            pacs.studies_of(PatientIdentity(patient_id=odd))


def taking(ingest: Ingest) -> Callable[[ReceivedObject], bool]:
    def take(received: ReceivedObject) -> bool:
        claim = Claim(
            sop_class_uid=received.sop_class_uid,
            sop_instance_uid=received.sop_instance_uid,
            transfer_syntax_uid=received.transfer_syntax_uid,
            calling_ae="PACS",
        )
        return ingest.receive(received.data_set, claim).taken.filed

    return take


def stored(node: Listener, series: MrSeries) -> dict[str, bytes]:
    """SOP Instance UID to the data set in our store."""
    rows = node.studies.instances_of(str(series.datasets[0].StudyInstanceUID))
    return {row.sop_instance_uid: split_part10(node.files.read(row.path))[1] for row in rows}


@pytest.mark.parametrize("kind", ["get", "move", "dicomweb"])
def test_what_is_missing_comes_here_as_the_pacs_has_it(
    orthanc: OrthancServer, tmp_path: Path, here: Listener, kind: str
) -> None:
    series = {"get": FLAIR, "move": T1, "dicomweb": PRIOR}[kind]
    study, uid = str(series.datasets[0].StudyInstanceUID), str(series.datasets[0].SeriesInstanceUID)
    asked = web(orthanc) if kind == "dicomweb" else dimse(orthanc, kind)
    wanted = asked.instances(study, uid)[1:]
    came = asked.retrieve(study, uid, wanted, taking(here.ingest))
    assert (came.arrived, came.failed, came.text) == (len(wanted), 0, "")
    held = stored(here, series)
    files = {str(dcmread(path).SOPInstanceUID): path for path in series.write(tmp_path / "source")}
    assert {uid: held[uid] for uid in wanted} == {uid: split_part10(files[uid].read_bytes())[1] for uid in wanted}


def test_an_object_that_is_not_kept_is_counted_as_failed(orthanc: OrthancServer) -> None:
    uid = str(FLAIR.datasets[0].SeriesInstanceUID)
    asked = dimse(orthanc)
    wanted = asked.instances(STUDY, uid)
    came = asked.retrieve(STUDY, uid, wanted, lambda received: False)
    assert (came.arrived, came.failed) == (0, 5)
    assert "retrieve status" in came.text


def test_a_title_the_pacs_does_not_know_is_an_answer_too(orthanc: OrthancServer) -> None:
    with pytest.raises(NoAnswer, match="Called AE title"):
        dimse(orthanc, ae_title="WRONG").series(STUDY)
    with pytest.raises(NoAnswer, match="no association"):
        dimse(orthanc, port=free_port()).series(STUDY)
    nowhere = Destination(name="web", kind="dicomweb", url=f"http://127.0.0.1:{free_port()}/x", timeout_s=2)
    with pytest.raises(NoAnswer, match="no connection"):
        DicomwebPacs(nowhere, retrieve_timeout_s=5).series(STUDY)
    assert not reached(nowhere).ok
    assert reached(Destination(name="web", kind="dicomweb", url=orthanc.dicomweb_url, timeout_s=5)).ok


@contextmanager
def find_provider(answer: Callable[[evt.Event], Iterator[tuple[int, None]]]) -> Iterator[PacsQuery]:
    ae = AE(ae_title="PEER")
    ae.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_FIND, answer)])
    to = Destination(name="pacs", ae_title="PEER", host="127.0.0.1", port=server.server_address[1], timeout_s=1.0)
    try:
        yield DicomPacs(to, "BTNODE", by="get", retrieve_timeout_s=2.0)
    finally:
        server.shutdown()


def test_a_pacs_that_is_slow_or_fails_costs_its_time_out(tmp_path: Path) -> None:
    def silent(event: evt.Event) -> Iterator[tuple[int, None]]:
        time.sleep(2.0)
        yield 0x0000, None

    def fails(event: evt.Event) -> Iterator[tuple[int, None]]:
        yield 0xC001, None

    with find_provider(silent) as slow:
        begun = time.monotonic()
        with pytest.raises(NoAnswer, match="no answer in time"):
            slow.series(STUDY)
        assert time.monotonic() - begun < 10
    with find_provider(fails) as failing, pytest.raises(NoAnswer, match="0xC001"):
        failing.series(STUDY)
    with find_provider(fails) as only_find:
        came = only_find.retrieve(STUDY, "1.2", ["1.2.3"], lambda received: True)
        assert (came.arrived, came.failed) == (0, 1)
        assert "SOP class not supported" in came.text


def test_dcmqrscp_is_asked_and_gives(tmp_path: Path, here: Listener, debian_tool: Callable[[str], str]) -> None:
    port, area = free_port(), tmp_path / "DCMQR"
    area.mkdir()
    config = tmp_path / "dcmqrscp.cfg"
    config.write_text(
        f"NetworkTCPPort = {port}\nMaxPDUSize = 16384\nMaxAssociations = 8\nHostTable BEGIN\n"
        f"node = (BTNODE, 127.0.0.1, {here.address.port})\nHostTable END\nVendorTable BEGIN\nVendorTable END\n"
        f"AETable BEGIN\nDCMQR {area} RW (200, 1024mb) ANY\nAETable END\n"
    )
    ready = mr_series(study="3", series="T2")
    paths = ready.write(area)
    subprocess.run([debian_tool("dcmqridx"), str(area), *map(str, paths)], check=True, capture_output=True)
    server = subprocess.Popen(
        [debian_tool("dcmqrscp"), "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    to = Destination(name="dcmqr", ae_title="DCMQR", host="127.0.0.1", port=port, timeout_s=5.0)
    study, uid = str(ready.datasets[0].StudyInstanceUID), str(ready.datasets[0].SeriesInstanceUID)
    try:
        asked = DicomPacs(to, "BTNODE", by="get", retrieve_timeout_s=20.0)
        deadline = time.monotonic() + 10
        while True:
            try:
                series = asked.series(study)
                break
            except NoAnswer:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        # It does not count instances; they are listed and counted.
        assert [(one.series_instance_uid, one.instances) for one in series] == [(uid, 5)]
        wanted = asked.instances(study, uid)
        got = asked.retrieve(study, uid, wanted[:2], taking(here.ingest))
        moved = DicomPacs(to, "BTNODE", by="move", retrieve_timeout_s=20.0).retrieve(
            study, uid, wanted[2:], lambda received: False
        )
        assert (got.arrived, got.failed, moved.arrived, moved.failed) == (2, 0, 3, 0)
        assert set(stored(here, ready)) == set(wanted)
    finally:
        server.terminate()
        server.wait(10)


def test_dcmtk_moves_a_study_here_and_finds_nothing_to_ask(
    orthanc: OrthancServer, here: Listener, debian_tool: Callable[[str], str]
) -> None:
    study = str(PRIOR.datasets[0].StudyInstanceUID)
    keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}"]
    moved = subprocess.run(
        [debian_tool("movescu"), "-S", "-aet", "BTNODE", "-aec", orthanc.ae_title, "-aem", "BTNODE", *keys,
         orthanc.host, str(orthanc.dicom_port)],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert moved.returncode == 0, moved.stderr
    assert set(stored(here, PRIOR)) == {str(one.SOPInstanceUID) for one in PRIOR.datasets}
    # The node answers no queries: the service is refused, and the association ends in order.
    found = subprocess.run(
        [debian_tool("findscu"), "-S", "-aec", "BTNODE", *keys, "127.0.0.1", str(here.address.port)],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert found.returncode != 0
    assert "No Acceptable Presentation Contexts" in found.stderr
