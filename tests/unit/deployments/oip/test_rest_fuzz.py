"""Whatever a client sends below /v2, it gets an answer in JSON, and the next request gets its own."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from core.inference.signature import Signature, served_model
from core.versions.servable import ServableId
from deployments.inference.execution import Execution
from tests.support.clients import Reply
from tests.support.doors.model_stack import ModelStack
from tests.support.doors.oip_sites import GOOD, JSON_ANSWER, OipSite, OipSiteMaker
from tests.support.doors.raw_http import RawConnection, request
from tests.support.fakes import FakeLoaded
from tests.support.served_models import spec

FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
MODEL = ServableId("m", 1)
GOOD_BODY = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[2.0]}]}'

parts = st.sampled_from(
    [
        *("models", "m", "none", "versions", "labels", "1", "2", "stable", "infer", "ready", "stats", "config"),
        *("health", "live", "repository", "index", "load", "unload", "", "%", "%2F", "%00", "%FF", "%E2%82%AC", "m:x"),
        *("9" * 40, "-1", "..", ".", ";", "a" * 300, "*"),
    ]
)
queries = st.text("abcstrict=&;%+?#0123", max_size=20)
methods = st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"])
values = st.one_of(
    st.binary(max_size=30).map(lambda raw: bytes(one for one in raw if one >= 0x20 and one != 0x7F)),
    st.integers(-10, 300).map(lambda number: b"%d" % number),
    st.sampled_from(
        [b"gzip", b"deflate", b"identity", b"br", b"gzip;q=0", b"*", b"gzip, deflate", b"application/json"]
    ),
)
names = st.sampled_from(
    [
        *("Inference-Header-Content-Length", "Content-Encoding", "Accept-Encoding", "Content-Type", "Accept"),
        *("traceparent", "x-request-id", "Origin", "X-\u00e4"),
    ]
)
headers = st.lists(st.tuples(names, values), max_size=5)
json_values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=5),
        st.sampled_from(["x", "y", "FP32", "BYTES", "INT64", "BOOL", "BF16"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.sampled_from(
                ["name", "shape", "datatype", "data", "parameters", "binary_data_size", "binary_data", "inputs", "id"]
            ),
            inner,
            max_size=5,
        ),
    ),
    max_leaves=12,
)  # fmt: skip
tensors = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["x", "z"]) | json_values,
        "shape": st.lists(st.integers(-2, 4) | st.sampled_from([2**31, 2**62]), max_size=5) | json_values,
        "datatype": st.sampled_from(["FP32", "INT8", "BYTES"]) | json_values,
        "data": st.lists(st.floats(width=32), max_size=4) | json_values,
        "parameters": st.fixed_dictionaries({}, optional={"binary_data_size": st.integers(-2, 20) | json_values}),
    },
)
documents = st.fixed_dictionaries(
    {"inputs": st.lists(tensors, max_size=3) | json_values},
    optional={"outputs": st.lists(tensors, max_size=2) | json_values, "id": json_values, "parameters": json_values},
)
bodies = st.one_of(
    st.binary(max_size=200),
    documents.map(lambda one: json.dumps(one).encode("utf-8", "surrogatepass")),
    st.builds(lambda one, raw: json.dumps(one).encode() + raw, documents, st.binary(max_size=40)),
)


@pytest.fixture(scope="module")
def site(make_site: OipSiteMaker) -> OipSite:
    """A port whose versions give one answer."""
    return make_site()


@pytest.fixture(scope="module")
def stack() -> Iterator[ModelStack]:
    """A model that runs, whose port counts what it says."""
    signature = Signature({"x": spec("x:0", shape=None)}, {"y": spec("y:0", shape=None)})
    loaded = FakeLoaded(served_model("m", 1, {"serving_default": signature}))
    with ModelStack({MODEL: Execution(loaded, 2)}) as opened:
        yield opened


def written(method: str, target: str, more: list[tuple[str, bytes]], body: bytes = b"") -> bytes:
    """Write a request whose headers hold whatever bytes."""
    lines = [f"{method} {target} HTTP/1.1".encode(), b"Host: x", b"Content-Length: %d" % len(body)]
    lines += [b"%b: %b" % (name.encode("latin-1"), value) for name, value in more]
    return b"\r\n".join([*lines, b"", b""]) + body


def require_described(reply: Reply) -> None:
    """Fail unless an answer is one that a client of the protocol can read."""
    assert reply.status in {200, 400, 404, 405, 501, 503}, reply.body
    kind, body = reply.headers["content-type"], reply.body
    if "content-encoding" in reply.headers:
        body = {"gzip": gzip.decompress, "deflate": zlib.decompress}[reply.headers["content-encoding"]](body)
    length = int(reply.headers.get("inference-header-content-length", len(body)))
    assert kind == ("application/json" if length == len(body) else "application/octet-stream")
    if body:
        document = json.loads(body[:length])
        assert reply.status == 200 or {"error", "ready"} & document.keys()


def ask_and_go_on(port: int, content: bytes, method: str, good: bytes) -> Reply:
    """Send a request and then a good one, on the same connection where it lives on."""
    with RawConnection(port) as connection:
        reply = connection.ask(content, method)
        require_described(reply)
        if reply.headers.get("connection") != "close":
            assert connection.ask(request("POST", "/v2/models/m/infer", good)).status == 200
            return reply
    with RawConnection(port) as connection:
        assert connection.ask(request("POST", "/v2/models/m/infer", good)).status == 200
    return reply


@FUZZ
@given(methods, st.lists(parts, max_size=7), queries, headers)
@example("POST", ["models", "m", "infer"], "", [("Content-Encoding", b"gzip, gzip")])
def test_any_target_is_answered(
    site: OipSite, method: str, path: list[str], query: str, more: list[tuple[str, bytes]]
) -> None:
    """With any method and any headers; what has no target of its own is not found."""
    target = "/".join(["/v2", *path]) + query.replace(" ", "")
    content = written(method, target, more)
    with RawConnection(site.port) as connection:
        reply = connection.ask(content, method)
        if target.startswith(("/v2/", "/v2?", "/v2#")) or target == "/v2":
            require_described(reply)
        if reply.headers.get("connection") != "close":
            assert connection.ask(request("POST", "/v2/models/m/infer", b"{}")).body == JSON_ANSWER
    assert site.transport.answer == GOOD


@FUZZ
@given(headers, bodies)
def test_any_body_is_answered(stack: ModelStack, more: list[tuple[str, bytes]], body: bytes) -> None:
    """With any headers: by a real model server, which goes on."""
    ask_and_go_on(stack.rest_port, written("POST", "/v2/models/m/infer", more, body), "POST", GOOD_BODY)


@FUZZ
@given(documents, st.binary(max_size=40), st.integers(-3, 3), st.sampled_from(["", "gzip", "deflate"]))
def test_any_cut_between_json_and_tensors_is_answered(
    stack: ModelStack, document: dict, raw: bytes, shift: int, coding: str
) -> None:
    """Also a wrong one, packed or not."""
    head = json.dumps(document).encode()
    body = {"": bytes, "gzip": gzip.compress, "deflate": zlib.compress}[coding](head + raw)
    more = [("Inference-Header-Content-Length", b"%d" % (len(head) + shift))]
    more += [("Content-Encoding", coding.encode())] if coding else []
    ask_and_go_on(stack.rest_port, written("POST", "/v2/models/m/infer", more, body), "POST", GOOD_BODY)


@FUZZ
@given(st.binary(min_size=1, max_size=60), st.integers(0, 200))
def test_damaged_packed_bodies_are_answered(stack: ModelStack, noise: bytes, at: int) -> None:
    """Wherever the damage is."""
    packed = gzip.compress(GOOD_BODY)
    body = packed[: at % len(packed)] + noise + packed[at % len(packed) + len(noise) :]
    content = written("POST", "/v2/models/m/infer", [("Content-Encoding", b"gzip")], body)
    ask_and_go_on(stack.rest_port, content, "POST", GOOD_BODY)
