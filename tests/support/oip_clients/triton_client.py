"""`python triton.py HOST:REST_PORT HOST:GRPC_PORT`: tritonclient over both protocols, used as its users do."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, ClassVar

import ml_dtypes
import numpy as np
import tritonclient.grpc
import tritonclient.http
from cases import (
    BRAIN,
    COMPARED,
    DEFAULTS,
    EVERY_TYPE,
    HALF,
    LARGE_BYTES,
    LOADED,
    MATRIX,
    NEVER_READY,
    OCTETS,
    ODD_FLOATS,
    PLUS,
    SCALAR,
    SEVERAL,
    SHAPE,
    TOTAL,
    TYPES,
    UNKNOWN,
    VERSIONS,
    TypeCase,
)
from checks import Checks
from tritonclient.utils import InferenceServerException, np_to_triton_dtype, triton_to_np_dtype

Arrays = dict[str, np.ndarray]
TIMEOUT_S = 60


def array_of(case: TypeCase) -> np.ndarray:
    """Return the values of a type, as one of its users would hold them."""
    if case.datatype == "BYTES":
        return np.array([one.encode() for one in case.values] + [None], object)[:-1].reshape(SHAPE)
    dtype = ml_dtypes.bfloat16 if case.datatype == "BF16" else triton_to_np_dtype(case.datatype)
    return np.frombuffer(case.raw, dtype).reshape(SHAPE)


def plain(array: np.ndarray | None) -> object:
    """Return type, shape and values; bytes of numbers, so that NaN equals itself."""
    if array is None:
        return None
    if array.dtype == object:  # of JSON this client makes texts, of raw tensors bytes
        return "object", array.shape, [one.encode() if isinstance(one, str) else one for one in array.ravel().tolist()]
    return str(array.dtype), array.shape, array.tobytes()


class Http:
    """tritonclient.http."""

    CODES: ClassVar = {404: "404", 400: "400", 501: "501"}
    BAD_VERSION = 404
    """A version that is not a number makes another path."""

    def __init__(self, address: str) -> None:
        self.client = tritonclient.http.InferenceServerClient(address, network_timeout=TIMEOUT_S)

    def infer(
        self,
        model: str,
        arrays: Arrays,
        outputs: Sequence[str] = (),
        *,
        in_json: Collection[str] = (),
        raw_answer: bool = True,
        class_count: int = 0,
        **more: Any,
    ) -> Any:
        inputs = []
        for name, array in arrays.items():
            one = tritonclient.http.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
            inputs.append(one.set_data_from_numpy(array, binary_data=name not in in_json))
        wanted = [
            tritonclient.http.InferRequestedOutput(name, binary_data=raw_answer, class_count=class_count)
            for name in outputs
        ]
        return self.client.infer(model, inputs, outputs=wanted or None, **more)

    def metadata(self, model: str, version: str = "") -> Any:
        return self.client.get_model_metadata(model, version)

    def server_metadata(self) -> Any:
        return self.client.get_server_metadata()

    def answered(self, result: Any) -> Any:
        return result.get_response()

    def index(self) -> list[Any]:
        return list(self.client.get_model_repository_index())

    def statistics(self, model: str) -> list[Any]:
        return list(self.client.get_inference_statistics(model)["model_stats"])


class Grpc:
    """tritonclient.grpc."""

    CODES: ClassVar = {
        404: "StatusCode.NOT_FOUND",
        400: "StatusCode.INVALID_ARGUMENT",
        501: "StatusCode.UNIMPLEMENTED",
    }
    BAD_VERSION = 400

    def __init__(self, address: str) -> None:
        self.client = tritonclient.grpc.InferenceServerClient(address)

    def infer(
        self, model: str, arrays: Arrays, outputs: Sequence[str] = (), *, class_count: int = 0, **more: Any
    ) -> Any:
        inputs = []
        for name, array in arrays.items():
            one = tritonclient.grpc.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
            inputs.append(one.set_data_from_numpy(array))
        wanted = [tritonclient.grpc.InferRequestedOutput(name, class_count=class_count) for name in outputs]
        return self.client.infer(model, inputs, outputs=wanted or None, client_timeout=TIMEOUT_S, **more)

    def metadata(self, model: str, version: str = "") -> Any:
        return _integers(self.client.get_model_metadata(model, version, as_json=True))

    def server_metadata(self) -> Any:
        return self.client.get_server_metadata(as_json=True)

    def answered(self, result: Any) -> Any:
        return result.get_response(as_json=True)

    def index(self) -> list[Any]:
        return list(self.client.get_model_repository_index(as_json=True).get("models", []))

    def statistics(self, model: str) -> list[Any]:
        return list(self.client.get_inference_statistics(model, as_json=True)["model_stats"])


def _integers(metadata: Any) -> Any:
    """Return metadata as over HTTP: JSON of protobuf has 64-bit integers as text, and lacks what is empty."""
    for one in (*metadata["inputs"], *metadata["outputs"]):
        one["shape"] = [int(size) for size in one.get("shape", [])]
    return metadata


class Session:
    """The checks of one protocol."""

    def __init__(self, checks: Checks, protocol: Http | Grpc) -> None:
        self._checks = checks
        self._protocol = protocol
        self._client = protocol.client
        self._name = type(protocol).__name__.lower()
        self._is_http = isinstance(protocol, Http)

    def same(self, what: str, got: object, expected: object) -> None:
        self._checks.same(f"{self._name} {what}", got, expected)

    def echoes(self, what: str, signature: str, array: np.ndarray, *outputs: str, **more: Any) -> None:
        """See that a type comes back as it was sent."""
        more["parameters"] = {"signature_name": signature}
        result = self._protocol.infer(EVERY_TYPE, {"x": array}, outputs, **more)
        self.same(what, plain(result.as_numpy("y")), plain(array))

    def fails(self, what: str, status: int, text: str, call: Callable[[], object]) -> None:
        """See how the client shows an error."""
        try:
            call()
        except InferenceServerException as error:
            self.same(f"{what} status", error.status(), self._protocol.CODES[status])
            self._checks.has(f"{self._name} {what} text", error.message() or "", text)
        else:
            self.same(what, "no error", status)

    def health(self) -> None:
        client = self._client
        self.same("live and ready", (client.is_server_live(), client.is_server_ready()), (True, True))
        ready = (client.is_model_ready(PLUS), client.is_model_ready(VERSIONS, "1"), client.is_model_ready(NEVER_READY))
        self.same("models", ready, (True, True, False))
        if self._is_http:  # it raises nothing here: all but 200 is false
            unknown = (client.is_model_ready(UNKNOWN), client.is_model_ready(VERSIONS, "77"))
            self.same("unknown model and version", unknown, (False, False))
        else:
            self.fails("unknown model", 404, UNKNOWN, lambda: client.is_model_ready(UNKNOWN))
            self.fails("unknown version", 404, "77", lambda: client.is_model_ready(VERSIONS, "77"))

    def metadata(self) -> None:
        server = self._protocol.server_metadata()
        self.same("server", sorted(server), ["extensions", "name", "version"])
        self.same("extensions", {"binary_tensor_data", "parameters"} - set(server["extensions"]), set())
        told = self._protocol.metadata(MATRIX)
        self.same("model", (told["name"], told["versions"], told["platform"]), (MATRIX, ["1"], "tensorflow_savedmodel"))
        self.same("inputs", told["inputs"], [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}])
        self.same("outputs", told["outputs"], [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}])
        told = self._protocol.metadata(PLUS)["inputs"][0]
        self.same("unknown rank", (told["name"], told["datatype"], told["shape"]), ("x", "FP32", [-1]))
        self.same("names", [one["name"] for one in self._protocol.metadata(SEVERAL)["inputs"]], ["a", "b", "s"])
        self.same("versions", self._protocol.metadata(VERSIONS)["versions"], ["1", "2"])
        self.same("one version", self._protocol.metadata(VERSIONS, "1")["versions"], ["1"])

    def every_type(self) -> None:
        for case in TYPES:
            array = array_of(case)
            self.echoes(f"{case.datatype} raw", case.signature, array)
            if self._is_http:
                self.echoes(f"{case.datatype} JSON", case.signature, array, "y", in_json=["x"], raw_answer=False)
                self.echoes(f"{case.datatype} raw to JSON", case.signature, array, "y", raw_answer=False)
                self.echoes(f"{case.datatype} JSON to raw", case.signature, array, "y", in_json=["x"])
        large = np.arange(100_000, dtype=np.int32)
        names = ("request_compression_algorithm", "response_compression_algorithm")
        for algorithm in ("gzip", "deflate"):
            more = dict.fromkeys(names, algorithm) if self._is_http else {"compression_algorithm": algorithm}
            self.echoes(algorithm, "int32", large, **more)

        if self._is_http:
            result = self._protocol.infer(SEVERAL, self.several(), in_json=["a", "s"])
            self.same("mixed", plain(result.as_numpy("product")), plain(np.array([1, -4, 9], np.float32)))

    def several(self) -> Arrays:
        words = np.array([b"p", b"", b"q" * 99], object)
        return {"a": np.array([1, 2, 3], np.float32), "b": np.array([1, -2, 3], np.int32), "s": words}

    def outputs(self) -> None:
        names = {"all": ([], ["echo", "product", "sum"]), "some": (["sum", "echo"], ["sum", "echo"])}
        for what, (asked, expected) in names.items():
            result = self._protocol.infer(SEVERAL, self.several(), asked)
            answered = self._protocol.answered(result)
            self.same(what, [one["name"] for one in answered["outputs"]], expected)
            self.same(f"{what} sum", plain(result.as_numpy("sum")), plain(np.array([2, 0, 6], np.float32)))
            self.same(f"{what} echo", plain(result.as_numpy("echo")), plain(self.several()["s"]))
        self.fails("unknown", 400, "none", lambda: self._protocol.infer(SEVERAL, self.several(), ["sum", "none"]))
        self.fails("twice", 400, "sum", lambda: self._protocol.infer(SEVERAL, self.several(), ["sum", "sum"]))

    def ids(self) -> None:
        x = {"x": np.array([1, 2], np.float32)}
        self.same("echo", self._protocol.answered(self._protocol.infer(PLUS, x, request_id="my é 7"))["id"], "my é 7")
        self.same("absent", self._protocol.answered(self._protocol.infer(PLUS, x)).get("id"), None)

    def errors(self) -> None:
        infer = self._protocol.infer
        x = {"x": np.ones(2, np.float32)}
        one_row = np.ones((1, 4), np.float32)
        bad = self._protocol.BAD_VERSION
        lacking = {name: array for name, array in self.several().items() if name != "b"}
        self.fails("model", 404, UNKNOWN, lambda: infer(UNKNOWN, x))
        self.fails("metadata", 404, UNKNOWN, lambda: self._protocol.metadata(UNKNOWN))
        self.fails("not ready", 404, NEVER_READY, lambda: infer(NEVER_READY, x))
        self.fails("version", 404, "77", lambda: infer(VERSIONS, x, model_version="77"))
        self.fails("version's metadata", 404, "77", lambda: self._protocol.metadata(VERSIONS, "77"))
        self.fails("version's text", bad, "", lambda: infer(VERSIONS, x, model_version="first"))
        self.fails("input", 400, "'z'", lambda: infer(PLUS, {"z": x["x"]}))
        self.fails("missing", 400, "'b'", lambda: infer(SEVERAL, lacking))
        self.fails("more", 400, "'z'", lambda: infer(PLUS, x | {"z": x["x"]}))
        self.fails("datatype", 400, "data-type is INT32", lambda: infer(PLUS, {"x": np.ones(2, np.int32)}))
        self.fails("shape", 400, "[1,4]", lambda: infer(MATRIX, {"x": one_row}))
        self.fails("rank", 400, "[4]", lambda: infer(MATRIX, {"x": one_row[0]}))
        self.fails("signature", 400, "none", lambda: infer(PLUS, x, parameters={"signature_name": "none"}))
        self.fails("sequence", 400, "sequence", lambda: infer(PLUS, x, sequence_id=7, sequence_start=True))
        self.fails("configuration", 501, "", lambda: self._client.get_model_config(PLUS))
        if not self._is_http:
            self._checks.same("stream", self._stream_error(), "StatusCode.UNIMPLEMENTED")
        self.fails("classification", 400, "classification", lambda: infer(PLUS, x, ["y"], class_count=3))

    def _stream_error(self) -> str | None:
        """Return how a stream of requests ends."""
        errors: SimpleQueue[InferenceServerException] = SimpleQueue()
        self._client.start_stream(callback=lambda result, error: errors.put(error))
        x = tritonclient.grpc.InferInput("x", [1], "FP32").set_data_from_numpy(np.ones(1, np.float32))
        with suppress(InferenceServerException):  # the stream may have ended before
            self._client.async_stream_infer(PLUS, [x])
        status = errors.get(timeout=TIMEOUT_S).status()
        self._client.stop_stream()
        return str(status)

    def octets(self) -> None:
        words = np.array([*OCTETS, None], object)[:-1]
        for shape in ([6], [3, 2], [2, 1, 3]):
            self.echoes(f"octets {shape}", "string", words.reshape(shape))
        self.echoes("none", "string", np.array([], object))
        self.echoes("[2, 1]", "string", np.array([[b""], [b"\0"]], object))
        self.echoes("one", "string", np.array(b"\xff", object))
        if self._is_http:
            ask = {"parameters": {"signature_name": "string"}, "raw_answer": False}
            self.fails("JSON", 400, "binary", lambda: self._protocol.infer(EVERY_TYPE, {"x": words}, ["y"], **ask))

    def odd_floats(self) -> None:
        for case in (HALF, BRAIN):
            self.echoes(case.datatype, case.signature, array_of(case))
        for name in ("float32", "float64", "float16"):
            self.echoes(name, name, np.array(ODD_FLOATS, name))
        self.echoes("bfloat16", "bfloat16", np.array(ODD_FLOATS, ml_dtypes.bfloat16))
        if self._is_http:
            self.echoes("FP16 JSON", "float16", array_of(HALF), "y", in_json=["x"], raw_answer=False)
            odd = np.array(ODD_FLOATS, np.float32)
            ask = {"parameters": {"signature_name": "float32"}, "in_json": ["x"], "raw_answer": False}
            got = self._protocol.infer(EVERY_TYPE, {"x": odd}, ["y"], **ask).as_numpy("y")
            self.same("null", plain(np.where(np.isfinite(odd), odd, np.float32("nan"))), plain(got))

    def versions(self) -> None:
        x = {"x": np.array([2], np.float32)}
        for asked, label, version, y in (
            ("", "", "2", 3),
            ("1", "", "1", 2),
            ("2", "", "2", 3),
            ("", "stable", "1", 2),
        ):
            more = {"parameters": {"version_label": label}} if label else {}
            if label and self._is_http:
                continue  # there, labels are paths, which this client cannot ask for
            result = self._protocol.infer(VERSIONS, x, model_version=asked, **more)
            what = f"version {asked or label or 'none'}"
            self.same(what, self._protocol.answered(result)["model_version"], version)
            self.same(f"{what} y", result.as_numpy("y").tolist(), [y])

    def defaults(self) -> None:
        x = np.array([[1.5, -2]], np.float32)
        for scale in (2.0, 3.0):
            given = {} if scale == 2.0 else {"scale": np.array(scale, np.float32)}
            got = self._protocol.infer(DEFAULTS, {"x": x} | given).as_numpy("y")
            self.same(f"scale {scale}", plain(got), plain(x * np.float32(scale)))
        ignored = {"priority": 3, "timeout": 30_000_000, "parameters": {"custom": 7}}
        got = self._protocol.infer(DEFAULTS, {"x": x}, **ignored).as_numpy("y")
        self.same("other parameters", plain(got), plain(x * np.float32(2)))
        more = {"parameters": {"signature_name": "regress_x2_to_y3"}}
        got = self._protocol.infer("tf1_half_plus_two", {"inputs": x[:, :1]}, **more).as_numpy("outputs")
        self.same("signature", plain(got), plain(np.array([[3.75]], np.float32)))

    def empty_and_scalar(self) -> None:
        for shape in ([0], [0, 5], [2, 0, 3], []):
            self.echoes(f"shape {shape}", "int64", np.full(shape, 7, np.int64))
        y = self._protocol.infer(MATRIX, {"x": np.empty((0, 3), np.float32)}).as_numpy("y")
        self.same("no rows", plain(y), plain(np.empty((0, 2), np.float32)))
        y = self._protocol.infer(SCALAR, {"x": np.array(2, np.float32)}).as_numpy("y")
        self.same("scalar", plain(y), plain(np.array(12, np.float32)))
        total = self._protocol.infer(TOTAL, {"x": np.ones(4, np.float32)}).as_numpy("total")
        self.same("total", plain(total), plain(np.array(4, np.float32)))

    def repository(self) -> None:
        client, x = self._client, {"x": np.array([2], np.float32)}
        states = {one["name"]: one.get("state") for one in self._protocol.index()}
        self.same("index", (states[PLUS], states[NEVER_READY]), ("READY", "UNAVAILABLE"))
        client.unload_model(LOADED)
        self.same("no longer ready", (client.is_model_ready(LOADED),), (False,))
        self._checks.until("unloaded", lambda: self._is_gone(LOADED))
        states = {one["name"]: one.get("state") for one in self._protocol.index()}
        self._checks.same("unloaded", (LOADED in states, states.get(LOADED) == "READY"), (True, False))
        client.load_model(LOADED)
        self.same("loaded", (client.is_model_ready(LOADED),), (True,))
        self.same("y", self._protocol.infer(LOADED, x).as_numpy("y").tolist(), [3])
        self.fails("load of none", 404, UNKNOWN, lambda: client.load_model(UNKNOWN))
        self.fails("unload of none", 404, UNKNOWN, lambda: client.unload_model(UNKNOWN))
        self.fails("load with configuration", 400, "config", lambda: client.load_model(LOADED, config="{}"))

    def _is_gone(self, model: str) -> bool:
        """Whether no version of a model is left, also none that answers its last requests."""
        try:
            self._protocol.infer(model, {"x": np.array([2], np.float32)})
        except InferenceServerException as error:
            return bool(error.status() == self._protocol.CODES[404])
        return False

    def statistics(self) -> None:
        before = self._counts()
        self._protocol.infer(PLUS, {"x": np.ones(3, np.float32)})
        self._checks.until("statistics count requests", lambda: self._counts() > before)

    def _counts(self) -> int:
        (one,) = self._protocol.statistics(PLUS)
        return int(one["inference_stats"]["success"]["count"])

    def large(self) -> None:
        x = np.arange(LARGE_BYTES // 4, dtype=np.float32)
        y = self._protocol.infer(PLUS, {"x": x}).as_numpy("y")
        self.same("64 MiB", (y.shape, bool(np.array_equal(y, x * np.float32(0.5) + np.float32(2)))), (x.shape, True))

    def cases(self) -> dict[str, Callable[[], None]]:
        return {
            "a": self.health,
            "b": self.metadata,
            "c": self.every_type,
            "d": self.outputs,
            "e": self.ids,
            "f": self.errors,
            "g": self.octets,
            "h": self.odd_floats,
            "k": self.repository,
            "l": self.versions,
            "m": self.defaults,
            "n": self.empty_and_scalar,
            "o": self.large,
            "statistics": self.statistics,
        }


def bits(protocol: Http | Grpc) -> dict[str, str]:
    """Return all outputs of some models, bit by bit."""
    told = {}
    for model, (name, shape, values) in COMPARED.items():
        result = protocol.infer(model, {name: np.array(values, np.float32).reshape(shape)})
        for output in protocol.answered(result)["outputs"]:
            told[f"{model} {output['name']}"] = result.as_numpy(output["name"]).tobytes().hex()
    return told


def main() -> None:
    """Check both protocols, and print what came of it."""
    checks = Checks()
    protocols = (Http(sys.argv[1]), Grpc(sys.argv[2]))
    for protocol in protocols:
        checks.run(Session(checks, protocol).cases())
    checks.tell(bits=[bits(one) for one in protocols])


if __name__ == "__main__":
    main()
