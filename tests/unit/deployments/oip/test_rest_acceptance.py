"""The acceptance cases of version 2 over REST, each by its letter, with real model servers behind real sockets."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from core.errors import HTTP_STATUS, Code, DeadlineExceeded, RuntimeFailure, Unavailable
from core.inference.dtypes import DataType
from core.inference.signature import Signature, served_model
from core.routing.table import ModelRoutes
from core.routing.transport import TIMED_OUT, Answer
from core.versions.lifecycle import State
from core.versions.servable import ServableId
from deployments.inference.execution import Execution
from tests.support.clients import Reply
from tests.support.doors.model_stack import ModelStack
from tests.support.doors.oip_sites import OipSite, OipSiteMaker, model_of
from tests.support.doors.raw_http import RawConnection, chunked, request
from tests.support.fakes import FakeLoaded
from tests.support.served_models import spec

COLUMN = Signature({"x": spec("x:0", shape=(-1,))}, {"y": spec("y:0", shape=(-1,))})
PAIR = Signature({"x": spec("x:0", shape=(-1, 2))}, {"y": spec("y:0", shape=(-1, 2))})
INTEGERS = Signature({"x": spec("x:0", DataType.INT64, (-1,))}, {"y": spec("y:0", DataType.INT64, (-1,))})
H2 = "/v2/models/half_plus_two"
X = np.array([1.0, 2.0, 5.0], np.float32)
Y = [2.5, 3.0, 4.5]
JSON_BODY = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [3], "data": [1.0, 2.0, 5.0]}]}).encode()
RAW_HEAD = json.dumps(
    {"inputs": [{"name": "x", "datatype": "FP32", "shape": [3], "parameters": {"binary_data_size": 12}}]}
).encode()
RAW_BODY = RAW_HEAD + X.tobytes()
LENGTH = f"Inference-Header-Content-Length: {len(RAW_HEAD)}"


def raises(_: np.ndarray) -> np.ndarray:
    """Fail as TensorFlow does."""
    raise RuntimeFailure(Code.OUT_OF_RANGE, "value 7 is out of range")


def breaks(_: np.ndarray) -> np.ndarray:
    """Fail as code does that nobody foresaw."""
    raise RuntimeFailure(Code.INTERNAL, "the device is lost")


@pytest.fixture(scope="module")
def stack() -> Iterator[ModelStack]:
    """Half plus two in two versions, models that fail, and models that do not answer."""
    served = {
        ServableId("half_plus_two", 1): FakeLoaded(served_model("half_plus_two", 1, {"serving_default": COLUMN})),
        ServableId("half_plus_two", 2): FakeLoaded(
            served_model("half_plus_two", 2, {"serving_default": COLUMN, "pair": PAIR}), lambda x: x * 0 + 2
        ),
        ServableId("raises", 1): FakeLoaded(served_model("raises", 1, {"serving_default": COLUMN}), raises),
        ServableId("breaks", 1): FakeLoaded(served_model("breaks", 1, {"serving_default": COLUMN}), breaks),
        ServableId("integers", 1): FakeLoaded(served_model("integers", 1, {"serving_default": INTEGERS}), lambda x: x),
    }
    with ModelStack({key: Execution(one, 2) for key, one in served.items()}) as site:
        site.know(
            {
                "loading": model_of(v1=State.LOADING),
                "gone": model_of(v1=State.END),
                "half_plus_two": _with_states(site, v3=State.LOADING, v4=State.UNLOADING),
            }
        )
        yield site


def _with_states(site: ModelStack, **states: State) -> ModelRoutes:
    known = site._table.models["half_plus_two"]
    more = model_of(**states).statuses
    return replace(known, statuses=(*more, *known.statuses), labels={"stable": 1, "canary": 2, "next": 3})


@pytest.fixture
def connection(stack: ModelStack) -> Iterator[RawConnection]:
    """A connection that must live on, whatever the answers were."""
    with RawConnection(stack.rest_port) as opened:
        yield opened
        assert opened.ask(request("POST", f"{H2}/infer", JSON_BODY)).status == 200


def get(connection: RawConnection, target: str) -> Reply:
    return connection.ask(request("GET", target), "GET")


def post(connection: RawConnection, target: str, body: bytes, *headers: str) -> Reply:
    return connection.ask(request("POST", target, body, *headers))


# A: live, ready and model-ready.


def test_a_health_is_told_in_json(connection: RawConnection) -> None:
    """As KServe's client parses it."""
    assert (get(connection, "/v2/health/live").json, get(connection, "/v2/health/ready").json) == (
        {"live": True},
        {"ready": True},
    )


