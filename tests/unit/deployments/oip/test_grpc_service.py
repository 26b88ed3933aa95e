"""What a client of version 2 sees of every method over gRPC, over a real channel and with TensorFlow behind it.

Once on the port that serves itself, where calls take the short way, and once on gRPC's own library.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Code, Unavailable
from core.inference.tensor_proto import to_proto
from core.protos import oip_pb2, serving_pb2
from core.routing.table import ModelRoutes, RoutingTable
from core.versions.lifecycle import State, VersionStatus
from deployments.oip.grpc_service import ABSENT, OipService
from deployments.oip.server_facts import ServerFacts
from deployments.routing.request_router import RequestRouter
from deployments.system.installed import server_version
from tests.support.clients import wait_until
from tests.support.doors.grpc_sites import TABLE
from tests.support.doors.grpc_stack import GrpcStack
from tests.support.doors.raw_http2 import PREDICT, RawHttp2
from tests.support.fakes import FakeTransport
from tests.support.infer_bodies import grpc_arrays, raw_grpc_infer, typed_grpc_infer
from tests.support.infer_fuzz import INFER_REQUESTS

SERVICE = "/inference.GRPCInferenceService/"
LONG_LOOP = 1_000_000
MODELS = {
    "half_plus_two": 1,
    "half_plus_two_versions": (1, 2),
    "all_dtypes": 1,
    "several": 1,
    "matrix": 1,
    "scalar_output": 1,
    "tf1_half_plus_two": 123,
    "slow": 1,
    "unfilled_table": 1,
}
PORTS = {"own": {}, "library": {"channel_arguments": (("grpc.max_concurrent_streams", 100),)}}
Arrays = Mapping[str, np.ndarray]
X = {"x": np.array([1.0, 2.0], np.float32)}
NOT_FOUND, INVALID_ARGUMENT, UNAVAILABLE = (
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.UNAVAILABLE,
)


class OipAsker:
    """A channel with the shortest ways to ask."""

    def __init__(self, port: int) -> None:
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}")

    def raw(self, method: str, body: bytes) -> bytes:
        return self.channel.unary_unary(f"{SERVICE}{method}")(body, timeout=60)

    def told(self, method: str, request: Any) -> tuple[grpc.StatusCode, str]:
        """Return code and text."""
        with pytest.raises(grpc.RpcError) as caught:
            self.raw(method, request if isinstance(request, bytes) else request.SerializeToString())
        return caught.value.code(), caught.value.details()

    def infer(self, request: oip_pb2.ModelInferRequest) -> oip_pb2.ModelInferResponse:
        return oip_pb2.ModelInferResponse.FromString(self.raw("ModelInfer", request.SerializeToString()))

    def outputs(self, request: oip_pb2.ModelInferRequest) -> dict[str, np.ndarray]:
        return grpc_arrays(self.raw("ModelInfer", request.SerializeToString()))

    def metadata(self, name: str, version: str = "") -> oip_pb2.ModelMetadataResponse:
        request = oip_pb2.ModelMetadataRequest(name=name, version=version)
        return oip_pb2.ModelMetadataResponse.FromString(self.raw("ModelMetadata", request.SerializeToString()))

    def is_ready(self, name: str, version: str = "") -> bool:
        request = oip_pb2.ModelReadyRequest(name=name, version=version)
        return oip_pb2.ModelReadyResponse.FromString(self.raw("ModelReady", request.SerializeToString())).ready

    def is_server_ready(self) -> bool:
        return oip_pb2.ServerReadyResponse.FromString(self.raw("ServerReady", b"")).ready


@pytest.fixture(scope="module", params=PORTS)
def stack(request: pytest.FixtureRequest, saved_models: Path) -> Iterator[GrpcStack]:
    with GrpcStack(saved_models, MODELS, **PORTS[request.param]) as running:
        yield running


@pytest.fixture(scope="module")
def ask(stack: GrpcStack) -> Iterator[OipAsker]:
    asker = OipAsker(stack.port)
    with asker.channel:
        yield asker


def made(body: bytes, model: str = "half_plus_two", **fields: Any) -> oip_pb2.ModelInferRequest:
    """Address a request to a model."""
    request = oip_pb2.ModelInferRequest.FromString(body)
    request.MergeFrom(oip_pb2.ModelInferRequest(model_name=model, **fields))
    return request


def raw(arrays: Arrays = X, model: str = "half_plus_two", **fields: Any) -> oip_pb2.ModelInferRequest:
    return made(raw_grpc_infer(arrays), model, **fields)


def typed(arrays: Arrays = X, model: str = "half_plus_two", **fields: Any) -> oip_pb2.ModelInferRequest:
    return made(typed_grpc_infer(arrays), model, **fields)


def text(value: str) -> oip_pb2.InferParameter:
    return oip_pb2.InferParameter(string_param=value)


def changed(stack: GrpcStack, **models: ModelRoutes) -> Iterator[None]:
    """Let the router have another table for a while."""

    async def take(table: RoutingTable) -> None:
        stack.router.table = table

    stack.run(take(RoutingTable(2, {**stack.table.models, **models}, settled=True)))
    yield
    stack.run(take(stack.table))


# The server.


def test_a_running_server_is_live_and_ready(ask: OipAsker) -> None:
    """As `/healthz` and `/readyz` say."""
    live = oip_pb2.ServerLiveResponse.FromString(ask.raw("ServerLive", b""))

    assert live.live
    assert ask.is_server_ready()


def test_a_server_without_a_settled_table_is_live_and_not_ready(ask: OipAsker, stack: GrpcStack) -> None:
    """It answers so, and does not fail."""

    async def take(table: RoutingTable) -> None:
        stack.router.table = table

    stack.run(take(RoutingTable(2)))
    try:
        assert not ask.is_server_ready()
        assert oip_pb2.ServerLiveResponse.FromString(ask.raw("ServerLive", b"")).live
    finally:
        stack.run(take(stack.table))


def test_a_server_that_stops_is_live_and_not_ready() -> None:
    """Callers are sent elsewhere, and those that have come are answered."""
    router = RequestRouter("r", FakeTransport())
    router.apply(TABLE)

    def is_ready(*, is_draining: bool) -> bool:
        answer = asyncio.run(
            OipService(ServerFacts(router, lambda: is_draining)).service().methods["ServerReady"](b"", None)
        )
        return oip_pb2.ServerReadyResponse.FromString(answer.body).ready

    assert is_ready(is_draining=False)
    assert not is_ready(is_draining=True)


def test_the_server_says_what_it_is(ask: OipAsker) -> None:
    """In the words that clients test for."""
    answer = oip_pb2.ServerMetadataResponse.FromString(ask.raw("ServerMetadata", b""))

    assert (answer.name, answer.version) == ("ray_model_server", server_version())
    assert list(answer.extensions) == ["binary_tensor_data", "parameters"]


@pytest.mark.parametrize("method", ABSENT)
def test_methods_of_other_servers_are_unimplemented_and_say_what_to_do(ask: OipAsker, method) -> None:
    """Clients show the text to their users."""
    assert ask.told(method, b"") == (grpc.StatusCode.UNIMPLEMENTED, ABSENT[method])


@pytest.mark.parametrize("method", ["ModelStreamInfer", "RepositoryIndex", "Nothing"])
def test_other_methods_are_unimplemented_at_once(ask: OipAsker, method) -> None:
    """Also where a client keeps its stream open."""
    call = ask.channel.stream_stream(f"{SERVICE}{method}")(iter([b""]), timeout=60)

    with pytest.raises(grpc.RpcError) as caught:
        next(call)

    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


# Models.


@pytest.mark.parametrize(
    ("name", "version"), [("half_plus_two", ""), ("half_plus_two", "1"), ("half_plus_two_versions", "2")]
)
def test_a_model_that_answers_is_ready(ask: OipAsker, name, version) -> None:
    """With and without a version."""
    assert ask.is_ready(name, version)


@pytest.mark.parametrize("state", [State.START, State.LOADING, State.UNLOADING, State.END])
def test_a_known_version_that_does_not_answer_is_not_ready(ask: OipAsker, stack: GrpcStack, state) -> None:
    """The call itself is good: clients would raise for anything else."""
    known = ModelRoutes({}, {}, (VersionStatus(7, state),))
    for _ in changed(stack, known=known):
        assert not ask.is_ready("known")
        assert not ask.is_ready("known", "7")


@pytest.mark.parametrize(
    ("name", "version", "told"),
    [
        ("no", "", (NOT_FOUND, "Request for unknown model: 'no' is not found")),
        ("", "", (NOT_FOUND, "Request for unknown model: '' is not found")),
        ("half_plus_two", "7", (NOT_FOUND, "Request for unknown model: 'half_plus_two' version 7 is not found")),
        ("no", "x", (INVALID_ARGUMENT, "failed to get model version from specified version string 'x'")),
    ],
)
@pytest.mark.parametrize(
    ("method", "kind"),
    [("ModelReady", oip_pb2.ModelReadyRequest), ("ModelMetadata", oip_pb2.ModelMetadataRequest)],
)
def test_an_unknown_model_or_version_is_not_found(ask: OipAsker, method, kind, name, version, told) -> None:
    """Neither ready nor described."""
    assert ask.told(method, kind(name=name, version=version)) == told


def test_a_model_is_described(ask: OipAsker) -> None:
    """Tensors by name; an unknown rank looks like a vector."""
    answer = ask.metadata("half_plus_two")

    assert (answer.name, answer.platform, list(answer.versions)) == ("half_plus_two", "tensorflow_savedmodel", ["1"])
    assert [(one.name, one.datatype, list(one.shape)) for one in answer.inputs] == [("x", "FP32", [-1])]
    assert [(one.name, one.datatype, list(one.shape)) for one in answer.outputs] == [("y", "FP32", [-1])]


def test_inputs_and_outputs_are_described_by_name(ask: OipAsker) -> None:
    """A signature has no order of its own."""
    answer = ask.metadata("several")

    assert [(one.name, one.datatype, list(one.shape)) for one in answer.inputs] == [
        ("a", "FP32", [-1]),
        ("b", "INT32", [-1]),
        ("s", "BYTES", [-1]),
    ]
    assert [one.name for one in answer.outputs] == sorted(one.name for one in answer.outputs)


@pytest.mark.parametrize(("version", "listed"), [("", ["1", "2"]), ("1", ["1"]), ("2", ["2"])])
def test_the_versions_that_answer_are_listed(ask: OipAsker, version, listed) -> None:
    """All, or the one that was asked for."""
    assert list(ask.metadata("half_plus_two_versions", version).versions) == listed


# Inference.


def test_a_raw_request_is_answered_raw_and_a_typed_one_typed(ask: OipAsker) -> None:
    """With model and version, and the id that was sent."""
    of_raw, of_typed = ask.infer(raw(id="7")), ask.infer(typed())

    assert (of_raw.model_name, of_raw.model_version, of_raw.id) == ("half_plus_two", "1", "7")
    assert list(of_raw.raw_output_contents) == [np.array([2.5, 3.0], np.float32).tobytes()]
    assert (of_typed.id, list(of_typed.outputs[0].contents.fp32_contents)) == ("", [2.5, 3.0])
    assert not of_typed.raw_output_contents


DTYPES = {
    "float32": np.array([[-1.5, 3e38]], np.float32),
    "float64": np.array([-1e300, 0.1]),
    "int8": np.array([-128, 127], np.int8),
    "int16": np.array([-(2**15), 2**15 - 1], np.int16),
    "int32": np.array([-(2**31), 2**31 - 1], np.int32),
    "int64": np.array([-(2**63), 2**63 - 1], np.int64),
    "uint8": np.array([0, 255], np.uint8),
    "uint16": np.array([0, 2**16 - 1], np.uint16),
    "uint32": np.array([0, 2**32 - 1], np.uint32),
    "uint64": np.array([0, 2**64 - 1], np.uint64),
    "bool": np.array([True, False]),
    "string": np.array([b"a", b""], object),
}
HALVES = {"float16": np.array([-1.5, 65504.0], np.float16), "bfloat16": np.array([-1.5, 3e38], ml_dtypes.bfloat16)}


def same(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two arrays are equal bit by bit."""
    if one.dtype.hasobject:
        return one.shape == other.shape and one.tolist() == other.tolist()
    return (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())


