"""`python open_inference_rest.py HOST:REST_PORT HOST:GRPC_PORT`: the client generated from the protocol's OpenAPI file."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

from cases import DEFAULTS, EVERY_TYPE, MATRIX, NEVER_READY, PLUS, SEVERAL, SHAPE, TYPES, UNKNOWN, VERSIONS
from checks import Checks
from open_inference.openapi.client import AsyncOpenInferenceClient, OpenInferenceClient
from open_inference.openapi.core.api_error import ApiError
from open_inference.openapi.errors import BadRequestError, NotFoundError
from open_inference.openapi.types import InferenceRequest, RequestInput, RequestOutput

EXACT = 2**53
"""Up to here, a float has every integer; this client sends all numbers as floats."""


class Session:
    """The checks."""

    def __init__(self, checks: Checks, address: str) -> None:
        self._checks = checks
        self._base_url = f"http://{address}"
        self._client = OpenInferenceClient(base_url=self._base_url)

    def _request(self, *tensors: tuple[str, str, list[int], Any], **more: Any) -> InferenceRequest:
        """Make a request whose tensors have a name, a datatype, a shape and data."""
        names = ("name", "datatype", "shape", "data")
        inputs = [RequestInput(**dict(zip(names, one, strict=True))) for one in tensors]
        return InferenceRequest(inputs=inputs, **more)

    def _x(self, **more: Any) -> InferenceRequest:
        return self._request(("x", "FP32", [2], [1.0, 2.0]), **more)

    def _data(self, output: Any) -> Any:
        return output.data.__root__

    def fails(self, what: str, kind: type[Exception], text: str, call: Callable[[], object]) -> None:
        """See that an error is one of those that the protocol's description has, with the text in it."""
        try:
            call()
        except ApiError as error:
            self._checks.same(f"{what} type", type(error), kind)
            self._checks.has(f"{what} text", error.body["error"], text)
        else:
            self._checks.same(what, "no error", kind)

    def health(self) -> None:
        client = self._client
        told = [client.check_server_liveness(), client.check_server_readiness(), client.check_model_readiness(PLUS)]
        self._checks.same("no errors", [*told, client.check_model_version_readiness(VERSIONS, "1")], [None] * 4)
        self.fails("unknown", NotFoundError, UNKNOWN, lambda: client.check_model_readiness(UNKNOWN))
        self.fails("never ready", NotFoundError, NEVER_READY, lambda: client.check_model_readiness(NEVER_READY))
        self.fails("version", NotFoundError, "77", lambda: client.check_model_version_readiness(VERSIONS, "77"))

    def metadata(self) -> None:
        server = self._client.read_server_metadata()
        self._checks.same("extensions", {"binary_tensor_data", "parameters"} - set(server.extensions), set())
        told = self._client.read_model_metadata(MATRIX)
        self._checks.same("model", (told.name, told.versions, told.platform), (MATRIX, ["1"], "tensorflow_savedmodel"))
        tensors = [(one.name, one.datatype, one.shape) for one in (*told.inputs, *told.outputs)]
        self._checks.same("tensors", tensors, [("x", "FP32", [-1, 3]), ("y", "FP32", [-1, 2])])
        self._checks.same("version", self._client.read_model_version_metadata(VERSIONS, "1").versions, ["1"])

    def every_type(self) -> None:
        for case in TYPES:
            values = case.values
            if case.datatype in {"INT64", "UINT64"}:
                values = [one for one in values if abs(one) <= EXACT] * 2
            shape = [len(values)] if len(values) != len(case.values) else SHAPE
            self._echo(case.signature, case.datatype, shape, values)

    def _echo(self, signature: str, datatype: str, shape: list[int], values: list[Any]) -> None:
        request = self._request(("x", datatype, shape, values), parameters={"signature_name": signature})
        answer = self._client.model_infer(EVERY_TYPE, request=request)
        (output,) = answer.outputs
        told = (output.name, output.datatype, output.shape, self._data(output))
        self._checks.same(datatype, told, ("y", datatype, shape, values))

    def nested(self) -> None:
        """Send nested data, and numbers and truths as the floats that this client makes of them."""
        self._echo_nested("int64", "INT64", [[1, -2], [3, EXACT]])
        self._echo_nested("bool", "BOOL", [[True, False], [False, True]])

    def _echo_nested(self, signature: str, datatype: str, rows: list[list[Any]]) -> None:
        tensor = ("x", datatype, [2, 2], rows)
        sent = self._request(tensor, parameters={"signature_name": signature})
        self._checks.same(f"{datatype} is sent as", {type(one) for row in self._rows(sent) for one in row}, {float})
        answer = self._client.model_infer(EVERY_TYPE, request=sent)
        self._checks.same(datatype, self._data(answer.outputs[0]), [one for row in rows for one in row])

    def _rows(self, request: InferenceRequest) -> list[list[Any]]:
        return list(request.dict()["inputs"][0]["data"])

    def outputs(self) -> None:
        tensors = (
            ("a", "FP32", [3], [1.0, 2.0, 3.0]),
            ("b", "INT32", [3], [1, -2, 3]),
            ("s", "BYTES", [3], ["p", "", "q" * 99]),
        )
        for asked, expected in ((None, ["echo", "product", "sum"]), (["sum", "echo"], ["sum", "echo"])):
            wanted = {} if asked is None else {"outputs": [RequestOutput(name=one) for one in asked]}
            answer = self._client.model_infer(SEVERAL, request=self._request(*tensors, **wanted))
            self._checks.same(f"asked for {asked}", [one.name for one in answer.outputs], expected)
        unknown = self._request(*tensors, outputs=[RequestOutput(name="none")])
        self.fails("unknown", BadRequestError, "none", lambda: self._client.model_infer(SEVERAL, request=unknown))

    def ids(self) -> None:
        told = [self._client.model_infer(PLUS, request=one).id for one in (self._x(id="my é 7"), self._x())]
        self._checks.same("ids", told, ["my é 7", None])

    def errors(self) -> None:
        infer, client = self._client.model_infer, self._client
        narrow = self._request(("x", "INT8", [1], [300]), parameters={"signature_name": "int8"})
        fraction = self._request(("x", "INT32", [1], [1.5]), parameters={"signature_name": "int32"})
        text = self._request(("x", "FP32", [1], ["one"]))
        for what, kind, words, request in (
            ("input", BadRequestError, "'z'", self._request(("z", "FP32", [1], [1.0]))),
            ("datatype", BadRequestError, "INT32", self._request(("x", "INT32", [1], [1]))),
            ("unknown datatype", BadRequestError, "FP77", self._request(("x", "FP77", [1], [1.0]))),
            ("count", BadRequestError, "3", self._request(("x", "FP32", [3], [1.0, 2.0]))),
            ("negative", BadRequestError, "-1", self._request(("x", "FP32", [-1], [1.0]))),
            ("text", BadRequestError, "x", text),
        ):
            self.fails(what, kind, words, lambda request=request: infer(PLUS, request=request))
        self.fails("range", BadRequestError, "300", lambda: infer(EVERY_TYPE, request=narrow))
        self.fails("fraction", BadRequestError, "1.5", lambda: infer(EVERY_TYPE, request=fraction))
        for what, words, call in (  # these calls have no 404 in the protocol's description
            ("model", UNKNOWN, lambda: infer(UNKNOWN, request=self._x())),
            ("metadata", UNKNOWN, lambda: client.read_model_metadata(UNKNOWN)),
            ("version", "77", lambda: client.model_version_infer(VERSIONS, "77", request=self._x())),
        ):
            try:
                call()
            except ApiError as error:
                self._checks.same(what, (error.status_code, words in error.body["error"]), (404, True))

    def versions(self) -> None:
        for version, y in (("1", [1.5, 2.0]), ("2", [2.5, 3.0])):
            answer = self._client.model_version_infer(VERSIONS, version, request=self._x())
            self._checks.same(f"version {version}", (answer.model_version, self._data(answer.outputs[0])), (version, y))

    def defaults(self) -> None:
        x, scale = ("x", "FP32", [1, 2], [1.5, -2.0]), ("scale", "FP32", [], [3.0])
        for given, expected in (([x], [3.0, -4.0]), ([x, scale], [4.5, -6.0])):
            answer = self._client.model_infer(DEFAULTS, request=self._request(*given))
            self._checks.same("y", self._data(answer.outputs[0]), expected)

    def empty_and_scalar(self) -> None:
        for shape, data in (([0], []), ([2, 0, 3], []), ([], [7.0])):
            self._echo("float32", "FP32", shape, data)

    async def concurrently(self) -> None:
        """Ask by the client's asynchronous form, many times at once."""
        client = AsyncOpenInferenceClient(base_url=self._base_url)
        answers = await asyncio.gather(*(client.model_infer(PLUS, request=self._x()) for _ in range(8)))
        self._checks.same("asynchronous", [self._data(one.outputs[0]) for one in answers], [[2.5, 3.0]] * 8)

    def cases(self) -> dict[str, Callable[[], None]]:
        return {
            "a": self.health,
            "b": self.metadata,
            "c": self.every_type,
            "d": self.outputs,
            "e": self.ids,
            "f": self.errors,
            "i": self.nested,
            "l": self.versions,
            "m": self.defaults,
            "n": self.empty_and_scalar,
        }


def main() -> None:
    """Check, and print what came of it."""
    checks = Checks()
    session = Session(checks, sys.argv[1])
    checks.run(session.cases())
    asyncio.run(checks.run_async({"c": session.concurrently}))
    checks.tell()


if __name__ == "__main__":
    main()