@pytest.mark.parametrize(
    ("place", "status"),
    [
        ("/half_plus_two", 200),
        ("/half_plus_two/versions/1", 200),
        ("/half_plus_two/versions/2", 200),
        ("/half_plus_two/labels/stable", 200),
        ("/half_plus_two/versions/3", 503),
        ("/half_plus_two/versions/9", 404),
        ("/loading", 503),
        ("/none", 404),
    ],
)
def test_a_a_model_is_ready_when_it_answers(connection: RawConnection, place: str, status: int) -> None:
    """Before its load it is not, and an unknown one never is."""
    reply = get(connection, f"/v2/models{place}/ready")

    assert reply.status == status
    assert reply.json["ready"] is (status == 200)
    assert reply.headers["content-type"] == "application/json"


def test_a_a_model_becomes_ready_with_its_load(stack: ModelStack, connection: RawConnection) -> None:
    """And not before."""
    stack.know({"late": model_of(v1=State.LOADING)})
    before = get(connection, "/v2/models/late/ready")
    stack.know({"late": model_of(1)})
    after = get(connection, "/v2/models/late/ready")

    assert (before.status, after.status) == (503, 200)


# B: metadata.


@pytest.mark.parametrize(
    ("place", "versions"),
    [("", ["1", "2"]), ("/versions/1", ["1"]), ("/versions/2", ["2"]), ("/labels/stable", ["1"])],
)
def test_b_metadata_of_half_plus_two(connection: RawConnection, place: str, versions: list[str]) -> None:
    """Names, types, shapes, platform, and the versions that answer."""
    assert get(connection, H2 + place).json == {
        "name": "half_plus_two",
        "versions": versions,
        "platform": "tensorflow_savedmodel",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1]}],
    }


def test_b_metadata_of_another_signature(connection: RawConnection) -> None:
    """Of the version that is asked for; one that it lacks is refused."""
    pair = get(connection, f"{H2}?signature_name=pair")
    missing = get(connection, f"{H2}/versions/1?signature_name=pair")

    assert [one["shape"] for one in pair.json["inputs"]] == [[-1, 2]]
    assert (missing.status, missing.error) == (400, "model 'half_plus_two' has no signature 'pair'")


# C: the rows of inference that are HTTP's.


def outputs(reply: Reply) -> list[float]:
    """Return the only output, in whichever form it came."""
    assert reply.status == 200, reply.body
    body = reply.body
    if "content-encoding" in reply.headers:
        body = {"gzip": gzip.decompress, "deflate": zlib.decompress}[reply.headers["content-encoding"]](body)
    length = int(reply.headers.get("inference-header-content-length", len(body)))
    assert reply.headers["content-type"] == ("application/json" if length == len(body) else "application/octet-stream")
    (output,) = json.loads(body[:length])["outputs"]
    if "data" in output:
        return output["data"]
    assert output["parameters"]["binary_data_size"] == len(body) - length
    return np.frombuffer(body[length:], np.float32).tolist()


@pytest.mark.parametrize(("coding", "pack"), [("", bytes), ("gzip", gzip.compress), ("deflate", zlib.compress)])
@pytest.mark.parametrize(
    ("body", "headers"),
    [(JSON_BODY, ()), (JSON_BODY, ("Content-Type: application/octet-stream",)), (RAW_BODY, (LENGTH,))],
    ids=["JSON", "JSON that says that it is octets", "raw"],
)
def test_c_bodies_in_every_coding(
    connection: RawConnection, coding: str, pack: Callable[[bytes], bytes], body: bytes, headers: tuple[str, ...]
) -> None:
    """The length of the JSON is that of the unpacked one."""
    coded = (f"Content-Encoding: {coding}",) if coding else ()

    assert outputs(post(connection, f"{H2}/versions/1/infer", pack(body), *headers, *coded)) == Y


@pytest.mark.parametrize("coding", ["", "gzip", "deflate"])
@pytest.mark.parametrize("is_binary", [False, True])
@pytest.mark.parametrize("count", [3, 2000, 50_000])
def test_c_answers_in_every_coding(connection: RawConnection, coding: str, count: int, *, is_binary: bool) -> None:
    """Small ones stay as they are; large ones are packed elsewhere."""
    document = {
        "parameters": {"binary_data_output": is_binary},
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [count], "data": [1.0] * count}],
    }
    accepted = (f"Accept-Encoding: {coding}",) if coding else ()
    reply = post(connection, f"{H2}/versions/1/infer", json.dumps(document).encode(), *accepted)

    assert outputs(reply) == [2.5] * count
    assert reply.headers.get("content-encoding", "") == (coding if count > 3 else "")


