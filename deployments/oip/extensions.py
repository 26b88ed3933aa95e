"""The extensions of the protocol that a router has: what answers them on both ports, and the words for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from core.oip.path import Operation
from deployments.grpc.services import Answering
from deployments.oip.model_repository import HandOver, ModelRepository
from deployments.oip.model_statistics import ModelStatistics
from deployments.oip.rest_api import Handler
from deployments.oip.server_facts import BINARY_EXTENSION, PARAMETERS_EXTENSION, ServerFacts
from deployments.rest.metrics_endpoint import ModelServers

REPOSITORY_EXTENSION: Final = "model_repository"
STATISTICS_EXTENSION: Final = "statistics"


@dataclass(frozen=True, slots=True)
class OipExtensions:
    """The handlers of REST operations and the methods of the gRPC service that extensions add."""

    handlers: Mapping[Operation, Handler]
    methods: Mapping[str, Answering]


def extension_names(*, has_repository: bool) -> tuple[str, ...]:
    """Return the words that clients test for; that of the repository only where models may be loaded."""
    repository = (REPOSITORY_EXTENSION,) if has_repository else ()
    return (BINARY_EXTENSION, *repository, PARAMETERS_EXTENSION, STATISTICS_EXTENSION)


def extensions_of(
    facts: ServerFacts, hand_over: HandOver, model_servers: ModelServers, *, has_repository: bool
) -> OipExtensions:
    """Return the extensions of a router."""
    repository = ModelRepository(lambda: facts.router.table, hand_over, is_enabled=has_repository)
    statistics = ModelStatistics(facts, model_servers)
    return OipExtensions(
        {**repository.handlers(), **statistics.handlers()}, {**repository.methods(), **statistics.methods()}
    )
