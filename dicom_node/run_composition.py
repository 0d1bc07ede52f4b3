"""Composition of what a run does, and of what its reviews lead to, built from the configuration."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version

from dicom_node.config import NodeConfig
from dicom_node.follow_up import FollowUps
from dicom_node.held import HeldObjects
from dicom_node.rejection import RejectionNotes
from dicom_node.results.stamp import EncodingOptions
from dicom_node.review_follow_up import ReviewFollowUp
from dicom_node.routing import Routing
from dicom_node.runs import RunSteps
from dicom_node.store import Store
from dicom_node.verification import Verifications
from pipeline.models.protocols import Models
from storage.clock import Clock


def routing_of(config: NodeConfig) -> Routing:
    """Which result goes where."""
    return Routing(
        kinds_by_destination={destination.name: destination.kinds for destination in config.destinations},
        fallbacks={destination.name: destination.fallback for destination in config.destinations},
        profiles={destination.name: destination.lint for destination in config.destinations},
    )


def build_steps(
    config: NodeConfig,
    store: Store,
    models: Callable[[], Models],
    routing: Routing,
    follow_ups: FollowUps | None = None,
) -> RunSteps:
    """The steps. models: asked for when a study is analysed, and only then."""
    return RunSteps(
        studies=store.studies,
        scans=store.scans,
        results=store.results,
        deliveries=store.deliveries,
        reviews=store.reviews,
        review_first=config.review.before_sending,
        prognosis=config.models.prognosis,
        files=store.files,
        models=models,
        routing=routing,
        options=EncodingOptions(**config.results.model_dump()),
        software_version=version("brain-tumor-node"),
        follow_ups=follow_ups,
    )


def build_held(config: NodeConfig, store: Store, routing: Routing) -> HeldObjects:
    """What judges held objects anew."""
    return HeldObjects(
        results=store.results,
        deliveries=store.deliveries,
        reviews=store.reviews,
        files=store.files,
        routing=routing,
        review_first=config.review.before_sending,
    )


def build_review_follow_up(config: NodeConfig, store: Store, routing: Routing, clock: Clock) -> ReviewFollowUp:
    """What carries out reviews."""
    return ReviewFollowUp(
        reviews=store.reviews,
        verifications=Verifications(
            results=store.results,
            deliveries=store.deliveries,
            files=store.files,
            routing=routing,
            organization=config.review.organization,
        ),
        rejections=RejectionNotes(
            results=store.results, deliveries=store.deliveries, files=store.files, routing=routing, clock=clock
        ),
    )