def test_c_a_body_in_chunks_with_raw_tensors(connection: RawConnection) -> None:
    """However the pieces lie."""
    head, _, rest = chunked("POST", f"{H2}/versions/1/infer", RAW_BODY[:20], RAW_BODY[20:-5], RAW_BODY[-5:]).partition(
        b"\r\n"
    )

    assert outputs(connection.ask(head + b"\r\n" + LENGTH.encode() + b"\r\n" + rest)) == Y


@pytest.mark.parametrize("coded", [(), ("Content-Encoding: gzip",)], ids=["plain", "gzip"])
def test_c_a_length_of_0_is_a_raw_request(connection: RawConnection, coded: tuple[str, ...]) -> None:
    """The whole body is the one input; all outputs are raw. Or it is refused, as a server may that lacks this."""
    body = gzip.compress(X.tobytes()) if coded else X.tobytes()
    reply = post(connection, f"{H2}/versions/1/infer", body, "Inference-Header-Content-Length: 0", *coded)

    assert reply.status in {200, 400}
    if reply.status == 200:
        assert outputs(reply) == Y


# F: every condition of the table of errors.


@dataclass(frozen=True)
class Refused:
    """A request, and what its answer must be."""

    what: str
    content: bytes
    status: int
    text: str
    retry: bool = False

    def __str__(self) -> str:
        return self.what


def inferred(what: str, body: Any, status: int, text: str, *headers: str, target: str = f"{H2}/infer") -> Refused:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Refused(what, request("POST", target, content, *headers), status, text, retry=status == 503)


def told(what: str, target: str, status: int, text: str, method: str = "GET") -> Refused:
    return Refused(what, request(method, target), status, text, retry=status == 503)


def tensor(**changed: Any) -> dict[str, Any]:
    one = {"name": "x", "datatype": "FP32", "shape": [3], "data": [1.0, 2.0, 5.0]} | changed
    return {"inputs": [{key: value for key, value in one.items() if value is not None}]}


