"""The model repository extension on both ports: the index of models, and their loading and unloading.

The index shows what `/v1/models` and the metadata show anyway, so it is always answered. Loading and unloading change
the list of models as the commands `load` and `unload` do, and must be switched on.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

from core.admin import messages as admin_messages
from core.admin.model_changes import Change
from core.errors import Aborted, Code, DeadlineExceeded, ServingError, Unavailable
from core.inference.protobuf_wire import parse_message
from core.oip.path import OipRequest, Operation
from core.oip.repository import (
    IndexEntry,
    check_load_body,
    check_load_parameters,
    expect_enabled,
    expect_one_repository,
    index_message,
    is_loaded,
    load_configured,
    read_index_body,
    read_repository_request,
    repository_index,
    unload_configured,
)
from core.protos import oip_pb2
from core.rest.http_answer import HttpAnswer
from core.routing.server_state import why_missing
from core.routing.table import RoutingTable
from deployments.access.guard import SIGHT
from deployments.grpc.services import Answering, GrpcAnswer
from deployments.oip.http_answers import json_document
from deployments.oip.rest_api import Handler

log = logging.getLogger(__name__)

MOST_ATTEMPTS = 50
"""How often a change is repeated while others change the list, or while the watcher starts anew."""

LONGEST_LOAD_S = 600.0
"""How long a load is waited for at most; it goes on after that."""

FILES_TIMEOUT_S = 2.0
LOOK_EVERY_S = 0.05
WATCHER_PAUSE_S = 0.3

HandOver = Callable[[str, bytes], Awaitable[bytes]]
"""Gives a request about the list of models to the watcher, by the name of its method; raises ServingError."""


class ModelRepository:
    """Shows and changes which models are loaded; `table` returns the one that this router uses."""

    def __init__(self, table: Callable[[], RoutingTable], hand_over: HandOver, *, is_enabled: bool) -> None:
        self._table = table
        self._hand_over = hand_over
        self._is_enabled = is_enabled

    def handlers(self) -> Mapping[Operation, Handler]:
        """Return what answers over REST."""
        return MappingProxyType(
            {
                Operation.INDEX: self._rest_index,
                Operation.LOAD: self._rest_changing(self.load),
                Operation.UNLOAD: self._rest_changing(self.unload),
            }
        )

    def methods(self) -> Mapping[str, Answering]:
        """Return what answers over gRPC."""
        return MappingProxyType(
            {
                "RepositoryIndex": self._grpc_index,
                "RepositoryModelLoad": self._grpc_load,
                "RepositoryModelUnload": self._grpc_unload,
            }
        )

    async def index(self, *, only_ready: bool) -> tuple[IndexEntry, ...]:
        """Return the index; models that are not loaded are missing in it while the watcher does not answer."""
        files: tuple[str, ...] = ()
        try:
            async with asyncio.timeout(FILES_TIMEOUT_S):
                known = admin_messages.read_config_answer(await self._hand_over("get_config", b"")).known
            files = tuple(one.name for one in known.files)
        except (ServingError, TimeoutError) as error:
            log.info("index_without_files error=%r", error)
        sight = SIGHT.get()
        shown = tuple(filter(sight.shows, files))
        return repository_index(sight.table(self._table()), shown, only_ready=only_ready)

    async def load(self, name: str, timeout_s: float | None) -> None:
        """Load a model as it is configured; returns when it answers, at once if it does already.

        Raises NotFound, Internal with the error of the load, and DeadlineExceeded.
        """
        try:
            async with asyncio.timeout(_bounded(timeout_s)):
                generation = await self._change(load_configured(name))
                while not is_loaded(self._table(), name, generation):
                    await asyncio.sleep(LOOK_EVERY_S)
        except TimeoutError:
            raise DeadlineExceeded(f"failed to load '{name}' in time: {self._why_missing(name)}") from None

    async def unload(self, name: str, timeout_s: float | None) -> None:
        """Unload a model; returns when no router takes new requests for it. Raises NotFound and DeadlineExceeded."""
        try:
            async with asyncio.timeout(_bounded(timeout_s)):
                await self._change(unload_configured(name))
        except TimeoutError:
            raise DeadlineExceeded(f"failed to unload '{name}' in time") from None

    async def _change(self, change: Change) -> int:
        """Change the list in force; returns the generation from which the change is, 0 if there was nothing to do."""
        for attempt in range(MOST_ATTEMPTS):
            try:
                return await self._changed(change)
            except Aborted:
                await asyncio.sleep(random.uniform(0.0, 0.02 * (attempt + 1)))  # noqa: S311 - spreads those who collide
            except Unavailable:
                await asyncio.sleep(WATCHER_PAUSE_S)
        return await self._changed(change)

    async def _changed(self, change: Change) -> int:
        in_force = admin_messages.read_config_answer(await self._hand_over("get_config", b""))
        models = change(in_force.known)
        if models == in_force.known.models:
            return 0
        request = admin_messages.change_request(models, in_force.fingerprint)
        return admin_messages.read_change_answer(await self._hand_over("change_config", request))

    def _why_missing(self, name: str) -> str:
        model = self._table().models.get(name)
        return "the server does not know it yet" if model is None else why_missing(model)

    async def _rest_index(self, request: OipRequest, body: bytes) -> HttpAnswer:
        del request
        entries = await self.index(only_ready=read_index_body(body))
        return json_document([one.texts for one in entries])

    def _rest_changing(self, change: Callable[[str, float | None], Awaitable[None]]) -> Handler:
        async def changed(request: OipRequest, body: bytes) -> HttpAnswer:
            expect_one_repository(request.repository)
            expect_enabled(is_enabled=self._is_enabled)
            check_load_body(body)
            await change(request.name, None)
            return HttpAnswer(200)

        return changed

    async def _grpc_index(self, raw: bytes, timeout_s: float | None) -> GrpcAnswer:
        del timeout_s
        request = parse_message(oip_pb2.RepositoryIndexRequest, raw)
        return GrpcAnswer(Code.OK, body=index_message(await self.index(only_ready=request.ready)))

    async def _grpc_load(self, raw: bytes, timeout_s: float | None) -> GrpcAnswer:
        expect_enabled(is_enabled=self._is_enabled)
        request = parse_message(oip_pb2.RepositoryModelLoadRequest, raw)
        asked = read_repository_request(request.repository_name, request.model_name)
        check_load_parameters(request.parameters)
        await self.load(asked.name, timeout_s)
        answer = oip_pb2.RepositoryModelLoadResponse(model_name=asked.name, isLoaded=True)
        return GrpcAnswer(Code.OK, body=answer.SerializeToString() if asked.is_kserve else b"")

    async def _grpc_unload(self, raw: bytes, timeout_s: float | None) -> GrpcAnswer:
        expect_enabled(is_enabled=self._is_enabled)
        request = parse_message(oip_pb2.RepositoryModelUnloadRequest, raw)
        asked = read_repository_request(request.repository_name, request.model_name)
        await self.unload(asked.name, timeout_s)
        answer = oip_pb2.RepositoryModelUnloadResponse(model_name=asked.name, isUnloaded=True)
        return GrpcAnswer(Code.OK, body=answer.SerializeToString() if asked.is_kserve else b"")


def _bounded(timeout_s: float | None) -> float:
    return LONGEST_LOAD_S if timeout_s is None else min(timeout_s, LONGEST_LOAD_S)
