"""`python kserve_sdk.py HOST:REST_PORT HOST:GRPC_PORT`: the clients of KServe's SDK over both protocols."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar

import grpc
import httpx
import numpy as np
from cases import (
    DEFAULTS,
    EVERY_TYPE,
    HALF,
    LARGE_BYTES,
    LOADED,
    MATRIX,
    NEVER_READY,
    OCTETS,
    PLUS,
    SCALAR,
    SEVERAL,
    SHAPE,
    TYPES,
    UNKNOWN,
    VERSIONS,
    TypeCase,
)
from checks import Checks
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, InferResponse, RESTConfig
from kserve.protocol.grpc import grpc_predict_v2_pb2 as messages
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from kserve.protocol.infer_type import RequestedOutput
from kserve.utils.numpy_codec import from_np_dtype, to_np_dtype

Arrays = dict[str, np.ndarray]
Case = Callable[[], Coroutine[Any, Any, None]]


def array_of(case: TypeCase) -> np.ndarray:
    """Return the values of a type, as one of its users would hold them."""
    if case.datatype == "BYTES":
        return np.array([one.encode() for one in case.values] + [None], object)[:-1].reshape(SHAPE)
    return np.frombuffer(case.raw, to_np_dtype(case.datatype)).reshape(SHAPE)


def plain(array: np.ndarray) -> object:
    """Return type, shape and values; bytes of numbers, so that NaN equals itself."""
    if array.dtype == object:  # this client makes texts of what it can, in JSON and in raw tensors
        return "object", array.shape, [one.encode() if isinstance(one, str) else one for one in array.ravel().tolist()]
    return str(array.dtype), array.shape, array.tobytes()


def request_of(
    model: str, arrays: Arrays, outputs: tuple[RequestedOutput, ...], *, is_raw: bool, **more: Any
) -> InferRequest:
    """Make a request as KServe's users do: of arrays, which become raw tensors, or of lists."""
    inputs = []
    for name, array in arrays.items():
        one = InferInput(name, list(array.shape), from_np_dtype(array.dtype))
        one.set_data_from_numpy(array, binary_data=is_raw)
        inputs.append(one)
    return InferRequest(model, inputs, request_outputs=list(outputs) or None, **more)


class Rest:
    """InferenceRESTClient with the protocol v2, which is not its default."""

    CODES: ClassVar = {404: 404, 400: 400}

    def __init__(self, address: str) -> None:
        self._base_url = f"http://{address}"
        self._client = InferenceRESTClient(RESTConfig(protocol="v2"))
        self._first = InferenceRESTClient(RESTConfig(protocol="v1"))

    async def live(self) -> object:
        return await self._client.is_server_live(self._base_url)

    async def ready(self) -> object:
        return await self._client.is_server_ready(self._base_url)

    async def model_ready(self, model: str) -> object:
        return await self._client.is_model_ready(self._base_url, model)

    async def ready_by_version_1(self, model: str) -> object:
        """Ask as a transformer asks its predictor, of TensorFlow Serving's API."""
        return await self._first.is_model_ready(self._base_url, model)

    async def live_by_version_1(self) -> object:
        return await self._first.is_server_live(self._base_url)

    async def infer(self, request: InferRequest) -> InferResponse:
        answer = await self._client.infer(self._base_url, request, model_name=request.model_name)
        assert isinstance(answer, InferResponse)
        return answer


class Grpc:
    """InferenceGRPCClient."""

    CODES: ClassVar = {404: grpc.StatusCode.NOT_FOUND, 400: grpc.StatusCode.INVALID_ARGUMENT}

    def __init__(self, address: str) -> None:
        self._client = InferenceGRPCClient(address)

    async def live(self) -> object:
        return await self._client.is_server_live()

    async def ready(self) -> object:
        return await self._client.is_server_ready()

    async def model_ready(self, model: str) -> object:
        return await self._client.is_model_ready(model)

    async def infer(self, request: InferRequest) -> InferResponse:
        return await self._client.infer(request)


