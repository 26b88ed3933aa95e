"""The direct connections to the replicas of one version, and the choice among them."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterable

from core.routing.transport import Endpoint
from deployments.routing.direct_connection import DirectConnection

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 5.0
CONNECT_AGAIN_AFTER_S = 1.0
"""After a refused connection for copies, which each copy would try again."""


class ReplicaSet:
    """The connections to the replicas of one version."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._connections: dict[Endpoint, DirectConnection] = {}
        self._for_copies: dict[Endpoint, DirectConnection] = {}
        self._connecting: dict[Endpoint, asyncio.Task[None]] = {}

    @property
    def endpoints(self) -> frozenset[Endpoint]:
        """The addresses of the connected replicas."""
        return frozenset(self._connections)

    def choose(self) -> DirectConnection | None:
        """Return the less loaded of two usable connections picked at random."""
        connections = self._connections.values()
        if len(connections) == 1:
            (only,) = connections
            return only if only.usable else None
        usable = [one for one in connections if one.usable]
        if len(usable) < 2:
            return usable[0] if usable else None
        first, second = random.sample(usable, 2)
        return first if first.load <= second.load else second

    def choose_for_copy(self) -> DirectConnection | None:
        """Return a connection that has copies alone: no call waits behind one, and none counts as load.

        None while it is being opened; nobody waits for it.
        """
        usable = [endpoint for endpoint, one in self._connections.items() if one.usable]
        if not usable:
            return None
        endpoint = random.choice(usable)  # noqa: S311 - a share of load, no secret
        connection = self._for_copies.get(endpoint)
        if connection is not None and connection.usable:
            return connection
        if endpoint not in self._connecting:
            task = asyncio.get_running_loop().create_task(self._connect_for_copies(endpoint))
            self._connecting[endpoint] = task
        return None

    async def _connect_for_copies(self, endpoint: Endpoint) -> None:
        try:
            connection = await self._opened(endpoint)
            if connection is None:
                await asyncio.sleep(CONNECT_AGAIN_AFTER_S)
            elif endpoint in self._connections:
                self._for_copies[endpoint] = connection
            else:
                connection.retire()
        finally:
            del self._connecting[endpoint]

    def close_for_copies(self) -> None:
        """End the connections for copies, with the copies that are on them."""
        for task in self._connecting.values():
            task.cancel()
        for connection in self._for_copies.values():
            connection.close()
        self._for_copies.clear()

    async def update(self, endpoints: Iterable[Endpoint]) -> None:
        """Connect to new replicas, and retire the connections to those that are gone."""
        current = set(endpoints)
        for endpoint in self.endpoints - current:
            self._connections.pop(endpoint).retire()
            copies = self._for_copies.pop(endpoint, None)
            if copies is not None:
                copies.close()
        for endpoint in current:
            known = self._connections.get(endpoint)
            if known is None or not known.usable:
                await self._connect(endpoint)

    async def _connect(self, endpoint: Endpoint) -> None:
        connection = await self._opened(endpoint)
        if connection is None:
            self._connections.pop(endpoint, None)
        else:
            self._connections[endpoint] = connection

    async def _opened(self, endpoint: Endpoint) -> DirectConnection | None:
        loop = asyncio.get_running_loop()
        host = endpoint.host_from(self._node)
        try:
            _, connection = await asyncio.wait_for(
                loop.create_connection(lambda: DirectConnection(endpoint), host, endpoint.port), CONNECT_TIMEOUT_S
            )
        except (OSError, TimeoutError) as error:
            log.info("direct_connection_refused replica=%s error=%r", endpoint.replica, str(error))
            return None
        return connection

    def retire(self) -> None:
        """Take no more calls; each connection closes when its last answer has come."""
        self.close_for_copies()
        for connection in self._connections.values():
            connection.retire()
        self._connections.clear()

    @property
    def usable(self) -> tuple[DirectConnection, ...]:
        """The connections that take calls now."""
        return tuple(one for one in self._connections.values() if one.takes_calls)

    @property
    def scaled(self) -> tuple[DirectConnection, ...]:
        """The connections to replicas that need reports of their load."""
        return tuple(one for endpoint, one in self._connections.items() if endpoint.wants_load)

    @property
    def is_degraded(self) -> bool:
        """Whether any known replica lacks a usable connection."""
        return not self._connections or any(not one.usable for one in self._connections.values())
