"""`python open_inference_rpc.py HOST:REST_PORT HOST:GRPC_PORT`: the stub of open-inference-grpc, with typed contents."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import grpc
from cases import (
    BRAIN,
    DEFAULTS,
    EVERY_TYPE,
    HALF,
    MATRIX,
    NEVER_READY,
    OCTETS,
    PLUS,
    SEVERAL,
    SHAPE,
    TYPES,
    UNKNOWN,
    VERSIONS,
    TypeCase,
    raw_bytes,
)
from checks import Checks
from open_inference.grpc import protocol
from open_inference.grpc.service import GRPCInferenceServiceStub

INVALID, NOT_FOUND = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
TIMEOUT_S = 60


class Session:
    """The checks."""

    def __init__(self, checks: Checks, address: str) -> None:
        self._checks = checks
        self._stub = GRPCInferenceServiceStub(grpc.insecure_channel(address))

    def _request(self, model: str, *tensors: tuple[str, str, list[int], dict[str, Any]], **more: Any) -> Any:
        """Make a request whose tensors have a name, a datatype, a shape and typed contents."""
        texts = more.pop("parameters", {})
        request = protocol.ModelInferRequest(model_name=model, **more)
        for name, value in texts.items():
            request.parameters[name].string_param = value
        for name, datatype, shape, contents in tensors:
            request.inputs.add(name=name, datatype=datatype, shape=shape).contents.SetInParent()
            for field, values in contents.items():
                getattr(request.inputs[-1].contents, field).extend(values)
        return request

    def _raw(self, signature: str, datatype: str, shape: list[int], raw: bytes) -> Any:
        request = protocol.ModelInferRequest(model_name=EVERY_TYPE, raw_input_contents=[raw])
        request.parameters["signature_name"].string_param = signature
        request.inputs.add(name="x", datatype=datatype, shape=shape)
        return request

    def _x(self, model: str, **more: Any) -> Any:
        return self._request(model, ("x", "FP32", [2], {"fp32_contents": [1.0, 2.0]}), **more)

    def _infer(self, request: Any) -> Any:
        return self._stub.ModelInfer(request, timeout=TIMEOUT_S)

    def fails(self, what: str, code: grpc.StatusCode, text: str, call: Callable[[], object]) -> None:
        """See how the stub shows an error."""
        try:
            call()
        except grpc.RpcError as error:
            self._checks.same(f"{what} code", error.code(), code)
            self._checks.has(f"{what} text", error.details() or "", text)
        else:
            self._checks.same(what, "no error", code)

    def health(self) -> None:
        stub, ready = self._stub, protocol.ModelReadyRequest
        live = stub.ServerLive(protocol.ServerLiveRequest()).live
        self._checks.same("server", (live, stub.ServerReady(protocol.ServerReadyRequest()).ready), (True, True))
        asked = (ready(name=PLUS), ready(name=VERSIONS, version="1"), ready(name=NEVER_READY))
        self._checks.same("models", [stub.ModelReady(one).ready for one in asked], [True, True, False])
        self.fails("model", NOT_FOUND, UNKNOWN, lambda: stub.ModelReady(ready(name=UNKNOWN)))
        self.fails("version", NOT_FOUND, "77", lambda: stub.ModelReady(ready(name=VERSIONS, version="77")))

    def metadata(self) -> None:
        told = self._stub.ModelMetadata(protocol.ModelMetadataRequest(name=MATRIX))
        self._checks.same(
            "model", (told.name, list(told.versions), told.platform), (MATRIX, ["1"], "tensorflow_savedmodel")
        )
        tensors = [(one.name, one.datatype, list(one.shape)) for one in (*told.inputs, *told.outputs)]
        self._checks.same("tensors", tensors, [("x", "FP32", [-1, 3]), ("y", "FP32", [-1, 2])])
        server = self._stub.ServerMetadata(protocol.ServerMetadataRequest())
        self._checks.same("extensions", {"binary_tensor_data", "parameters"} - set(server.extensions), set())

    def every_type(self) -> None:
        for case in TYPES:
            self._typed(case)
            self._echoes_raw(case.signature, case.datatype, SHAPE, case.raw)

    def _typed(self, case: TypeCase) -> None:
        values = [one.encode() for one in case.values] if case.datatype == "BYTES" else case.values
        tensor = ("x", case.datatype, SHAPE, {case.field: values})
        answer = self._infer(self._request(EVERY_TYPE, tensor, parameters={"signature_name": case.signature}))
        (output,) = answer.outputs
        self._checks.same(f"{case.datatype} raw contents", len(answer.raw_output_contents), 0)
        told = (output.name, output.datatype, list(output.shape), list(getattr(output.contents, case.field)))
        self._checks.same(f"{case.datatype} typed", told, ("y", case.datatype, SHAPE, values))

    def _echoes_raw(self, signature: str, datatype: str, shape: list[int], raw: bytes) -> None:
        answer = self._infer(self._raw(signature, datatype, shape, raw))
        (output,) = answer.outputs
        told = (output.datatype, list(output.shape), output.HasField("contents"), list(answer.raw_output_contents))
        self._checks.same(f"{datatype} {shape} raw", told, (datatype, shape, False, [raw]))

    def _several(self, *outputs: str) -> Any:
        request = self._request(
            SEVERAL,
            ("a", "FP32", [3], {"fp32_contents": [1.0, 2.0, 3.0]}),
            ("b", "INT32", [3], {"int_contents": [1, -2, 3]}),
            ("s", "BYTES", [3], {"bytes_contents": [b"p", b"", b"q" * 99]}),
        )
        for name in outputs:
            request.outputs.add(name=name)
        return request

    def outputs(self) -> None:
        for asked, expected in (([], ["echo", "product", "sum"]), (["sum", "echo"], ["sum", "echo"])):
            answer = self._infer(self._several(*asked))
            self._checks.same(f"asked for {asked}", [one.name for one in answer.outputs], expected)
            by_name = {one.name: one.contents for one in answer.outputs}
            self._checks.same("sum", list(by_name["sum"].fp32_contents), [2.0, 0.0, 6.0])
            self._checks.same("echo", list(by_name["echo"].bytes_contents), [b"p", b"", b"q" * 99])
        self.fails("unknown", INVALID, "none", lambda: self._infer(self._several("none")))

    def ids(self) -> None:
        told = [self._infer(self._x(PLUS, id=one)).id for one in ("my é 7", "")]
        self._checks.same("ids", told, ["my é 7", ""])

    def errors(self) -> None:
        both = self._x(PLUS)
        both.raw_input_contents.append(b"\0" * 8)
        narrow = self._request(
            EVERY_TYPE, ("x", "INT8", [1], {"int_contents": [300]}), parameters={"signature_name": "int8"}
        )
        ill_fitting = ("x", "FP32", [2], {"int64_contents": [1, 2]})
        few = ("x", "FP32", [3], {"fp32_contents": [1.0, 2.0]})
        negative = ("x", "FP32", [-1], {"fp32_contents": [1.0]})
        half = ("x", "FP16", [1], {"fp32_contents": [1.0]})
        more = self._raw("float32", "FP32", [1], b"\0" * 4)
        more.raw_input_contents.append(b"\0" * 4)
        for what, code, text, request in (
            ("model", NOT_FOUND, UNKNOWN, self._x(UNKNOWN)),
            ("not ready", NOT_FOUND, NEVER_READY, self._x(NEVER_READY)),
            ("version", NOT_FOUND, "77", self._x(VERSIONS, model_version="77")),
            ("version's text", INVALID, "first", self._x(VERSIONS, model_version="first")),
            ("input", INVALID, "'z'", self._request(PLUS, ("z", *ill_fitting[1:]))),
            ("datatype", INVALID, "INT32", self._request(PLUS, ("x", "INT32", [1], {"int_contents": [1]}))),
            ("unknown datatype", INVALID, "FP77", self._request(PLUS, ("x", "FP77", [1], {}))),
            ("raw and typed", INVALID, "x", both),
            ("field", INVALID, "x", self._request(PLUS, ill_fitting)),
            ("range", INVALID, "300", narrow),
            ("count", INVALID, "3", self._request(PLUS, few)),
            ("negative", INVALID, "-1", self._request(PLUS, negative)),
            ("typed FP16", INVALID, "x", self._request(PLUS, half)),
            ("raw size", INVALID, "x", self._raw("float32", "FP32", [2], b"\0" * 4)),
            ("raw count", INVALID, "2", more),
            ("no inputs", INVALID, "", self._request(PLUS)),
        ):
            self.fails(what, code, text, lambda request=request: self._infer(request))

    def octets(self) -> None:
        tensor = ("x", "BYTES", SHAPE, {"bytes_contents": OCTETS})
        answer = self._infer(self._request(EVERY_TYPE, tensor, parameters={"signature_name": "string"}))
        self._checks.same("typed", list(answer.outputs[0].contents.bytes_contents), OCTETS)
        self._echoes_raw("string", "BYTES", SHAPE, raw_bytes(OCTETS))
        self._echoes_raw("string", "BYTES", [0], b"")
        self._echoes_raw("string", "BYTES", [2, 1], raw_bytes([b"", b"\0"]))

    def halves(self) -> None:
        for case in (HALF, BRAIN):
            self._echoes_raw(case.signature, case.datatype, SHAPE, case.raw)

    def versions(self) -> None:
        for asked, label, version, y in (
            ("", "", "2", 2.5),
            ("1", "", "1", 1.5),
            ("", "stable", "1", 1.5),
            ("", "canary", "2", 2.5),
        ):
            more: dict[str, Any] = {"parameters": {"version_label": label}} if label else {}
            answer = self._infer(self._x(VERSIONS, model_version=asked, **more))
            told = (answer.model_version, answer.outputs[0].contents.fp32_contents[0])
            self._checks.same(f"version {asked or label or 'none'}", told, (version, y))
        given = {"model_version": "1", "parameters": {"version_label": "stable"}}
        self.fails("both", INVALID, "label", lambda: self._infer(self._x(VERSIONS, **given)))

    def defaults(self) -> None:
        x = ("x", "FP32", [1, 2], {"fp32_contents": [1.5, -2.0]})
        scale = ("scale", "FP32", [], {"fp32_contents": [3.0]})
        for given, expected in (([x], [3.0, -4.0]), ([x, scale], [4.5, -6.0])):
            answer = self._infer(self._request(DEFAULTS, *given))
            self._checks.same("y", list(answer.outputs[0].contents.fp32_contents), expected)

    def empty_and_scalar(self) -> None:
        for shape, count in (([0], 0), ([2, 0, 3], 0), ([], 1)):
            self._echoes_raw("int64", "INT64", shape, bytes(8 * count))
            tensor = ("x", "INT64", shape, {"int64_contents": [7] * count})
            answer = self._infer(self._request(EVERY_TYPE, tensor, parameters={"signature_name": "int64"}))
            told = (list(answer.outputs[0].shape), list(answer.outputs[0].contents.int64_contents))
            self._checks.same(f"{shape} typed", told, (shape, [7] * count))

    def cases(self) -> dict[str, Callable[[], None]]:
        return {
            "a": self.health,
            "b": self.metadata,
            "c": self.every_type,
            "d": self.outputs,
            "e": self.ids,
            "f": self.errors,
            "g": self.octets,
            "h": self.halves,
            "l": self.versions,
            "m": self.defaults,
            "n": self.empty_and_scalar,
        }


def main() -> None:
    """Check, and print what came of it."""
    checks = Checks()
    checks.run(Session(checks, sys.argv[2]).cases())
    checks.tell()


if __name__ == "__main__":
    main()
