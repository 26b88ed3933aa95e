"""The Python client: what it costs to import, what it repeats, how long it waits, and that the README tells the truth."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import io
import json
import pickle
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest

from core.errors import Code
from core.inference.tensor_proto import to_proto
from core.protos import serving_pb2
from ray_model_client import AsyncClient, Client, ServerError, calls, infer_calls
from tests.support.clients import free_port
from tests.support.doors.grpc_stack import GrpcStack
from tests.support.project import ROOT

README = ROOT / "README.md"
METHODS = {
    **dict.fromkeys(("predict", "classify", "regress", "status", "metadata"), calls),
    **dict.fromkeys(
        ("infer", "is_live", "is_ready", "is_model_ready", "describe_server", "describe_model"), infer_calls
    ),
}
HEAVY = (
    "tensorflow",
    "ray",
    "uvicorn",
    "starlette",
    "pydantic",
    "cffi",
    "fsspec",
    "simdjson",
    "google.protobuf",
    "core",
)
FOR_EVER = 2**31 - 1
IMPORT_AND_TELL = """
import json, resource, sys, time
import ray_model_client
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


def test_both_clients_have_the_same_methods_and_arguments() -> None:
    """Arguments are declared once; a program changes from one client to the other by its name and `await`."""
    for name, module in METHODS.items():
        asked = list(inspect.signature(getattr(module, name)).parameters)
        for client in (Client, AsyncClient):
            method = getattr(client, name)
            assert list(inspect.signature(method).parameters) == ["self", *asked]
            assert (method.__name__, method.__doc__) == (name, getattr(module, name).__doc__)
    for client in (Client, AsyncClient):
        assert {name for name in vars(client) if not name.startswith("_")} == {*METHODS, "send", "close"}
        assert list(inspect.signature(client).parameters) == ["address", "credentials", "token", "timeout_s", "waits"]
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
        pytest.raises(ServerError, match="not now") as caught,
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
            with pytest.raises(ServerError, match="not now"):
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
        pytest.raises(ServerError) as caught,
    ):
        client.predict("slow", {"iterations": np.int32(FOR_EVER)}, timeout_s=0.3 if own else None)

    assert caught.value.code == Code.DEADLINE_EXCEEDED


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
        one for one in re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL) if "ray_model_client" in one
    ]
    [promised] = re.findall(r"  # (\[.*\])$", example, re.MULTILINE)
    with GrpcStack(saved_models, {"half_plus_two": 1}) as stack, contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(example.replace("127.0.0.1:8500", f"127.0.0.1:{stack.port}"), {})

    assert printed.getvalue().strip() == promised


BACK_WITHIN_S = 2.0
AWAY_S = 4.0
"""Long enough for the pauses between attempts to have become as long as they get."""


@pytest.mark.parametrize("address", ["127.0.0.1:{}", "localhost:{}"])
def test_a_server_that_was_away_is_found_within_two_seconds_of_its_return(address) -> None:
    """GRPC's own pauses grow to two minutes."""
    flaky = Flaky(0, grpc.StatusCode.OK)
    with serving(flaky) as port:
        client = Client(address.format(port))
        assert client.predict("m", {"x": 1.0})["y"] == 1
    gone_s = time.monotonic()
    while time.monotonic() < gone_s + AWAY_S:
        with pytest.raises(ServerError) as caught:
            client.predict("m", {"x": 1.0})
        assert caught.value.code.name == "UNAVAILABLE"
    with serving(flaky, port):
        back_s = time.monotonic()
        while not answers(client):
            assert time.monotonic() < back_s + BACK_WITHIN_S
    client.close()


def answers(client: Client) -> bool:
    try:
        return bool(client.predict("m", {"x": 1.0}, timeout_s=0.5)["y"] == 1)
    except ServerError:
        return False


def test_a_client_that_waits_holds_a_call_until_the_server_is_there() -> None:
    """As long as the call may take."""
    flaky, port = Flaky(0, grpc.StatusCode.OK), free_port()
    with Client(f"127.0.0.1:{port}", waits=True) as client, futures.ThreadPoolExecutor(1) as pool:
        with pytest.raises(ServerError) as caught:
            client.predict("m", {"x": 1.0}, timeout_s=0.3)
        asked = pool.submit(client.predict, "m", {"x": 1.0})
        with serving(flaky, port):
            assert asked.result(60)["y"] == 1
    assert caught.value.code.name == "DEADLINE_EXCEEDED"