class Session:
    """The checks of one protocol."""

    def __init__(self, checks: Checks, protocol: Rest | Grpc) -> None:
        self._checks = checks
        self._protocol = protocol
        self._name = type(protocol).__name__
        self._is_rest = isinstance(protocol, Rest)

    def same(self, what: str, got: object, expected: object) -> None:
        self._checks.same(f"{self._name} {what}", got, expected)

    async def infer(
        self, model: str, arrays: Arrays, *outputs: RequestedOutput, is_raw: bool = True, **more: Any
    ) -> InferResponse:
        return await self._protocol.infer(request_of(model, arrays, outputs, is_raw=is_raw, **more))

    async def echoes(
        self, what: str, signature: str, array: np.ndarray, *outputs: RequestedOutput, **more: Any
    ) -> InferResponse:
        """See that a type comes back as it was sent."""
        given = {"signature_name": signature} | more.pop("parameters", {})
        answer = await self.infer(EVERY_TYPE, {"x": array}, *outputs, parameters=given, **more)
        self.same(what, plain(answer.outputs[0].as_numpy()), plain(array))
        return answer

    async def fails(self, what: str, status: int, text: str, call: Coroutine[Any, Any, object]) -> None:
        """See how the client shows an error."""
        try:
            await call
        except httpx.HTTPStatusError as error:
            status_seen: object = error.response.status_code
            shown = str(error)
        except grpc.aio.AioRpcError as error:
            status_seen, shown = error.code(), error.details() or ""
        else:
            status_seen, shown = "no error", text
        self.same(f"{what} status", status_seen, self._protocol.CODES[status])
        self._checks.has(f"{self._name} {what} text", shown, text)

    async def health(self) -> None:
        protocol = self._protocol
        self.same("live and ready", (await protocol.live(), await protocol.ready()), (True, True))
        ready = (await protocol.model_ready(PLUS), await protocol.model_ready(NEVER_READY))
        self.same("models", ready, (True, False))
        if isinstance(protocol, Rest):  # it raises nothing here: all but 2xx is false
            self.same("unknown model", (await protocol.model_ready(UNKNOWN),), (False,))
            first = (await protocol.ready_by_version_1(PLUS), await protocol.ready_by_version_1(NEVER_READY))
            self.same("models by version 1", first, (True, False))
            self.same("live by version 1", (await protocol.live_by_version_1(),), (True,))
            await self.fails("unknown by version 1", 404, UNKNOWN, protocol.ready_by_version_1(UNKNOWN))
        else:
            await self.fails("unknown model", 404, UNKNOWN, protocol.model_ready(UNKNOWN))

    async def every_type(self) -> None:
        for case in TYPES:
            array = array_of(case)
            await self.echoes(f"{case.datatype} raw", case.signature, array)
            await self.echoes(f"{case.datatype} lists", case.signature, array, is_raw=False)

    def _several(self) -> Arrays:
        words = np.array([b"p", b"", b"q" * 99], object)
        return {"a": np.array([1, 2, 3], np.float32), "b": np.array([1, -2, 3], np.int32), "s": words}

    async def outputs(self) -> None:
        for asked, expected in (([], ["echo", "product", "sum"]), (["sum", "echo"], ["sum", "echo"])):
            answer = await self.infer(SEVERAL, self._several(), *map(RequestedOutput, asked))
            self.same(f"asked for {asked}", [one.name for one in answer.outputs], expected)
        wrong = self.infer(SEVERAL, self._several(), RequestedOutput("none"))
        await self.fails("unknown", 400, "none", wrong)

    async def ids(self) -> None:
        answer = await self.infer(PLUS, {"x": np.ones(1, np.float32)}, request_id="my é 7")
        self.same("echo", answer.id, "my é 7")

    async def errors(self) -> None:
        x = {"x": np.ones(2, np.float32)}
        await self.fails("model", 404, UNKNOWN, self.infer(UNKNOWN, x))
        await self.fails("not ready", 404, NEVER_READY, self.infer(NEVER_READY, x))
        await self.fails("input", 400, "'z'", self.infer(PLUS, {"z": x["x"]}))
        await self.fails("datatype", 400, "data-type is INT32", self.infer(PLUS, {"x": np.ones(2, np.int32)}))
        await self.fails("shape", 400, "[1,4]", self.infer(MATRIX, {"x": np.ones((1, 4), np.float32)}))
        short = InferRequest(PLUS, [InferInput("x", [3], "FP32", [1.0, 2.0])])
        await self.fails("count", 400, "3", self._protocol.infer(short))

    async def octets(self) -> None:
        words = np.array([*OCTETS, None], object)[:-1]
        if not self._is_rest:  # over REST, this client makes texts of raw tensors
            await self.echoes("octets", "string", words.reshape(SHAPE))
            await self.echoes("octets typed", "string", words.reshape(SHAPE), is_raw=True)
        await self.echoes("[2, 1]", "string", np.array([[b""], [b"\0"]], object))
        await self.echoes("none", "string", np.array([], object))

    async def odd_floats(self) -> None:
        half = array_of(HALF)
        more = {"parameters": {"binary_data_output": True}} if self._is_rest else {}
        await self.echoes("FP16", HALF.signature, half, **more)
        odd = np.array([np.nan, np.inf, -np.inf, -0.0], np.float32)
        await self.echoes("odd floats", "float32", odd, **more)
        answer = await self.infer(EVERY_TYPE, {"x": odd}, parameters={"signature_name": "float32"})
        if self._is_rest:  # its parser refuses the tokens NaN and Infinity
            self.same("in JSON", answer.outputs[0].data, [None, None, None, -0.0])

    async def binary_answers(self) -> None:
        x = np.array([[1.5, -2.0]], np.float32)
        for is_raw in (True, False):
            for wanted in (True, False):
                asked = RequestedOutput("y", {"binary_data": wanted})
                await self.echoes(f"binary {is_raw} {wanted}", "float32", x, asked, is_raw=is_raw)
            by_default = {"binary_data_output": True}
            answer = await self.echoes(f"by default {is_raw}", "float32", x, is_raw=is_raw, parameters=by_default)
            self.same("model", answer.model_name, EVERY_TYPE)
        self.same("health", (await self._protocol.live(), await self._protocol.ready()), (True, True))

    async def defaults(self) -> None:
        x = np.array([[1.5, -2]], np.float32)
        for scale in (2.0, 3.0):
            given = {} if scale == 2.0 else {"scale": np.array(scale, np.float32)}
            answer = await self.infer(DEFAULTS, {"x": x} | given)
            self.same(f"scale {scale}", plain(answer.outputs[0].as_numpy()), plain(x * np.float32(scale)))

    async def empty_and_scalar(self) -> None:
        for shape in ([0], [2, 0, 3], []):
            await self.echoes(f"shape {shape}", "int64", np.full(shape, 7, np.int64))
            await self.echoes(f"shape {shape} lists", "int64", np.full(shape, 7, np.int64), is_raw=False)
        answer = await self.infer(SCALAR, {"x": np.array(2, np.float32)})
        self.same("scalar", plain(answer.outputs[0].as_numpy()), plain(np.array(12, np.float32)))

    async def large(self) -> None:
        if self._is_rest:
            return  # this client makes a list of Python's numbers of every answer
        x = np.arange(LARGE_BYTES // 4, dtype=np.float32)
        y = (await self.infer(PLUS, {"x": x})).outputs[0].as_numpy()
        self.same("64 MiB", (y.shape, bool(np.array_equal(y, x * np.float32(0.5) + np.float32(2)))), (x.shape, True))

    def cases(self) -> dict[str, Case]:
        return {
            "a": self.health,
            "c": self.every_type,
            "d": self.outputs,
            "e": self.ids,
            "f": self.errors,
            "g": self.octets,
            "h": self.odd_floats,
            "j": self.binary_answers,
            "m": self.defaults,
            "n": self.empty_and_scalar,
            "o": self.large,
        }


class Stub:
    """What KServe's gRPC stub has and its clients have not."""

    def __init__(self, checks: Checks, address: str) -> None:
        self._same, self._until = checks.same, checks.until
        self._stub = GRPCInferenceServiceStub(grpc.insecure_channel(address))

    def metadata(self) -> None:
        told = self._stub.ModelMetadata(messages.ModelMetadataRequest(name=VERSIONS))
        self._same("stub name", (told.name, told.platform), (VERSIONS, "tensorflow_savedmodel"))
        self._same("stub versions", list(told.versions), ["1", "2"])
        self._same(
            "stub inputs", [(one.name, one.datatype, list(one.shape)) for one in told.inputs], [("x", "FP32", [-1])]
        )
        server = self._stub.ServerMetadata(messages.ServerMetadataRequest())
        self._same("stub extensions", {"binary_tensor_data"} - set(server.extensions), set())

    def repository(self) -> None:
        """Load and unload by the messages of KServe, whose first field is the model's name."""
        unloaded = self._stub.RepositoryModelUnload(messages.RepositoryModelUnloadRequest(model_name=LOADED))
        self._same("unloaded", (unloaded.model_name, unloaded.isUnloaded), (LOADED, True))
        self._until("gone", lambda: self._code(LOADED) == grpc.StatusCode.NOT_FOUND)
        loaded = self._stub.RepositoryModelLoad(messages.RepositoryModelLoadRequest(model_name=LOADED))
        self._same("loaded", (loaded.model_name, loaded.isLoaded), (LOADED, True))
        ready = self._stub.ModelReady(messages.ModelReadyRequest(name=LOADED))
        self._same("ready", (ready.ready,), (True,))

    def _code(self, model: str) -> grpc.StatusCode:
        try:
            self._stub.ModelMetadata(messages.ModelMetadataRequest(name=model))
        except grpc.RpcError as error:
            return error.code()
        return grpc.StatusCode.OK


async def main() -> None:
    """Check both protocols, and print what came of it."""
    logging.disable()
    checks = Checks()
    rest, rpc = sys.argv[1:]
    for protocol in (Rest(rest), Grpc(rpc)):
        await checks.run_async(Session(checks, protocol).cases())
    stub = Stub(checks, rpc)
    checks.run({"b": stub.metadata, "k": stub.repository})
    checks.tell()


if __name__ == "__main__":
    asyncio.run(main())
