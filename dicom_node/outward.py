"""Composition of the outward half: who is sent to, asked and answered, built from the configuration."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

from dicom_node.commitment_answers import CommitmentAnswers
from dicom_node.config import ConfigurationInvalid, NodeConfig
from dicom_node.config_sections import DestinationSection
from dicom_node.inbound.ingest import Claim, Ingest
from dicom_node.outbound.asking import PacsQuery, ReceivedObject
from dicom_node.outbound.backoff import BackoffPolicy
from dicom_node.outbound.breaker import Breaker, BreakerPolicy
from dicom_node.outbound.commitment import CommitmentAsker, CommitmentPolicy
from dicom_node.outbound.delivery import Deliverer
from dicom_node.outbound.destinations import sender_for
from dicom_node.outbound.qido import DicomwebPacs, reached
from dicom_node.outbound.retrieve import DicomPacs
from dicom_node.outbound.scu import EchoResult, echo
from dicom_node.outbound.sending import Destination
from dicom_node.outbound.tls import client_context
from dicom_node.pacs_questions import PacsQuestions, QuestionPolicy
from dicom_node.retention import Retention, RetentionPolicy
from dicom_node.store import Store
from storage.circuits import CircuitRepository
from storage.clock import Clock
from storage.commitment_requests import CommitmentRequestRepository
from storage.commitments import CommitmentRepository
from storage.errors import StorageError
from storage.holdings import Holdings
from storage.pacs_answers import PacsAnswerRepository
from storage.removals import RemovalRepository

#: A loop of the worker: name, one pass, seconds between passes.
Loop = tuple[str, Callable[[], object], float]

_HOUR_S = 3600.0


def destinations_of(config: NodeConfig) -> list[Destination]:
    """The configured destinations as the senders take them, their secrets read from the environment.

    Raises:
        ConfigurationInvalid: a secret's variable is not set.
    """
    return [
        Destination(**section.model_dump(exclude={"secret_env", "lint"}), secret=_secret(section))
        for section in config.destinations
    ]


def _secret(section: DestinationSection) -> str:
    if section.auth == "none":
        return ""
    secret = os.environ.get(section.secret_env, "")
    if not secret:
        raise ConfigurationInvalid(
            f"destinations: '{section.name}' signs in with what the environment variable {section.secret_env} holds, "
            "and it is not set"
        )
    return secret


def reach(destination: Destination, our_ae_title: str) -> EchoResult:
    """Ask a destination for a sign of life: C-ECHO, or a search over DICOMweb."""
    return reached(destination) if destination.kind == "dicomweb" else echo(destination, our_ae_title)


def delivery_policy(config: NodeConfig) -> BackoffPolicy:
    """How long what was not taken waits."""
    section = config.delivery
    return BackoffPolicy(
        first_retry_s=section.first_retry_s,
        longest_wait_s=section.longest_wait_s,
        give_up_after_days=section.give_up_after_days,
    )


def build_deliverer(config: NodeConfig, store: Store, clock: Clock) -> Deliverer:
    """What empties the outbox.

    Raises:
        ConfigurationInvalid, DestinationTlsInvalid: a destination's secret or TLS files cannot be used.
    """
    destinations = destinations_of(config)
    for destination in destinations:
        if destination.tls:
            client_context(destination)  # files that cannot be used are told at the start, not by a late result
    section = config.delivery
    breaker = BreakerPolicy(
        refusals=section.breaker_refusals,
        first_trial_s=section.breaker_trial_s,
        longest_trial_s=section.breaker_longest_trial_s,
    )
    return Deliverer(
        store.deliveries,
        {destination.name: sender_for(destination, config.node.ae_title) for destination in destinations},
        store.files.abspath,
        policy=delivery_policy(config),
        breaker=Breaker(CircuitRepository(store.database), breaker, clock),
        fallback={destination.name: destination.fallback for destination in destinations},
        committing=[destination.name for destination in destinations if destination.commitment == "request"],
        clock=clock,
    )


def retention_policy(config: NodeConfig) -> RetentionPolicy:
    """How long received images are kept."""
    section = config.retention
    return RetentionPolicy(
        received_days=section.received_days,
        free_below_bytes=None if section.free_below_mb is None else section.free_below_mb << 20,
        least_hours=section.least_hours,
    )


def removals_of(config: NodeConfig, store: Store, clock: Clock) -> RemovalRepository:
    """What may be removed with these destinations, and what was."""
    asked = [destination.name for destination in config.destinations if destination.commitment == "request"]
    return RemovalRepository(store.database, store.files, committing=asked, clock=clock)


def outward_loops(config: NodeConfig, store: Store, clock: Clock) -> list[Loop]:
    """What the worker does beside analysing and delivering: asking for commitment, giving it, asking the PACS."""
    loops: list[Loop] = [("commitment", _commitment(config, store, clock), config.delivery.poll_s)]
    policy = retention_policy(config)
    if policy.removes:
        retention = Retention(removals_of(config, store, clock), policy, store.files.free_bytes, clock)
        loops.append(("retention", retention.tick, config.retention.poll_s))
    pacs = pacs_of(config)
    if pacs is not None:
        loops.append(("pacs", _questions(config, store, pacs, clock).tick, config.assembly.poll_s))
    return loops


def _commitment(config: NodeConfig, store: Store, clock: Clock) -> Callable[[], None]:
    destinations = destinations_of(config)
    section = config.commitment
    asker = CommitmentAsker(
        CommitmentRepository(store.database, clock, lease_s=config.delivery.lease_s),
        destinations,
        config.node.ae_title,
        policy=CommitmentPolicy(
            wait_s=section.wait_s, ask_again_s=section.ask_again_h * _HOUR_S, give_up_s=section.give_up_h * _HOUR_S
        ),
        clock=clock,
    )
    report_to = {destination.ae_title: destination for destination in destinations if destination.kind == "dicom"}
    for peer in section.report_to:
        report_to[peer.ae_title] = Destination(
            name=peer.ae_title, ae_title=peer.ae_title, host=peer.host, port=peer.port, timeout_s=30.0
        )
    answers = CommitmentAnswers(
        CommitmentRequestRepository(store.database, clock),
        Holdings(store.database, store.files),
        report_to,
        config.node.ae_title,
        policy=delivery_policy(config),
        clock=clock,
    )

    def tick() -> None:
        answers.answer_due()
        asker.ask_due()

    return tick


def pacs_of(config: NodeConfig) -> PacsQuery | None:
    """The PACS that is asked, None where none is."""
    section = config.query
    for destination in destinations_of(config):
        if destination.name == section.destination:
            asked = replace(destination, timeout_s=section.timeout_s)
            if asked.kind == "dicomweb":
                return DicomwebPacs(asked, retrieve_timeout_s=section.retrieve_timeout_s)
            return DicomPacs(
                asked, config.node.ae_title, by=section.retrieve, retrieve_timeout_s=section.retrieve_timeout_s
            )
    return None


def _questions(config: NodeConfig, store: Store, pacs: PacsQuery, clock: Clock) -> PacsQuestions:
    ingest = Ingest(store.files, store.studies, store.audit)

    def take(received: ReceivedObject) -> bool:
        claim = Claim(
            sop_class_uid=received.sop_class_uid,
            sop_instance_uid=received.sop_instance_uid,
            transfer_syntax_uid=received.transfer_syntax_uid,
            calling_ae=pacs.name[:16],
        )
        try:
            return ingest.receive(received.data_set, claim).taken.filed
        except StorageError:
            return False

    section = config.query
    return PacsQuestions(
        pacs=pacs,
        studies=store.studies,
        scans=store.scans,
        answers=PacsAnswerRepository(store.database, clock),
        requests=store.requests,
        audit=store.audit,
        take=take,
        removed=removals_of(config, store, clock).removed_of,
        policy=QuestionPolicy(
            quiet_s=section.quiet_s,
            again_s=section.again_s,
            fetch_missing=section.fetch_missing,
            fetch_priors=config.follow_up.fetch_priors,
        ),
        clock=clock,
    )