class Named(Flaky):
    """Keeps what calls say of their caller."""

    said: tuple[tuple[str, str], ...] = ()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        self.said = tuple((one.key, one.value) for one in details.invocation_metadata)
        return super().service(details)


@pytest.mark.parametrize(("token", "said"), [("s3cret", ["Bearer s3cret"]), (None, [])])
def test_a_token_is_sent_with_every_call(token, said) -> None:
    """And nothing without one."""
    named = Named(0, grpc.StatusCode.OK)
    with serving(named) as port, Client(f"127.0.0.1:{port}", token=token) as client:
        client.predict("m", {"x": 1.0})

    assert [value for name, value in named.said if name == "authorization"] == said


def test_an_error_crosses_to_another_process() -> None:
    """Pools of processes send errors of their work back."""
    error = pickle.loads(pickle.dumps(ServerError(Code.NOT_FOUND, "gone")))

    assert (error.code, error.text, str(error)) == (Code.NOT_FOUND, "gone", "NOT_FOUND: gone")


def test_version_2_is_asked_over_the_same_connection(saved_models: Path) -> None:
    """Arrays by name, readiness, and what the server says of itself."""
    with GrpcStack(saved_models, {"half_plus_two": 1}) as stack, Client(f"127.0.0.1:{stack.port}") as client:
        answer = client.infer("half_plus_two", {"x": [1.0, 2.0]}, outputs=["y"], version=1, request_id="7")
        model = client.describe_model("half_plus_two")

        assert (answer.model, answer.version, answer.id) == ("half_plus_two", "1", "7")
        assert answer["y"].tolist() == [2.5, 3.0]
        assert [client.is_live(), client.is_ready(), client.is_model_ready("half_plus_two", version=1)] == [True] * 3
        with pytest.raises(ServerError, match="version 3 is not found"):
            client.is_model_ready("half_plus_two", version=3)
        assert (model.versions, model.platform) == (("1",), "tensorflow_savedmodel")
        assert [(one.name, one.datatype, one.shape) for one in model.inputs] == [("x", "FP32", (-1,))]
        assert client.describe_server().name == "ray_model_server"
        with pytest.raises(ServerError) as caught:
            client.infer("half_plus_two", {"x": ["a"]})
    assert caught.value.code.name == "INVALID_ARGUMENT"


IN_ANOTHER = """
import json, sys
import numpy as np
from ray_model_client import Client
from ray_model_client.dtypes import type_numbered, widened
from importlib.metadata import distributions

with Client(sys.argv[1]) as client:
    both = client.predict("half_plus_two", {"x": [1.0]})["y"].tolist(), client.infer("half_plus_two", {"x": [1.0]})["y"].tolist()
bits = np.array([0x3FC0], np.uint16)
print(json.dumps({"both": both, "packages": sorted(one.name.lower() for one in distributions()),
    "bfloat16": [str(type_numbered(14).dtype), widened(bits).tolist()]}))
"""


def test_the_client_installs_alone(saved_models: Path, tmp_path: Path) -> None:
    """In an environment of its own, with numpy and gRPC and nothing else of ours; bfloat16 is read there, too."""
    alone = tmp_path / "alone"
    python, uv = alone / "bin" / "python", Path(sys.executable).with_name("uv")
    source = shutil.copytree(ROOT / "clients" / "python", tmp_path / "source")
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, alone], check=True)
    subprocess.run([uv, "pip", "install", "--quiet", "--python", python, source], check=True)
    with GrpcStack(saved_models, {"half_plus_two": 1}) as stack:
        command = [python, "-I", "-c", IN_ANOTHER, f"127.0.0.1:{stack.port}"]
        told = json.loads(subprocess.run(command, capture_output=True, check=True, cwd=tmp_path).stdout)

    assert told["both"] == [[2.5], [2.5]]
    assert set(told["packages"]) - {"typing-extensions", "typing_extensions"} == {
        "grpcio",
        "numpy",
        "ray-model-server-client",
    }
    assert told["bfloat16"] == ["None", [1.5]]