@pytest.mark.parametrize(("form", "signature"), [(form, name) for form in (raw, typed) for name in DTYPES])
def test_c_every_datatype_comes_back_raw_and_typed(ask: OipAsker, form, signature) -> None:
    """Bit by bit."""
    sent = DTYPES[signature]
    request = form({"x": sent}, "all_dtypes", parameters={"signature_name": text(signature)})

    assert same(ask.outputs(request)["y"], sent)


@pytest.mark.parametrize("signature", HALVES)
def test_h_half_precision_is_raw(ask: OipAsker, signature) -> None:
    """Both kinds; there is no typed form to ask in."""
    sent = HALVES[signature]

    answer = ask.infer(raw({"x": sent}, "all_dtypes", parameters={"signature_name": text(signature)}))
    request = raw({"x": sent}, "all_dtypes", parameters={"signature_name": text(signature)})
    del request.raw_input_contents[:]

    assert answer.outputs[0].datatype == {"float16": "FP16", "bfloat16": "BF16"}[signature]
    assert list(answer.raw_output_contents) == [sent.tobytes()]
    code, told = ask.told("ModelInfer", request)
    assert (code, "must be in raw_input_contents" in told) == (INVALID_ARGUMENT, True)


@pytest.mark.parametrize("form", [raw, typed])
@pytest.mark.parametrize("signature", ["float32", "float64"])
def test_h_what_is_not_a_number_comes_back(ask: OipAsker, form, signature) -> None:
    """NaN and both infinities."""
    sent = np.array([np.nan, np.inf, -np.inf, -0.0], signature)

    answer = ask.outputs(form({"x": sent}, "all_dtypes", parameters={"signature_name": text(signature)}))

    assert same(answer["y"], sent)


