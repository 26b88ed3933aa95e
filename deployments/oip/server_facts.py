"""What the answers of both protocols about the server itself are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from core.errors import ServingError, Unavailable
from core.inference.signature import DEFAULT_SIGNATURE
from core.oip.metadata import MetadataQuery
from core.oip.model_reference import ModelReference, route_to, unresolved
from core.routing.server_state import server_state, unready_versions
from core.routing.table import Route
from deployments.division.request_headers import Fields
from deployments.routing.request_router import RequestRouter
from deployments.system.installed import server_version

BINARY_EXTENSION = "binary_tensor_data"
PARAMETERS_EXTENSION = "parameters"


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """The state that version 2 shows: of this router, and of the table that it uses.

    `extensions` of the protocol are those that this server has, in the words that clients test for.
    """

    router: RequestRouter
    is_draining: Callable[[], bool]
    extensions: tuple[str, ...] = (BINARY_EXTENSION, PARAMETERS_EXTENSION)

    @property
    def version(self) -> str:
        """The version of this server."""
        return server_version()

    @property
    def is_ready(self) -> bool:
        """Whether requests should be sent here, as `/readyz` says."""
        return self.why_not_ready() is None

    def why_not_ready(self, *, is_strict: bool = False) -> tuple[str, ...] | None:
        """Return what keeps requests from being sent here, which may be nothing yet; None where the server is ready.

        `is_strict` asks for Triton's rule, by which each version of each model must be ready.
        """
        table = self.router.table
        state = server_state(table, is_draining=self.is_draining())
        if not state.is_ready:
            return state.reasons
        return tuple(unready_versions(table)) or None if is_strict else None

    def route_to(self, asked: ModelReference, fields: Fields | None = None) -> Route:
        """Return the route of the version that answers; raises ServingError.

        `fields` are the headers of a request for inference, which may be divided.
        """
        try:
            return self.router.resolve(asked.name, asked.version, asked.label, fields)
        except ServingError as error:
            raise unresolved(self.router.table, asked, error) from None

    def why_model_not_ready(self, asked: ModelReference) -> ServingError | None:
        """Return the error of a request for a model; None where a version answers at every router."""
        try:
            route = route_to(self.router.table, asked)
        except ServingError as error:
            return error
        if route.servable.version in self.router.table.models[asked.name].available:
            return None
        return Unavailable(f"Request for model '{asked.name}' version {route.servable.version} that is not ready")

    def is_model_ready(self, asked: ModelReference) -> bool:
        """Whether a version answers; raises NotFound for an unknown one."""
        error = self.why_model_not_ready(asked)
        if error is not None and not self._is_known(asked):
            raise error
        return error is None

    def _is_known(self, asked: ModelReference) -> bool:
        model = self.router.table.models.get(asked.name)
        if model is None:
            return False
        return asked.version is None or any(one.version == asked.version for one in model.statuses)

    def metadata_query(self, asked: ModelReference, route: Route, signature: str) -> MetadataQuery:
        """Return the question to the model server of a route."""
        if asked.version is not None or asked.label is not None:
            versions = [route.servable.version]
        else:
            versions = sorted(self.router.table.models[asked.name].routes)
        return MetadataQuery(tuple(map(str, versions)), signature or DEFAULT_SIGNATURE)
