"""A large raw tensor is in memory once in the router and once in the model server, where the runtime can use it."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence

import grpc
import numpy as np
import pytest

from core.inference.dtypes import DataType
from core.inference.signature import PREDICT_METHOD, ServedModel, Signature, TensorSpec
from core.routing.direct_frames import ALIGNMENT_BYTES
from core.versions.servable import ServableId
from deployments.inference.execution import Execution
from tests.support.clients import wait_until
from tests.support.doors.infer_client import MODEL_INFER
from tests.support.doors.model_stack import ModelStack
from tests.support.doors.raw_http import RawConnection, request
from tests.support.infer_bodies import FORMS, over_http

MIB = 2**20
LARGE = np.arange(4 * MIB, dtype=np.float32)
SMALL = LARGE[:3]
MOST_TIMES = 2.2
"""How often the bytes of a tensor may be there at a time, in router and model server together."""
X = TensorSpec("x:0", DataType.FLOAT, (-1,))
SIGNATURE = Signature({"x": X}, {"mean": TensorSpec("mean:0", DataType.FLOAT, ()), "same": X}, PREDICT_METHOD)


class Averaging:
    """A model that keeps the last array that it was fed, and answers with its mean or with itself."""

    served = ServedModel("m", 1, {"serving_default": SIGNATURE})
    fed = SMALL

    def run(self, feeds: Mapping[str, np.ndarray], fetches: Sequence[str], **_: object) -> list[np.ndarray]:
        (self.fed,) = feeds.values()
        return [self.fed if name == X.tensor else self.fed.mean(dtype=np.float32) for name in fetches]

    def close(self) -> None:
        """There is nothing to close."""


class Site:
    """Both ports, and the model behind them."""

    def __init__(self, stack: ModelStack, model: Averaging) -> None:
        self.model = model
        self.stack = stack
        self._connection = RawConnection(stack.rest_port)
        self._channel = grpc.insecure_channel(f"127.0.0.1:{stack.grpc_port}", [("grpc.max_receive_message_length", -1)])

    def sender(self, form: str, array: np.ndarray, output: str = "mean") -> Callable[[], bytes]:
        """Make a request; what is returned sends it, copies nothing in Python and gives the answer."""
        body = FORMS[form][1]({"x": array}, (output,))
        if form == "grpc raw":
            call = self._channel.unary_unary(MODEL_INFER)
            return lambda: call(body, timeout=60)
        content, headers = over_http(body)
        lines = [f"{name}: {value}" for name, value in headers.items()]
        message = request("POST", "/v2/models/m/infer", content, *lines)

        def send() -> bytes:
            reply = self._connection.ask(message)
            assert reply.status == 200, reply.body
            return reply.body

        return send

    def close(self) -> None:
        self._connection.socket.close()
        self._channel.close()


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A server of one model."""
    model = Averaging()
    with ModelStack({ServableId("m", 1): Execution(model, 1)}) as stack:
        made = Site(stack, model)
        yield made
        made.close()


BINARY = pytest.mark.parametrize("form", ["rest binary", "grpc raw"])


@BINARY
def test_no_copy_of_a_raw_tensor_is_made(site: Site, form: str) -> None:
    """Each process has the body that it received, and nothing else of that size, not even for a moment."""
    site.sender(form, SMALL)()
    send = site.sender(form, LARGE)
    tracemalloc.start()
    try:
        send()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < MOST_TIMES * LARGE.nbytes
    assert np.array_equal(site.model.fed, LARGE)


@BINARY
def test_a_large_answer_comes_through(site: Site, form: str) -> None:
    """While the router still shows its connection the memory that the answer is in."""
    assert LARGE.tobytes() in site.sender(form, LARGE, "same")()


@BINARY
@pytest.mark.parametrize("shift", range(5))
def test_a_runtime_can_use_a_raw_tensor_where_it_was_received(site: Site, form: str, shift: int) -> None:
    """It is aligned as TensorFlow wants it, wherever in the body it begins."""
    site.sender(form, LARGE[: MIB - shift * 127])()
    fed = site.model.fed

    assert fed.ctypes.data % ALIGNMENT_BYTES == 0
    assert not fed.flags.owndata
    assert isinstance(_owner(fed), bytearray)


def _owner(array: np.ndarray) -> object:
    base: object = array
    while isinstance(base, (np.ndarray, memoryview)):
        base = base.base if isinstance(base, np.ndarray) else base.obj
    return base


@pytest.mark.parametrize("announced", [2**31 - 1, 64 * MIB])
def test_a_client_that_only_announces_a_large_body_costs_no_memory(site: Site, announced: int) -> None:
    """Many may do that at a time."""
    head = request("POST", "/v2/models/m/infer", b"").replace(b"Content-Length: 0", b"Content-Length: %d" % announced)
    site.sender("rest binary", SMALL)()
    connections = [RawConnection(site.stack.rest_port) for _ in range(20)]
    tracemalloc.start()
    try:
        for one in connections:
            one.send(head + b"{")
        site.sender("rest binary", SMALL)()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        for one in connections:
            one.socket.close()

    assert peak < 4 * MIB


@BINARY
def test_a_request_that_is_answered_leaves_no_body_behind(site: Site, form: str) -> None:
    """Not even until the next collection of cyclic garbage: many large requests would pile up."""
    send = site.sender(form, LARGE)
    send()
    site.model.fed = SMALL
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        for _ in range(3):
            send()
        site.model.fed = SMALL
        wait_until(lambda: tracemalloc.get_traced_memory()[0] < LARGE.nbytes / 2, "no body is left")
    finally:
        tracemalloc.stop()
        gc.enable()