@pytest.mark.parametrize("form", [raw, typed])
@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(np.array([b"\0", b"a\0b\0"], object), id="zero bytes"),
        pytest.param(np.array([b"\xff\xfe", "ß☃".encode()], object), id="no UTF-8"),
        pytest.param(np.array([b"", b"", b"x"], object), id="empty strings"),
        pytest.param(np.empty((0,), object), id="no string"),
        pytest.param(np.array([[b"a"], [b"b" * 100_000]], object), id="two rows"),
        pytest.param(np.array(b"alone", object), id="scalar"),
    ],
)
def test_g_strings_may_hold_any_bytes_in_any_shape(ask: OipAsker, form, sent) -> None:
    """In both forms."""
    answer = ask.outputs(form({"x": sent}, "all_dtypes", parameters={"signature_name": text("string")}))

    assert same(answer["y"], sent)


@pytest.mark.parametrize("content", [b"\x02\0\0\0a", b"\x01\0\0", b"\x01\0\0\0ab", b"", b"\xff\xff\xff\xffa"])
def test_g_raw_strings_that_are_not_as_many_as_the_shape_says_are_refused(ask: OipAsker, content) -> None:
    """Too few, too many, or cut off."""
    request = raw({"x": np.array([b"a"], object)}, "all_dtypes", parameters={"signature_name": text("string")})
    request.raw_input_contents[0] = content

    code, told = ask.told("ModelInfer", request)

    assert (code, "input 'x'" in told) == (INVALID_ARGUMENT, True)


