"""Clients of a REST port in a process of their own, which may run on another host; each request becomes a line of output.

`python -m tests.support.network_load ADDRESS:PORT MODEL...` runs until its input ends, with one client for each model.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import IO, Self

from tests.support.clients import PAUSE_S, RestClient
from tests.support.network_hosts import Host

REQUEST_TIMEOUT_S = 150.0


@dataclass(frozen=True, slots=True)
class Request:
    """A request that ended: when it was sent and answered on the clock of the machine, and why it failed if it did."""

    model: str
    began_s: float
    ended_s: float
    failure: str


class NetworkLoad:
    """The clients of one router, run on a host; used as a context manager."""

    def __init__(self, host: Host, address: str, models: list[str]) -> None:
        self.address = address
        self.requests: list[Request] = []
        command = [sys.executable, "-m", "tests.support.network_load", address, *models]
        self._process = host.start(command, output=subprocess.PIPE, stdin=subprocess.PIPE)
        assert self._process.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)

    def _read(self, lines: IO[bytes]) -> None:
        for line in lines:
            if line.endswith(b"\n"):  # the last one may be cut short
                self.requests.append(Request(*json.loads(line)))

    def __enter__(self) -> Self:
        self._reader.start()
        return self

    def __exit__(self, *error: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._reader.join()
        self._process.wait()

    def answered_since(self, began_s: float) -> frozenset[str]:
        """Return the models that answered a request which was sent after a time."""
        return frozenset(one.model for one in list(self.requests) if one.began_s >= began_s and not one.failure)


def main() -> None:
    """Send requests until the input ends; those that are under way then are not waited for."""
    address, *models = sys.argv[1:]
    for model in models:
        threading.Thread(target=_ask, args=(address, model), daemon=True).start()
    sys.stdin.read()


def _ask(address: str, model: str) -> None:
    host, _, port = address.rpartition(":")
    client = RestClient(int(port), REQUEST_TIMEOUT_S, host)
    while True:
        began_s = time.monotonic()
        failure = _failure(client, model)
        line = json.dumps([model, began_s, time.monotonic(), failure]) + "\n"
        sys.stdout.write(line)  # one call each, so that lines of several threads stay whole
        sys.stdout.flush()
        time.sleep(PAUSE_S)


def _failure(client: RestClient, model: str) -> str:
    try:
        reply = client.post(f"/v1/models/{model}:predict", {"instances": [2.0]})
    except (OSError, http.client.HTTPException) as error:
        return repr(error)
    return "" if reply.status == 200 else f"{reply.status} {reply.body!r}"


if __name__ == "__main__":
    main()
