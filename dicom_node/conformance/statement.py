"""The DICOM conformance statement in the layout of PS3.2, made from the code's own tables and a configuration."""

from __future__ import annotations

from pynetdicom.sop_class import StorageCommitmentPushModel, Verification

from dicom_node.config import NodeConfig
from dicom_node.conformance.entities import networking
from dicom_node.conformance.markdown import document, named, table
from dicom_node.conformance.objects import annexes
from dicom_node.inbound.tls import CIPHERS
from dicom_node.results.encoders import ENCODERS

_YES, _NO, _CHOICE = "yes", "no", "where configured"


def statement(config: NodeConfig) -> str:
    """Markdown. Only what the configuration says of this node differs from one site to another."""
    return document(
        "# DICOM conformance statement",
        "Made by `tumor-node conformance` from the tables of the code and a configuration (here: the defaults); "
        "do not edit. "
        "For research and decision support only; not a medical device.",
        _overview(),
        "## 2 Table of contents",
        "1 overview, 3 introduction, 4 networking, 5 media interchange, 6 character sets, 7 security, 8 annexes.",
        "## 3 Introduction",
        "For administrators of a PACS and for integrators. The statement alone does not ensure that two systems "
        "work together; "
        "`tumor-node doctor` tries it, SOP class by SOP class. References: DICOM PS3 (2026), BCP 195 (RFC 9325). "
        "Terms are those of "
        "PS3.2; keys in type are of config.yaml.",
        networking(config),
        "## 5 Media interchange",
        "None. Files of PS3.10 are read from uploads and written to the node's own storage.",
        _character_sets(),
        _security(config),
        annexes(),
    )


def _overview() -> str:
    return document(
        "## 1 Overview",
        "A node that receives MRI of the brain by DICOM, segments and measures tumours, and sends Segmentations "
        "and Structured "
        "Reports back.",
        table(
            ("network service", "as SCU", "as SCP"),
            [
                (named(Verification), _YES, _YES),
                ("Storage of the classes of 8.5", _NO, _YES),
                *[(named(uid), _YES, _YES) for uid in dict.fromkeys(one.sop_class_uid for one in ENCODERS)],
                (named(StorageCommitmentPushModel), _CHOICE, _YES),
                ("Query (Study Root)", _CHOICE, _NO),
                ("Retrieve (Study Root, C-GET or C-MOVE)", _CHOICE, _NO),
            ],
        ),
        table(
            ("DICOMweb service", "as user agent", "as origin server"),
            [
                (
                    "STOW-RS, application/dicom",
                    _CHOICE,
                    "yes, `POST /dicom-web/studies` and `/dicom-web/studies/{uid}`",
                ),
                ("QIDO-RS, application/dicom+json", _CHOICE, _NO),
                ("WADO-RS, instances", _CHOICE, _NO),
                ("WADO-URI, UPS-RS", _NO, _NO),
            ],
        ),
        "STOW-RS answers 200 (all kept), 202 (some), 409 (none) or 503 (no room) with Referenced and Failed SOP "
        "Sequence in DICOM "
        "JSON; failure reasons 0xA900, 0xC000, 0xA700. See docs/delivery.md.",
    )


def _character_sets() -> str:
    return document(
        "## 6 Support of character sets",
        "Received data sets are kept in the character set they came in, whichever it is. Results are in the "
        "character set of their "
        "source, and what this node adds is ASCII. For display names are decoded by Specific Character Set: the "
        "default "
        "repertoire, ISO 8859 parts 1 to 9 and 15, JIS X 0201, 0208 and 0212, KS X 1001, TIS 620, GB 18030, GBK, "
        "GB 2312 and UTF-8, "
        "with and without code extensions. Queries that are not ASCII go out in ISO_IR 192.",
    )


def _security(config: NodeConfig) -> str:
    tls = config.node.tls
    return document(
        "## 7 Security",
        "BCP 195 TLS Secure Transport Connection Profile (PS3.15 annex B.9) as server and client; without TLS "
        "where none is "
        "configured.",
        table(
            ("property", "value"),
            [
                ("TLS of STORE-SCP", "on" if tls.certificate else "off"),
                ("versions", "1.2 and 1.3; no renegotiation, no compression"),
                ("cipher suites with 1.2", f"`{CIPHERS}`: forward secrecy and authenticated encryption"),
                ("client certificates", f"{tls.client_certificates} (none, optional or required)"),
                (
                    "as client",
                    "the peer's certificate and its name are always verified; own certificate where configured",
                ),
                ("DICOMweb", "TLS by https; basic or bearer sign-in; no redirects"),
            ],
        ),
        "Associations are admitted by AE titles, address and service (4.2.1.1); refusals are counted with their "
        "reason. User "
        "identity negotiation and digital signatures are not supported. Events of each study are kept in an "
        "audit trail of the "
        "node's own; audit messages of PS3.15 annex A.5 are not sent. Data sets are not de-identified.",
    )