@pytest.mark.parametrize("form", [raw, typed])
@pytest.mark.parametrize("shape", [(0,), (2, 0), (0, 5, 0), ()])
def test_n_empty_tensors_and_scalars_keep_their_shapes(ask: OipAsker, form, shape) -> None:
    """Both ways."""
    answer = ask.outputs(form({"x": np.zeros(shape, np.float32)}))["y"]

    assert same(answer, np.full(shape, 2.0, np.float32))


def test_n_a_batch_of_no_rows_is_answered(ask: OipAsker) -> None:
    """A model is run for it, which has nothing to compute."""
    assert ask.outputs(raw({"x": np.zeros((0, 3), np.float32)}, "matrix"))["y"].shape == (0, 2)


@pytest.mark.parametrize(
    ("fields", "version"),
    [
        pytest.param({}, "2", id="default"),
        pytest.param({"model_version": "1"}, "1", id="version"),
        pytest.param({"model_version": "2"}, "2", id="latest"),
        pytest.param({"parameters": {"version_label": text("stable")}}, "1", id="label"),
    ],
)
def test_l_a_request_says_which_version_answers(ask: OipAsker, fields, version) -> None:
    """By number, by label, or the largest; the answer tells which it was, and no label."""
    answer = ask.infer(raw(X, "half_plus_two_versions", **fields))

    expected = 0.5 * X["x"] + float(version)
    assert answer.model_version == version
    assert list(answer.raw_output_contents) == [expected.astype(np.float32).tobytes()]


