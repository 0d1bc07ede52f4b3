"""Section 4: the application entities, their associations, what they offer and what they ask for."""

from __future__ import annotations

from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import DEFAULT_TRANSFER_SYNTAXES
from pynetdicom.sop_class import (
    StorageCommitmentPushModel,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

from dicom_node.commitment.data import CLASS_INSTANCE_CONFLICT, NO_SUCH_INSTANCE, PROCESSING_FAILURE
from dicom_node.config import NodeConfig
from dicom_node.conformance.markdown import document, named, table, uid_rows
from dicom_node.inbound.answers import (
    CANNOT_UNDERSTAND,
    DATA_SET_MISMATCH,
    INVALID_SOP_INSTANCE,
    OUT_OF_RESOURCES,
    SUCCESS,
)
from dicom_node.inbound.headers import MR_IMAGE_CLASSES
from dicom_node.inbound.offered import MAX_PDU_BYTES, STORAGE_SYNTAXES
from dicom_node.inbound.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dicom_node.inbound.wire_limits import MAX_CONTROL_PDU_BYTES
from dicom_node.outbound.dimse_status import verdict_of_status
from dicom_node.outbound.retrieve import RETRIEVED_CLASSES, RETRIEVED_SYNTAXES
from dicom_node.results.encoders import ENCODERS
from dicom_node.results.seg import LABEL_MAP_STORAGE

#: One status of each kind that `verdict_of_status` tells apart.
_STATUSES = (0x0000, 0xB000, 0x0111, 0xA700, 0x0110, 0x0213, 0x0122, 0xA900, 0xC000, 0x0117)
_PLAIN = tuple(str(uid) for uid in DEFAULT_TRANSFER_SYNTAXES)
_ROOT = (
    (
        StudyRootQueryRetrieveInformationModelFind,
        "C-FIND: a study, its series and instances; studies of a Patient ID",
    ),
    (StudyRootQueryRetrieveInformationModelGet, "C-GET, where `query.retrieve` is get"),
    (StudyRootQueryRetrieveInformationModelMove, "C-MOVE to STORE-SCP, where `query.retrieve` is move"),
)


def networking(config: NodeConfig) -> str:
    """Section 4 for a configuration."""
    return document(
        "## 4 Networking",
        _model(config),
        "### 4.2 AE specifications",
        _receiving(config),
        _sending(config),
        _network(config),
    )


def _model(config: NodeConfig) -> str:
    return document(
        "### 4.1 Implementation model",
        "One AE title, three activities: **STORE-SCP** receives objects, commitment requests and commitment reports; "
        "**SEND-SCU** sends results and asks for commitment; **QUERY-SCU** asks a PACS what it holds and retrieves it. "
        "A study that is complete is analysed once; its results are sent to each configured destination until "
        "that took or "
        "refused them.",
        table(
            ("activity", "AE title", "direction"),
            [
                ("STORE-SCP", config.node.ae_title, "accepts associations"),
                ("SEND-SCU", config.node.ae_title, "initiates associations"),
                ("QUERY-SCU", config.node.ae_title, "initiates associations"),
            ],
        ),
        table(
            ("implementation", "value"),
            [
                ("Implementation Class UID", IMPLEMENTATION_CLASS_UID),
                ("Implementation Version Name", IMPLEMENTATION_VERSION_NAME),
                ("Application Context Name", "1.2.840.10008.3.1.1.1"),
                ("asynchronous operations", "none; one operation at a time on an association"),
            ],
        ),
    )


def _receiving(config: NodeConfig) -> str:
    node = config.node
    peers = ", ".join(f"'{peer.ae_title}'" for peer in node.peers) or "any (the list is empty)"
    return document(
        "#### 4.2.1 STORE-SCP",
        "##### 4.2.1.1 Association policies",
        table(
            ("policy", "value", "key"),
            [
                ("called AE title", f"'{node.ae_title}', any other is rejected (1, 1, 7)", "node.ae_title"),
                ("calling AE titles", f"{peers}; others are rejected (1, 1, 3)", "node.peers"),
                (
                    "associations at once",
                    f"{node.max_associations}, more are rejected (2, 3, 2)",
                    "node.max_associations",
                ),
                ("no room", "rejected (2, 3, 1) until there is again", "storage.min_free_mb, node.max_backlog_mb"),
                ("PDU received at most", f"{MAX_PDU_BYTES} bytes of P-DATA, {MAX_CONTROL_PDU_BYTES} of any other", ""),
                ("object at most", f"{node.max_object_mb} MB, a larger one ends its association", "node.max_object_mb"),
                ("association request within", f"{node.association_timeout_s:g} s", "node.association_timeout_s"),
                ("silence at most", f"{node.idle_timeout_s:g} s", "node.idle_timeout_s"),
                ("SCP/SCU role selection", "for Storage Commitment Push Model only", ""),
                ("extended negotiation", "none", ""),
            ],
        ),
        "##### 4.2.1.2 Presentation contexts accepted",
        table(
            ("abstract syntax", "UID", "transfer syntaxes", "role"),
            [
                *uid_rows([str(Verification)], "uncompressed", "SCP"),
                *uid_rows([str(StorageCommitmentPushModel)], "uncompressed", "SCP; SCU of reports"),
                ("the storage classes of annex 8.5", "", "the list below, in this order of preference", "SCP"),
            ],
        ),
        table(("transfer syntax", "UID"), [(named(uid), uid) for uid in STORAGE_SYNTAXES]),
        f"Uncompressed: {', '.join(named(uid) for uid in _PLAIN)}.",
        "##### 4.2.1.3 Storage",
        "Conformance level 2 (full): all attributes are kept, the data set byte for byte in the syntax it came "
        "in, no element "
        "coerced. Success is answered when the object is on disk, synced. An object of the same UID and bytes is "
        "acknowledged "
        "and kept once; of the same UID and other bytes, or of another patient's study, it is acknowledged, kept "
        "apart and never "
        f"analysed. {', '.join(sorted(named(uid) for uid in MR_IMAGE_CLASSES))} are analysed; everything else is "
        "kept as "
        "evidence of its study. Images are kept until the policy of `retention` removes them, for ever by default.",
        table(
            ("status", "when"),
            [
                (f"0x{SUCCESS:04X}", "kept"),
                (f"0x{OUT_OF_RESOURCES:04X}", "nothing was kept: no room, or the database did not answer; send again"),
                (f"0x{DATA_SET_MISMATCH:04X}", "the data set is of another SOP class or instance than the request"),
                (f"0x{INVALID_SOP_INSTANCE:04X}", "SOP class or instance UID is not a UID"),
                (f"0x{CANNOT_UNDERSTAND:04X}", "the data set cannot be parsed"),
            ],
        ),
        "##### 4.2.1.4 Storage commitment, given",
        "N-ACTION is answered 0x0000 when the request is kept. An instance is committed when its row and its "
        "file are there and "
        "the file has the hash it had on arrival; the report (N-EVENT-REPORT) goes out on the same association "
        "where the peer "
        "stays on it, else on one of our own to where that AE title listens, with the back-off of 4.2.2. It is "
        "kept as long as the "
        "policy of `retention` says, and at least until every result of its study is delivered.",
        table(
            ("failure reason", "when"),
            [
                (f"0x{NO_SUCH_INSTANCE:04X}", "no such instance, or removed by policy"),
                (f"0x{CLASS_INSTANCE_CONFLICT:04X}", "another SOP class"),
                (f"0x{PROCESSING_FAILURE:04X}", "the file is missing, changed or unreadable"),
            ],
        ),
    )


def _sending(config: NodeConfig) -> str:
    delivery, commitment, query = config.delivery, config.commitment, config.query
    return document(
        "#### 4.2.2 SEND-SCU",
        f"One association a pass and destination, at most {delivery.breaker_refusals} objects on it. A failed "
        "attempt is "
        f"repeated after {delivery.first_retry_s:g} s, doubling to {delivery.longest_wait_s:g} s, for "
        f"{delivery.give_up_after_days:g} days, always with the same UIDs and bytes. Time-out for the connection "
        "and for each "
        "answer: the destination's `timeout_s` (60 s).",
        table(
            ("abstract syntax", "UID", "transfer syntaxes proposed", "role"),
            [
                *[
                    (
                        named(uid),
                        uid,
                        "RLE Lossless" if uid == LABEL_MAP_STORAGE else f"one context each: {_offered()}",
                        "SCU",
                    )
                    for uid in dict.fromkeys(one.sop_class_uid for one in ENCODERS)
                ],
                *uid_rows([str(StorageCommitmentPushModel)], "uncompressed; where `commitment: request`", "SCU"),
                *uid_rows([str(Verification)], "uncompressed; `tumor-node echo`, `check`, `doctor`", "SCU"),
            ],
        ),
        table(
            ("status of C-STORE", "what follows"),
            [
                (f"0x{status:04X}", f"{verdict}: {text}")
                for status in _STATUSES
                for verdict, text in [verdict_of_status(status)]
            ],
        ),
        f"Commitment is asked after each object sent. The report is awaited for {commitment.wait_s:g} s on the "
        "same association, "
        f"after that at STORE-SCP whenever it comes; the request is repeated every {commitment.ask_again_h:g} h for "
        f"{commitment.give_up_h:g} h. A denied object is sent again once.",
        "#### 4.2.3 QUERY-SCU",
        f"Study Root, hierarchical, no relational queries. Time-outs: {query.timeout_s:g} s for each answer, "
        f"{query.retrieve_timeout_s:g} s for a retrieval. This node is no SCP of query or retrieve.",
        table(("abstract syntax", "UID", "used for"), [(named(uid), uid, used) for uid, used in _ROOT]),
        "By C-GET it takes "
        + ", ".join(named(uid) for uid in RETRIEVED_CLASSES)
        + ", each in "
        + ", ".join(named(uid) for uid in RETRIEVED_SYNTAXES)
        + ". Keys returned that are used: Patient ID, Issuer of Patient ID, Study Date, Study Description, "
        "Modalities in Study, "
        "Modality, Series Description, numbers of related instances, the UIDs. Patient ID is matched by single value.",
    )


def _offered() -> str:
    return f"{named(ExplicitVRLittleEndian)}; {named(ImplicitVRLittleEndian)}"


def _network(config: NodeConfig) -> str:
    destinations = [
        (one.name, one.kind, one.ae_title or one.url, ", ".join(one.kinds), one.commitment)
        for one in config.destinations
    ]
    return document(
        "### 4.3 Network interfaces",
        f"TCP/IP, IPv4 and IPv6; listens on {config.node.host} port {config.node.port}, with TCP_NODELAY.",
        "### 4.4 Configuration",
        "Everything is set in config.yaml, see there; AE titles, hosts and ports of peers are not looked up elsewhere.",
        table(("destination", "kind", "AE title or URL", "results", "commitment"), destinations)
        if destinations
        else "No destination is configured.",
    )
