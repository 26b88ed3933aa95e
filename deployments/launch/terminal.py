"""The output of the console script: progress, addresses of the server, rollout steps as they happen."""

from __future__ import annotations

import http.client
import os
import ssl
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from urllib.parse import quote

from core.admin.ready_message import curl, doors, example_body, rest_url, shown_host
from core.admin.rollout_messages import NOTHING, loading_message, rollout_messages, state_message, unfinished_versions
from core.config.server_settings import FrontDoorSettings, MonitoringConfig
from core.routing.server_state import Readiness, server_state
from core.routing.table import RoutingTable
from deployments.launch.console import Console

ASK_TIMEOUT_S = 5.0
MOST_MODELS_ASKED = 5
OK = 200
STDERR = 2

Say = Callable[[str], None]


class RolloutPrinter:
    """Prints the changes from table to table, and shows the versions that are still loading.

    Once the addresses are announced, it also prints the state of the server whenever that changes, and hands it to
    `follow_state` with every table.
    """

    def __init__(self, console: Console, follow_state: Say | None = None) -> None:
        self._console = console
        self._follow_state = follow_state
        self._readiness: Readiness | None = None
        self.table = NOTHING

    def say_state(self) -> None:
        """Print whether the server is ready, and from now on every change of that."""
        self._readiness = server_state(self.table).readiness
        self._console.say(state_message(self.table))
        self._hand_on_state()

    def show(self, tables: Iterable[RoutingTable]) -> None:
        """Print the changes in the newest table."""
        newest = max(tables, key=lambda one: one.generation, default=self.table)
        if newest.generation > self.table.generation:
            for line in rollout_messages(self.table, newest):
                self._console.say(line)
            self.table = newest
            self._console.wait_for(partial(loading_message, newest) if unfinished_versions(newest) else None)
            if self._readiness not in (None, server_state(self.table).readiness):
                self.say_state()
            elif self._readiness is not None:
                self._hand_on_state()

    def _hand_on_state(self) -> None:
        if self._follow_state is not None:
            self._follow_state(state_message(self.table))


def announce(say: Say, door: FrontDoorSettings, monitoring: MonitoringConfig, table: RoutingTable) -> None:
    """Print the addresses of the server, its pages, and an example request; the state of the server follows."""
    for line in doors(door):
        say(line)
    if door.rest_port:
        say(f"status page: {rest_url(door)}/")
    if monitoring.prometheus_enabled and door.rest_port:
        say(f"metrics: {rest_url(door)}{monitoring.prometheus_path}")
    example = _example(door, table)
    if example:
        say(f"try: {example}")


def _example(door: FrontDoorSettings, table: RoutingTable) -> str:
    """Return an example request that was answered; the status of a model where none was, or none in some seconds.

    With an access file this process is answered nothing, because it has no token.
    """
    answering = sorted(name for name, model in table.models.items() if model.is_available and not model.is_failing)
    ends_s = time.monotonic() + ASK_TIMEOUT_S
    for name in answering[:MOST_MODELS_ASKED]:
        path = f"/v1/models/{quote(name, safe='')}"
        body = example_body(_asked(door, f"{path}/metadata") or b"")
        left_s = ends_s - time.monotonic()
        if body is not None and left_s > 0 and _asked(door, f"{path}:predict", body, left_s) is not None:
            return curl(door, name, body)
    return curl(door, answering[0], None) if answering else ""


def _asked(
    door: FrontDoorSettings, path: str, body: str | None = None, timeout_s: float = ASK_TIMEOUT_S
) -> bytes | None:
    """Return the answer of our own REST port; None when it has none."""
    if not door.rest_port:
        return None
    connection = _connection(door, timeout_s)
    try:
        connection.request("GET" if body is None else "POST", path, body)
        answer = connection.getresponse()
        content = answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return content if answer.status == OK else None


def _connection(door: FrontDoorSettings, timeout_s: float) -> http.client.HTTPConnection:
    host = shown_host(door).strip("[]")
    if not door.rest_ssl_config_file:
        return http.client.HTTPConnection(host, door.rest_port, timeout=timeout_s)
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(host, door.rest_port, timeout=timeout_s, context=context)


@contextmanager
def without_stderr() -> Iterator[None]:
    """Discard what Ray's C++ code writes while it shuts down, which no setting of Ray's suppresses."""
    sys.stderr.flush()
    kept = os.dup(STDERR)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, STDERR)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, STDERR)
        os.close(kept)
        os.close(nowhere)