@pytest.mark.parametrize(
    ("signature", "name", "expected"),
    [("regress_x2_to_y3", "outputs", [[4.0]]), ("classify_x2_to_y3", "scores", [[4.0]])],
)
def test_m_another_signature_is_asked_for_by_a_parameter(ask: OipAsker, signature, name, expected) -> None:
    """OIP has no field for it."""
    sent = {"inputs": np.array([[2.0]], np.float32)}

    answer = ask.outputs(raw(sent, "tf1_half_plus_two", parameters={"signature_name": text(signature)}))

    assert answer[name].tolist() == expected


def test_d_outputs_are_chosen_and_ordered_by_the_request(ask: OipAsker) -> None:
    """Without a choice all come, by name."""
    arrays = {
        "a": np.array([1], np.float32),
        "b": np.array([2], np.int32),
        "s": np.array([b"s"], object),
    }
    everything = [one.name for one in ask.infer(raw(arrays, "several")).outputs]

    some = everything[::-1][:2]
    chosen = ask.infer(raw(arrays, "several", outputs=[{"name": name} for name in some]))

    assert everything == sorted(everything)
    assert [one.name for one in chosen.outputs] == some
    assert len(chosen.raw_output_contents) == 2


# Errors.


def without_x() -> oip_pb2.ModelInferRequest:
    return oip_pb2.ModelInferRequest(model_name="half_plus_two")


def with_input(**fields: Any) -> oip_pb2.ModelInferRequest:
    request = raw()
    for name, value in fields.items():
        if name == "shape":
            request.inputs[0].shape[:] = value
        else:
            setattr(request.inputs[0], name, value)
    return request


@pytest.mark.parametrize(
    ("request_", "code", "told"),
    [
        pytest.param(raw(model="no"), NOT_FOUND, "Request for unknown model: 'no' is not found", id="unknown model"),
        pytest.param(raw(model_version="9"), NOT_FOUND, "Request for unknown model: 'half_plus_two' version 9 is not found", id="unknown version"),
        pytest.param(raw(model_version="one"), INVALID_ARGUMENT, "failed to get model version from specified version string 'one'", id="version that is not a number"),
        pytest.param(raw(parameters={"version_label": text("no")}), NOT_FOUND, "Request for unknown model: 'half_plus_two' label 'no' is not found", id="unknown label"),
        pytest.param(raw(model_version="1", parameters={"version_label": text("stable")}), INVALID_ARGUMENT, "model 'half_plus_two' is asked for by version '1' and by label 'stable' at once", id="version and label"),
        pytest.param(b"\xff", INVALID_ARGUMENT, "The request is not a valid ModelInferRequest message.", id="malformed"),
        pytest.param(b"", NOT_FOUND, "Request for unknown model: '' is not found", id="empty"),
        pytest.param(without_x(), INVALID_ARGUMENT, "expected 1 inputs but got 0 inputs for model 'half_plus_two'; input 'x' is missing", id="no inputs"),
        pytest.param(with_input(name="z"), INVALID_ARGUMENT, "unexpected inference input 'z' for model 'half_plus_two'", id="unknown input"),
        pytest.param(raw({**X, "z": X["x"]}), INVALID_ARGUMENT, "unexpected inference input 'z' for model 'half_plus_two'", id="too many inputs"),
        pytest.param(with_input(datatype="FP7"), INVALID_ARGUMENT, "invalid datatype 'FP7' for input 'x'", id="unknown datatype"),
        pytest.param(with_input(datatype="INT32"), INVALID_ARGUMENT, "inference input 'x' data-type is INT32, but model 'half_plus_two' expects FP32", id="wrong datatype"),
        pytest.param(raw({"x": np.zeros((2, 4), np.float32)}, "matrix"), INVALID_ARGUMENT, "unexpected shape for input 'x' for model 'matrix'. Expected [-1,3], got [2,4]", id="wrong shape"),
        pytest.param(with_input(shape=[-1]), INVALID_ARGUMENT, "input 'x' has a negative dimension: [-1]", id="negative dimension"),
        pytest.param(with_input(shape=[2**62]), INVALID_ARGUMENT, "input 'x' of shape [4611686018427387904] is larger than 2147483647 bytes", id="absurd shape"),
        pytest.param(with_input(shape=[3]), INVALID_ARGUMENT, "input 'x' of shape [3] has 12 bytes, and 8 were sent", id="raw size"),
        pytest.param(raw(raw_input_contents=[b""]), INVALID_ARGUMENT, "expected 1 entries in raw_input_contents, one for each input, got 2", id="raw count"),
        pytest.param(raw(outputs=[{"name": "no"}]), INVALID_ARGUMENT, "unexpected inference output 'no'; outputs: y", id="unknown output"),
        pytest.param(raw(outputs=[{"name": "y"}] * 2), INVALID_ARGUMENT, "output 'y' is requested more than once", id="output twice"),
        pytest.param(raw(parameters={"signature_name": text("no")}), INVALID_ARGUMENT, "model 'half_plus_two' has no signature 'no'", id="unknown signature"),
    ],
)  # fmt: skip
def test_f_mistakes_of_an_inference_are_named(ask: OipAsker, request_, code, told) -> None:
    """With the tensor and both numbers; the channel lives on."""
    assert ask.told("ModelInfer", request_) == (code, told)
    assert ask.outputs(raw())["y"].tolist() == [2.5, 3.0]


