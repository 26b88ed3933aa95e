"""Small clients for tests: HTTP without retries, waiting with a deadline, and load in a closed loop."""

from __future__ import annotations

import http.client
import json
import os
import random
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self

FIRST_PORT, LAST_PORT = 20_000, 32_000
"""Below those that the kernel gives to clients, which may come between the choice of a port and its use."""

_ports = random.SystemRandom()
_drawn: set[int] = set()


def free_port() -> int:
    """Return a TCP port that nobody uses now, drawn by lot, since other processes draw at the same time.

    None is drawn again soon, and none that another process of the same run may draw: it may not be in use yet.
    """
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    mine = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    if 2 * len(_drawn) * processes > LAST_PORT - FIRST_PORT:
        _drawn.clear()
    while True:
        port = _ports.randrange(FIRST_PORT + mine, LAST_PORT, processes)
        if port in _drawn:
            continue
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("", port))
            _drawn.add(port)
            return port


def wait_until(is_true: Callable[[], bool], what: str, timeout_s: float = 120.0) -> None:
    """Wait for a condition; fails with `what` when the deadline passes."""
    ends_at = time.monotonic() + timeout_s
    while not is_true():
        if time.monotonic() > ends_at:
            raise AssertionError(f"not within {timeout_s} s: {what}")
        time.sleep(0.05)


@dataclass
class Reply:
    """An HTTP response, read to its end."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        text: str = self.json["error"]
        return text


class RestClient:
    """One keep-alive connection to the REST port; a closed connection is opened anew, a request is never repeated."""

    def __init__(self, port: int, timeout_s: float = 120.0, host: str = "127.0.0.1") -> None:
        self._host = host
        self._port = port
        self._timeout_s = timeout_s
        self._connection: http.client.HTTPConnection | None = None

    def send(
        self, method: str, path: str, body: bytes | str | None = None, headers: dict[str, str] | None = None
    ) -> Reply:
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)
        try:
            self._connection.request(method, path, body, headers or {})
            response = self._connection.getresponse()
            reply = Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        except BaseException:
            self.close()
            raise
        if reply.headers.get("connection") == "close":
            self.close()
        return reply

    def get(self, path: str) -> Reply:
        return self.send("GET", path)

    def post(self, path: str, body: Any) -> Reply:
        return self.send("POST", path, body if isinstance(body, bytes | str) else json.dumps(body))

    def predict(self, model: str, instances: Any, version: int | None = None) -> Any:
        """Return the predictions; fails on any other status than 200."""
        which = "" if version is None else f"/versions/{version}"
        reply = self.post(f"/v1/models/{model}{which}:predict", {"instances": instances})
        assert reply.status == 200, reply.body
        return reply.json["predictions"]

    def states(self, model: str) -> dict[int, str]:
        """Return version to state; empty for an unknown model."""
        reply = self.get(f"/v1/models/{model}")
        if reply.status != 200:
            return {}
        return {int(one["version"]): one["state"] for one in reply.json["model_version_status"]}

    def available(self, model: str) -> set[int]:
        """Return the versions that answer now."""
        return {version for version, state in self.states(model).items() if state == "AVAILABLE"}

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@dataclass
class LoadResult:
    """What a closed loop saw."""

    answers: list[Any] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


PAUSE_S = 0.01
"""Between a client's answer and its next request: a request is always under way, and processes can start meanwhile."""

REFUSED_PAUSE_S = 0.01
"""Clients that are refused must not take the processor from the server that is starting."""


class ClosedLoop:
    """Clients that send one request after the other until the block ends; used as a context manager."""

    def __init__(self, port: int, path: str, body: Any, clients: int = 4, pause_s: float = PAUSE_S) -> None:
        self._port, self._path, self._body, self._pause_s = port, path, body, pause_s
        self._stop = threading.Event()
        self.results = [LoadResult() for _ in range(clients)]
        self._threads = [threading.Thread(target=self._run, args=(one,), daemon=True) for one in self.results]

    def _run(self, result: LoadResult) -> None:
        client = RestClient(self._port, timeout_s=120.0)
        while not self._stop.wait(self._pause_s):
            try:
                reply = client.post(self._path, self._body)
            except OSError as error:
                result.failures.append(repr(error))
                self._stop.wait(REFUSED_PAUSE_S)
                continue
            except http.client.HTTPException as error:
                result.failures.append(repr(error))
                continue
            if reply.status == 200:
                result.answers.append(reply.json)
            else:
                result.failures.append(f"{reply.status} {reply.body!r}")
        client.close()

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    @property
    def failures(self) -> list[str]:
        return [one for result in self.results for one in result.failures]

    @property
    def answers(self) -> list[Any]:
        return [one for result in self.results for one in result.answers]

    @property
    def count(self) -> int:
        return sum(len(result.answers) for result in self.results)