NOT_FOUND = "Request for unknown model: 'none' is not found"
REFUSED = [
    inferred("unknown model: infer", JSON_BODY, 404, NOT_FOUND, target="/v2/models/none/infer"),
    inferred("unknown model: infer without a body", b"", 404, NOT_FOUND, target="/v2/models/none/infer"),
    inferred("unknown model: infer of nonsense", b"{nonsense", 404, NOT_FOUND, target="/v2/models/none/infer"),
    told("unknown model: metadata", "/v2/models/none", 404, NOT_FOUND),
    told("unknown model: ready", "/v2/models/none/ready", 404, NOT_FOUND),
    inferred("no version ready, one loads", JSON_BODY, 503, "'loading' that is not ready", target="/v2/models/loading/infer"),
    told("no version ready, one loads: metadata", "/v2/models/loading", 503, "'loading' that is not ready"),
    inferred("no version ready, none loads", JSON_BODY, 404, "has no available versions", target="/v2/models/gone/infer"),
    inferred("unknown version", JSON_BODY, 404, "version 9 is not found", target=f"{H2}/versions/9/infer"),
    told("unknown version: metadata", f"{H2}/versions/9", 404, "version 9 is not found"),
    inferred("version loads", JSON_BODY, 503, "version 3 that is not ready", target=f"{H2}/versions/3/infer"),
    inferred("version unloads", JSON_BODY, 503, "version 4 that is not ready", target=f"{H2}/versions/4/infer"),
    inferred("unknown label", JSON_BODY, 404, "label 'none' is not found", target=f"{H2}/labels/none/infer"),
    inferred("label of a version that loads", JSON_BODY, 503, "version 3 that is not ready", target=f"{H2}/labels/next/infer"),
    inferred("version is not a number", JSON_BODY, 404, "version string 'one'", target=f"{H2}/versions/one/infer"),
    told("version is not a number: metadata", f"{H2}/versions/1.0", 404, "version string '1.0'"),
    told("version is beyond 63 bits", f"{H2}/versions/{2**63}", 404, f"version string '{2**63}'"),
    inferred("malformed JSON", b'{"inputs": [', 400, ""),
    inferred("JSON that is not an object", b"[]", 400, ""),
    inferred("bytes that are not JSON", b"\xff\xfe\0", 400, ""),
    inferred("empty body", b"", 400, ""),
    inferred("no inputs", {}, 400, "inputs"),
    inferred("empty inputs", {"inputs": []}, 400, "inputs"),
    inferred("id is a number", {**tensor(), "id": 7}, 400, "id"),
    inferred("unknown datatype", tensor(datatype="FP33"), 400, "FP33"),
    inferred("wrong datatype", tensor(datatype="FP64"), 400, "FP64"),
    inferred("wrong shape", tensor(shape=[3, 1]), 400, "[3,1]"),
    inferred("wrong name", tensor(name="z"), 400, "'z'"),
    inferred("count is not that of the shape", tensor(shape=[4]), 400, "4"),
    inferred("negative dimension", tensor(shape=[-1]), 400, "'x'"),
    inferred("absurd shape", tensor(shape=[2**62, 2**62]), 400, "'x'"),
    inferred("no data", tensor(data=None), 400, "'x'"),
    inferred("unknown output", {**tensor(), "outputs": [{"name": "z"}]}, 400, "'z'"),
    inferred("integer with a fraction", tensor(datatype="INT64", data=[1.5, 2, 3]), 400, "'x'", target="/v2/models/integers/infer"),
    inferred("raw size is not that of the shape", RAW_HEAD.replace(b": 12", b": 8") + bytes(8), 400, "'x'", f"Inference-Header-Content-Length: {len(RAW_HEAD) - 1}"),
    inferred("too few raw bytes", RAW_BODY[:-1], 400, "'x'", LENGTH),
    inferred("raw bytes left over", RAW_BODY + b"\0", 400, "1 ", LENGTH),
    inferred("length of the JSON is negative", RAW_BODY, 400, "Inference-Header-Content-Length", "Inference-Header-Content-Length: -1"),
    inferred("length of the JSON is beyond the body", RAW_BODY, 400, str(len(RAW_BODY)), f"Inference-Header-Content-Length: {len(RAW_BODY) + 1}"),
    inferred("length of the JSON is not a number", RAW_BODY, 400, "x1", "Inference-Header-Content-Length: x1"),
    inferred("model raised a client's error", JSON_BODY, 400, "value 7 is out of range", target="/v2/models/raises/infer"),
    inferred("model raised an error of its own", JSON_BODY, 500, "the device is lost", target="/v2/models/breaks/infer"),
    inferred("unknown coding", JSON_BODY, 501, "Content-Encoding 'br' is not supported", "Content-Encoding: br"),
    inferred("body that is not packed", JSON_BODY, 400, "cannot be unpacked as gzip", "Content-Encoding: gzip"),
    inferred("body that is cut", zlib.compress(JSON_BODY)[:-2], 400, "not complete", "Content-Encoding: deflate"),
    told("wrong method: infer", f"{H2}/infer", 405, "Method Not Allowed"),
    told("wrong method: health", "/v2/health/live", 405, "Method Not Allowed", "POST"),
    told("wrong method: metadata", H2, 405, "Method Not Allowed", "DELETE"),
    told("method that no API knows", H2, 405, "Method Not Allowed", "TRACE"),
    told("unknown path", "/v2/none", 404, "Not Found"),
    told("unknown path of a model", f"{H2}/generate", 404, "Not Found", "POST"),
    told("configuration", f"{H2}/config", 501, "config is not offered"),
]  # fmt: skip


@pytest.mark.parametrize("refused", REFUSED, ids=str)
def test_f_every_condition_has_its_status_and_a_json_body(connection: RawConnection, refused: Refused) -> None:
    """The connection goes on after each."""
    reply = connection.ask(refused.content)

    assert reply.status == refused.status, reply.body
    assert reply.json.keys() >= {"error"}
    assert refused.text in reply.error
    assert reply.headers["content-type"] == "application/json"
    assert ("retry-after" in reply.headers) is refused.retry
    assert ("allow" in reply.headers) is (refused.status == 405)
    assert reply.headers.get("connection") != "close"


@pytest.fixture(scope="module")
def fake(make_site: OipSiteMaker) -> OipSite:
    """A port whose versions answer what a test says, and whose bodies may have 100 bytes."""
    return make_site(max_body_bytes=100)