@pytest.mark.parametrize(
    ("statuses", "code"),
    [
        pytest.param((VersionStatus(7, State.LOADING),), UNAVAILABLE, id="loading"),
        pytest.param((VersionStatus(7, State.UNLOADING),), UNAVAILABLE, id="unloading"),
        pytest.param((VersionStatus(7, State.END),), NOT_FOUND, id="gone"),
        pytest.param((), NOT_FOUND, id="none"),
    ],
)
@pytest.mark.parametrize("version", ["", "7"])
def test_f_a_version_that_is_not_ready_is_unavailable_only_while_it_comes_or_goes(
    ask: OipAsker, stack: GrpcStack, statuses, code, version
) -> None:
    """A client may then ask again."""
    for _ in changed(stack, known=ModelRoutes({}, {}, statuses)):
        assert ask.told("ModelInfer", raw(model="known", model_version=version))[0] is code


@pytest.mark.parametrize("signature", ["complex64", "complex128"])
def test_f_a_type_that_the_protocol_does_not_have_is_refused(ask: OipAsker, signature) -> None:
    """With the tensor, and the API that has it; metadata shows TensorFlow's own name."""
    code, told = ask.told("ModelInfer", raw(X, "all_dtypes", parameters={"signature_name": text(signature)}))

    assert code is INVALID_ARGUMENT
    assert told.startswith(f"input 'x' of model 'all_dtypes' has type DT_{signature.upper()}, which this protocol")
    assert "PredictionService" in told


def test_f_an_error_of_the_model_is_told_as_version_1_tells_it(ask: OipAsker) -> None:
    """TensorFlow's code, and its text."""
    words = np.array([b"a"], object)
    predict = serving_pb2.PredictRequest(model_spec={"name": "unfilled_table"}, inputs={"words": to_proto(words)})
    with pytest.raises(grpc.RpcError) as caught:
        ask.channel.unary_unary(PREDICT)(predict.SerializeToString(), timeout=60)

    told = ask.told("ModelInfer", raw({"words": words}, "unfilled_table"))

    assert told == (caught.value.code(), caught.value.details())
    assert told[0] is grpc.StatusCode.FAILED_PRECONDITION


def test_f_a_lost_model_server_is_unavailable(ask: OipAsker, stack: GrpcStack) -> None:
    """Also over the long way."""
    stack.transport.failures.append(Unavailable("no replica"))

    assert ask.told("ModelInfer", raw()) == (UNAVAILABLE, "no replica")


