"""Clients of one model over REST and gRPC, each with a connection of its own, that name no version and repeat nothing."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import grpc
import numpy as np

from core.inference.tensor_proto import to_array, to_proto
from core.protos import serving_pb2
from tests.support.clients import RestClient

TIMEOUT_S = 60.0
AFTER_FAILURE_S = 0.25
"""A killed process closes its sockets one after the other: who connects at once may meet one that still listens."""

PREDICT = "/tensorflow.serving.PredictionService/Predict"
OWN_CONNECTION = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0))
"""Channels of one process share connections otherwise; and what was lost is to be seen."""

Ask = Callable[[], tuple[int, Any]]
"""Sends a request; gives the version that answered, and its output as nested lists. Anything else is raised."""


class OtherStatus(Exception):
    """An answer other than 200."""


@dataclass(slots=True)
class ClientLog:
    """What one client got: how many answers of each version, the other answers, and the failures."""

    versions: dict[int, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


class BothProtocols:
    """Half of the clients speak REST, half gRPC, one request after the other until the block ends.

    `is_right` judges the output of an answer; `rows` is what they all send for the input `name`.
    """

    def __init__(
        self,
        ports: tuple[int, int],
        model: str,
        rows: Sequence[Any],
        is_right: Callable[[int, Any], bool] = lambda version, output: True,
        *,
        clients: int = 16,
        pause_s: float = 0.02,
        names: tuple[str, str] = ("x", "y"),
    ) -> None:
        self._ports, self._model, self._rows, self._is_right = ports, model, rows, is_right
        self._pause_s, self._names = pause_s, names
        self._stop = threading.Event()
        self.heard = [ClientLog() for _ in range(clients)]
        self._threads = [
            threading.Thread(
                target=self._run, args=(one, self._over_grpc if place % 2 else self._over_rest), daemon=True
            )
            for place, one in enumerate(self.heard)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(2 * TIMEOUT_S)

    @property
    def versions(self) -> Mapping[int, int]:
        """How many answers each version has given."""
        return {version: sum(one.versions.get(version, 0) for one in self.heard) for version in self._seen()}

    def _seen(self) -> set[int]:
        return {version for one in self.heard for version in tuple(one.versions)}

    @property
    def count(self) -> int:
        return sum(self.versions.values())

    @property
    def failures(self) -> list[str]:
        return [text for one in self.heard for text in one.failures]

    @property
    def wrong(self) -> list[str]:
        return [text for one in self.heard for text in one.wrong]

    @property
    def most_of_one(self) -> int:
        """The failures of the client that had most."""
        return max(len(one.failures) for one in self.heard)

    def _run(self, heard: ClientLog, connected: Callable[[], Any]) -> None:
        with connected() as ask:
            while not self._stop.wait(self._pause_s):
                try:
                    version, output = ask()
                except (OSError, http.client.HTTPException, grpc.RpcError, OtherStatus) as error:
                    heard.failures.append(_in_words(error))
                    self._stop.wait(AFTER_FAILURE_S)
                    continue
                heard.versions[version] = heard.versions.get(version, 0) + 1
                if not self._is_right(version, output):
                    heard.wrong.append(f"version {version} answered {output!r}")

    @contextmanager
    def _over_rest(self) -> Iterator[Ask]:
        client = RestClient(self._ports[0], timeout_s=TIMEOUT_S)
        path, body = f"/v1/models/{self._model}:predict", json.dumps({"instances": self._rows})

        def ask() -> tuple[int, Any]:
            reply = client.post(path, body)
            if reply.status != 200:
                raise OtherStatus(f"{reply.status} {reply.body[:300]!r}")
            return int(reply.headers["x-model-version"]), reply.json["predictions"]

        try:
            yield ask
        finally:
            client.close()

    @contextmanager
    def _over_grpc(self) -> Iterator[Ask]:
        request = serving_pb2.PredictRequest()
        request.model_spec.name = self._model
        request.inputs[self._names[0]].CopyFrom(to_proto(np.array(self._rows, np.float32)))
        raw = request.SerializeToString()
        with grpc.insecure_channel(f"127.0.0.1:{self._ports[1]}", OWN_CONNECTION) as channel:
            call = channel.unary_unary(PREDICT)

            def ask() -> tuple[int, Any]:
                answer = serving_pb2.PredictResponse.FromString(call(raw, timeout=TIMEOUT_S))
                output = answer.outputs[self._names[1]]
                return answer.model_spec.version.value, to_array(output).tolist()

            yield ask


def _in_words(error: Exception) -> str:
    if isinstance(error, grpc.RpcError):
        return f"gRPC {error.code().name}: {error.details()}"
    return repr(error)
