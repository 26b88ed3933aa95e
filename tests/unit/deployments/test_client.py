"""The light client: what it costs to import, what it repeats, how long it waits, and that the README tells the truth."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest

from core.errors import Code, RuntimeFailure
from core.grpc import client_calls
from core.inference.tensor_proto import to_proto
from core.protos import serving_pb2
from deployments.client import AsyncClient, Client
from tests.support.clients import free_port
from tests.support.doors.grpc_stack import GrpcStack
from tests.support.project import ROOT

README = ROOT / "README.md"
METHODS = ("predict", "classify", "regress", "status", "metadata")
HEAVY = ("tensorflow", "ray", "uvicorn", "starlette", "pydantic", "cffi", "fsspec", "simdjson")
FOR_EVER = 2**31 - 1
IMPORT_AND_TELL = """
import json, resource, sys, time
import deployments.client
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({"cpu_s": used.ru_utime + used.ru_stime, "modules": sorted(sys.modules)}))
"""


class Flaky(grpc.GenericRpcHandler):
    """Fails the first calls with a code, then answers y = 1."""

    def __init__(self, failures: int, code: grpc.StatusCode) -> None:
        self.calls = 0
        self._failures = failures
        self._code = code

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        return grpc.unary_unary_rpc_method_handler(self._answer)

    def _answer(self, raw: bytes, context: grpc.ServicerContext) -> bytes:
        self.calls += 1
        if self.calls <= self._failures:
            context.abort(self._code, "not now")
        answer = serving_pb2.PredictResponse()
        answer.outputs["y"].CopyFrom(to_proto(np.float32(1)))
        return answer.SerializeToString()


@contextmanager
def serving(handler: Flaky, port: int = 0) -> Iterator[int]:
    server = grpc.server(futures.ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers([handler])
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    yield port
    server.stop(None).wait()


def test_the_client_starts_without_tensorflow_and_quickly() -> None:
    """Half a second on an idle machine; a slow one gets five times that, of processor time, once all is compiled."""
    command = [sys.executable, "-c", IMPORT_AND_TELL]
    _, told = (json.loads(subprocess.run(command, capture_output=True, check=True).stdout) for _ in range(2))

    assert [name for name in HEAVY if name in told["modules"]] == []
    assert told["cpu_s"] < 2.5


def test_both_clients_have_the_same_methods() -> None:
    """Arguments are declared once; a method looks like the function that makes its call."""
    for name in METHODS:
        asked = list(inspect.signature(getattr(client_calls, name)).parameters)
        for client in (Client, AsyncClient):
            method = getattr(client, name)
            assert list(inspect.signature(method).parameters) == ["self", *asked]
            assert (method.__name__, method.__doc__) == (name, getattr(client_calls, name).__doc__)
    assert inspect.signature(Client.regress).return_annotation == "list[float]"
    assert inspect.signature(AsyncClient.regress).return_annotation == "Awaitable[list[float]]"


def test_calls_that_find_the_server_unavailable_are_repeated() -> None:
    """Up to four times; other failures are told at once."""
    flaky = Flaky(4, grpc.StatusCode.UNAVAILABLE)
    with serving(flaky) as port, Client(f"127.0.0.1:{port}") as client:
        assert client.predict("m", {"x": 1.0})["y"] == 1
    assert flaky.calls == 5


@pytest.mark.parametrize(
    ("failures", "code", "calls"), [(9, grpc.StatusCode.UNAVAILABLE, 5), (9, grpc.StatusCode.INTERNAL, 1)]
)
def test_a_failure_that_lasts_keeps_its_code_and_text(failures, code, calls) -> None:
    """Whoever called decides what to do about it."""
    flaky = Flaky(failures, code)
    with (
        serving(flaky) as port,
        Client(f"127.0.0.1:{port}") as client,
        pytest.raises(RuntimeFailure, match="not now") as caught,
    ):
        client.predict("m", {"x": 1.0})

    assert (caught.value.code.name, flaky.calls) == (code.name, calls)


async def test_the_asyncio_client_repeats_too() -> None:
    """Both have the same policy."""
    flaky = Flaky(2, grpc.StatusCode.UNAVAILABLE)
    with serving(flaky) as port:
        async with AsyncClient(f"127.0.0.1:{port}") as client:
            assert (await client.predict("m", {"x": 1.0}))["y"] == 1
            flaky.calls = -9
            with pytest.raises(RuntimeFailure, match="not now"):
                await client.predict("m", {"x": 1.0})


def test_a_server_that_comes_up_a_moment_later_is_found() -> None:
    """A restart of the server is no reason to fail."""
    flaky, port = Flaky(0, grpc.StatusCode.OK), free_port()
    with Client(f"127.0.0.1:{port}") as client, futures.ThreadPoolExecutor(1) as pool:
        asked = pool.submit(client.predict, "m", {"x": 1.0})
        with serving(flaky, port):
            assert asked.result(60)["y"] == 1


@pytest.mark.parametrize("own", [True, False], ids=["of the call", "of the client"])
def test_a_call_takes_no_longer_than_its_time(saved_models: Path, own) -> None:
    """Each call may have a time of its own; the client's counts for the others."""
    with (
        GrpcStack(saved_models, {"slow": 1}) as stack,
        Client(f"127.0.0.1:{stack.port}", timeout_s=60.0 if own else 0.3) as client,
        pytest.raises(RuntimeFailure) as caught,
    ):
        client.predict("slow", {"iterations": np.int32(FOR_EVER)}, timeout_s=0.3 if own else None)

    assert caught.value.code is Code.DEADLINE_EXCEEDED


def test_one_client_serves_many_threads_and_many_tasks(saved_models: Path) -> None:
    """Calls of one client run at the same time."""
    with GrpcStack(saved_models, {"half_plus_two": 1}) as stack:
        address = f"127.0.0.1:{stack.port}"
        with Client(address) as client, futures.ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda n: float(client.predict("half_plus_two", {"x": float(n)})["y"]), range(50)))

        async def all_at_once() -> list[float]:
            async with AsyncClient(address) as client:
                calls = (client.predict("half_plus_two", {"x": float(n)}) for n in range(50))
                return [float(answer["y"]) for answer in await asyncio.gather(*calls)]

        assert answers == asyncio.run(all_at_once()) == [0.5 * n + 2 for n in range(50)]


def test_the_example_of_the_readme_prints_what_it_says(saved_models: Path) -> None:
    """Its comment is its output."""
    [example] = [
        one for one in re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL) if "deployments" in one
    ]
    [promised] = re.findall(r"  # (\[.*\])$", example, re.MULTILINE)
    with GrpcStack(saved_models, {"half_plus_two": 1}) as stack, contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(example.replace("127.0.0.1:8500", f"127.0.0.1:{stack.port}"), {})

    assert printed.getvalue().strip() == promised