@pytest.mark.parametrize("code", [one for one in Code if one is not Code.OK])
@pytest.mark.parametrize("target", ["/v2/models/m/infer", "/v2/models/m"])
def test_f_codes_of_models_have_the_statuses_of_version_1(fake: OipSite, code: Code, target: str) -> None:
    """And 503 asks to come back."""
    fake.forget(Answer(code, "n\u00e4in \udcff".encode("utf-8", "surrogateescape")))
    method = "POST" if target.endswith("infer") else "GET"
    with fake.connect() as opened:
        replies = [opened.ask(request(method, target), method) for _ in range(2)]

    expected = HTTP_STATUS[code]
    for reply in replies:
        assert (reply.status, reply.error) == (expected, "n\u00e4in \ufffd")
        assert reply.headers["content-type"] == "application/json"
        assert ("retry-after" in reply.headers) is (expected == 503)


@pytest.mark.parametrize(
    ("failure", "status"), [(Unavailable("the queue is full"), 503), (DeadlineExceeded(TIMED_OUT), 504)]
)
def test_f_overload_and_deadlines(fake: OipSite, failure: Exception, status: int) -> None:
    """Of the way to a version, too."""
    fake.forget(failure)
    reply = fake.ask(request("POST", "/v2/models/m/infer", b"{}"))

    assert (reply.status, reply.error) == (status, str(failure))
    assert reply.headers.get("retry-after") == ("1" if status == 503 else None)


@pytest.mark.parametrize("packed", [bytes, gzip.compress])
def test_f_a_body_that_is_too_large_ends_the_connection(fake: OipSite, packed: Callable[[bytes], bytes]) -> None:
    """The rest of it is not kept, as in version 1."""
    body = packed(bytes(range(256)))
    coded = ("Content-Encoding: gzip",) if packed is not bytes else ()
    with fake.connect() as opened:
        reply = opened.ask(request("POST", "/v2/models/m/infer", body, *coded))
        assert (reply.status, reply.headers["connection"]) == (413, "close")
        assert reply.error == "The request body is larger than the limit of 100 bytes (--rest_api_max_body_bytes)."
        assert opened.is_closed()


@pytest.mark.parametrize(
    ("content", "status", "text"),
    [
        (b"GET /v2 HTTP/1.1\r\n\r\n", 400, "Bad Request"),
        (b"GET /v2 HTTP/1.1\r\nHost: x\r\nExpect: wonders\r\n\r\n", 417, "Expectation Failed"),
        (b"GET /v2 HTTP/2.0\r\nHost: x\r\n\r\n", 505, "HTTP Version Not Supported"),
        (b"POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: x, chunked\r\n\r\n", 501, "Not Implemented"),
        (b"POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "Bad Request"),
        (b"GET /v2 HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 2000, 431, "Request Header Fields Too Large"),
    ],
)  # fmt: skip
def test_f_refusals_of_the_http_layer_are_json_below_version_2(
    fake: OipSite, content: bytes, status: int, text: str
) -> None:
    """So far as their target is known; the connection ends, as the bytes behind them mean nothing."""
    with fake.connect() as opened:
        reply = opened.ask(content)
        assert (reply.status, reply.json) == (status, {"error": text})
        assert reply.headers["content-type"] == "application/json"
        assert opened.is_closed()


@pytest.mark.parametrize("content", [b"nonsense\r\n\r\n", b"GET /v1/models HTTP/1.1\r\n\r\n", b"\x16\x03\x01\r\n"])
def test_f_refusals_outside_version_2_stay_pages(fake: OipSite, content: bytes) -> None:
    """As TensorFlow Serving sends them; also behind a request of version 2."""
    with fake.connect() as opened:
        assert opened.ask(request("GET", "/v2"), "GET").status == 200
        reply = opened.ask(content)
        assert (reply.status, reply.headers["content-type"]) == (400, "text/html")


# L: versions and labels.


@pytest.mark.parametrize(
    ("place", "version"),
    [("", "2"), ("/versions/1", "1"), ("/versions/2", "2"), ("/labels/stable", "1"), ("/labels/canary", "2")],
)
@pytest.mark.parametrize("packed", [(), ("Content-Encoding: gzip",)], ids=["short", "long"])
def test_l_the_version_that_answered_is_named(
    connection: RawConnection, place: str, version: str, packed: tuple[str, ...]
) -> None:
    """While both serve; of a label, the version that it names."""
    body = gzip.compress(JSON_BODY) if packed else JSON_BODY
    answer = post(connection, f"{H2}{place}/infer", body, *packed).json

    assert (answer["model_name"], answer["model_version"]) == ("half_plus_two", version)
    assert answer["outputs"][0]["data"] == (Y if version == "1" else [2.0] * 3)