def test_f_a_deadline_that_passes_is_told(ask: OipAsker) -> None:
    """As for every method."""
    request = raw({"iterations": np.array(LONG_LOOP * 100, np.int32)}, "slow")

    with pytest.raises(grpc.RpcError) as caught:
        ask.channel.unary_unary(f"{SERVICE}ModelInfer")(request.SerializeToString(), timeout=0.2)

    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_f_calls_beyond_the_bound_of_the_port_are_unavailable_and_probes_are_not(saved_models: Path) -> None:
    """Version 2 says so where version 1 says RESOURCE_EXHAUSTED; a server under load must not look like a dead one."""
    with (
        GrpcStack(saved_models, {"slow": 1, "half_plus_two": 1}, most_calls=1) as stack,
        ThreadPoolExecutor(1) as pool,
    ):
        ask = OipAsker(stack.port)
        with ask.channel:
            long = pool.submit(ask.outputs, raw({"iterations": np.array(LONG_LOOP, np.int32)}, "slow"))
            wait_until(lambda: stack.executions["slow"].in_flight == 1, "the long call is in work")

            code, told = ask.told("ModelInfer", raw())
            assert ask.is_server_ready()
            assert not long.done()
            long.result(60)
            assert ask.outputs(raw())["y"].tolist() == [2.5, 3.0]

    assert (code, "--grpc_max_threads" in told) == (UNAVAILABLE, True)


# Any client.


async def test_calls_of_one_client_are_answered_side_by_side(stack: GrpcStack) -> None:
    """Over gRPC's asyncio client; each gets its own answer."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{stack.port}") as channel:
        infer = channel.unary_unary(f"{SERVICE}ModelInfer")
        bodies = [raw({"x": np.array([number], np.float32)}, id=str(number)) for number in range(100)]

        answers = [infer(one.SerializeToString(), timeout=60) for one in bodies]
        got = [oip_pb2.ModelInferResponse.FromString(await one) for one in answers]

    assert [one.id for one in got] == [str(number) for number in range(100)]
    assert [np.frombuffer(one.raw_output_contents[0], np.float32)[0] for one in got] == [
        0.5 * number + 2 for number in range(100)
    ]


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_a_compressed_call_is_answered(ask: OipAsker, compression) -> None:
    """It takes the long way."""
    infer = ask.channel.unary_unary(f"{SERVICE}ModelInfer")
    body = raw({"x": np.zeros(10_000, np.float32)}).SerializeToString()

    answer = infer(body, timeout=60, compression=compression)

    assert grpc_arrays(answer)["y"].shape == (10_000,)


@pytest.mark.parametrize("form", [raw, typed])
def test_a_large_tensor_is_answered(ask: OipAsker, form) -> None:
    """16 MiB, beyond gRPC's own limit of messages."""
    sent = np.arange(2**22, dtype=np.float32)
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    port = ask.channel._channel.target().decode()
    with grpc.insecure_channel(port, options=options) as channel:
        answer = channel.unary_unary(f"{SERVICE}ModelInfer")(form({"x": sent}).SerializeToString(), timeout=60)

    assert same(grpc_arrays(answer)["y"], sent * np.float32(0.5) + np.float32(2))


class RawConnection:
    """One HTTP/2 connection for many calls."""

    def __init__(self, client: RawHttp2) -> None:
        self._client = client
        self._streams = itertools.count(1, 2)

    def ask(self, method: str, body: bytes) -> int:
        """Return the status of a call."""
        return self._client.ask(next(self._streams), body, f"{SERVICE}{method}").status


@pytest.fixture(scope="module")
def connection(saved_models: Path) -> Iterator[RawConnection]:
    """A connection to our own server; gRPC's library ends one after many such calls, whatever answers them."""
    with GrpcStack(saved_models, MODELS) as stack, RawHttp2(stack.port) as client:
        yield RawConnection(client)
        assert client.is_alive()


MISTAKES = {int(code) for code in (Code.OK, Code.NOT_FOUND, Code.INVALID_ARGUMENT)}
METHODS = st.sampled_from(["ModelInfer", "ModelReady", "ModelMetadata", "ServerMetadata", "ServerLive"])


@given(METHODS, st.binary(max_size=100))
def test_any_bytes_get_a_status_and_the_connection_lives(connection: RawConnection, method, body) -> None:
    """The same connection answers all of them, and none as a defect of ours."""
    assert connection.ask(method, body) in MISTAKES


@given(INFER_REQUESTS)
def test_any_request_gets_a_status_and_the_connection_lives(connection: RawConnection, request_) -> None:
    """Of every structure: names, shapes, datatypes and contents that do not fit each other."""
    assert connection.ask("ModelInfer", request_.SerializeToString()) in MISTAKES
