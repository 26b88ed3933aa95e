"""REST on real connections, through routers and model servers: framing, limits, odd bodies and odd values."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from core.routing.table import ModelRoutes, Route, RoutingTable
from core.versions.servable import ServableId
from deployments.rest.api import HttpApi, HttpLimits
from deployments.rest.door import HttpAddress, HttpDoor
from deployments.routing import request_router
from deployments.routing.handle_transport import HandleTransport
from deployments.routing.replica_directory import ReplicaDirectory
from deployments.routing.request_router import RequestRouter
from deployments.routing.version_transport import VersionTransport
from deployments.system.event_loop import LoopThread
from tests.integration.conftest import LiveServer
from tests.integration.test_model_settings import at_once
from tests.support.clients import Reply, RestClient, free_port
from tests.support.doors.raw_http import HOST, RawConnection, chunked, request
from tests.support.hostile_bodies import UNITS, hostile

PREDICT = "/v1/models/half_plus_two:predict"
BODY = b'{"instances": [1.0, 2.0, 5.0]}'
GOOD = request("POST", PREDICT, BODY)
ANSWER = {"predictions": [2.5, 3.0, 4.5]}
MIB = 2**20


@pytest.fixture
def connection(server: LiveServer) -> Iterator[RawConnection]:
    """A TCP connection to the REST port."""
    with RawConnection(server.rest_port, timeout_s=60) as opened:
        yield opened


def test_one_connection_takes_requests_of_every_kind(connection: RawConnection) -> None:
    """One after the other, without being closed."""
    kinds = [
        GOOD,
        chunked("POST", PREDICT, BODY[:7], BODY[7:]),
        request("POST", PREDICT, gzip.compress(BODY), "Content-Encoding: gzip"),
        request("POST", PREDICT, BODY, "Content-Type: text/plain"),
        request("POST", "/v1/models/half%5Fplus%5Ftwo/versions/1:predict", BODY),
        request("POST", PREDICT, BODY.replace(b"1.0", b"1.000" + b"0" * 100_000)),
    ]

    for kind in kinds:
        reply = connection.ask(kind)
        assert (reply.status, reply.json) == (200, ANSWER)


def test_pipelined_requests_are_answered_in_order(connection: RawConnection) -> None:
    """Slow and quick ones, good and bad ones, in one packet."""
    slow = request("POST", "/v1/models/slow:predict", b'{"inputs": 300}')
    bad = request("POST", PREDICT, b"[]")
    connection.send(slow + GOOD + bad + request("GET", "/v1/models/nope") + slow + GOOD)

    replies = [connection.reply() for _ in range(6)]

    assert [reply.status for reply in replies] == [200, 200, 400, 404, 200, 200]
    assert replies[0].json["outputs"]["rounds"] == 300
    assert replies[1].json == replies[5].json == ANSWER


def test_a_body_is_asked_for_when_it_is_wanted(connection: RawConnection) -> None:
    """`Expect: 100-continue`, as curl sends it with large bodies."""
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {len(BODY)}\r\n\r\n"

    assert connection.ask(head.encode()).status == 100
    assert connection.ask(BODY).json == ANSWER


def test_a_length_beyond_all_limits_is_refused_before_the_body_comes(connection: RawConnection) -> None:
    """Two GiB are the limit unless the operator sets another; the flag is named."""
    reply = connection.ask(f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: {2**31}\r\n\r\n".encode())

    assert (reply.status, reply.headers["connection"]) == (413, "close")
    assert reply.error.endswith(f"limit of {2**31 - 1} bytes (--rest_api_max_body_bytes).")


@pytest.mark.parametrize(
    ("size", "status"),
    [pytest.param(100 * MIB, 200, id="just the limit"), pytest.param(100 * MIB + 1, 400, id="one byte more")],
)
def test_gzip_bodies_have_a_limit_of_their_own(connection: RawConnection, size: int, status: int) -> None:
    """A hundred mebibytes unpacked; a bomb counts as an empty body."""
    bomb = gzip.compress(BODY + b" " * (size - len(BODY)), compresslevel=1)

    reply = connection.ask(request("POST", PREDICT, bomb, "Content-Encoding: gzip"))

    assert reply.status == status
    assert reply.json == (ANSWER if status == 200 else {"error": "JSON Parse error: The document is empty"})


def test_bombs_do_not_keep_others_waiting(server: LiveServer, client: RestClient) -> None:
    """While bombs are unpacked, the router answers."""
    bomb = request("POST", PREDICT, gzip.compress(b"[" * 200 * MIB), "Content-Encoding: gzip")
    done = threading.Event()
    replies: list[Reply] = []

    def attack() -> None:
        with RawConnection(server.rest_port, timeout_s=60) as connection:
            replies.extend(connection.ask(bomb) for _ in range(3))
        done.set()

    attacker = threading.Thread(target=attack)
    attacker.start()
    answered = 0
    while not done.is_set():
        assert client.predict("half_plus_two", [1.0]) == [2.5]
        answered += 1
    attacker.join(60)

    assert [reply.status for reply in replies] == [400, 400, 400]
    assert answered > len(replies)


@pytest.mark.parametrize("cut", [0.1, 0.5, 0.99])
def test_a_client_that_goes_while_it_sends_harms_nobody(server: LiveServer, client: RestClient, cut: float) -> None:
    """Neither other requests nor the version."""
    with RawConnection(server.rest_port) as connection:
        connection.send(GOOD[: int(len(GOOD) * cut)])

    assert client.predict("half_plus_two", [1.0]) == [2.5]


def test_a_client_that_goes_while_it_waits_harms_nobody(server: LiveServer, client: RestClient) -> None:
    """Its request runs or is dropped; the next ones are answered."""
    for _ in range(5):
        with RawConnection(server.rest_port) as connection:
            connection.send(request("POST", "/v1/models/slow:predict", b'{"inputs": 1000}'))

    assert client.post("/v1/models/slow:predict", {"inputs": 3}).json["outputs"]["rounds"] == 3


def test_slow_clients_are_waited_for(server: LiveServer, client: RestClient) -> None:
    """Many that hardly send anything do not keep one that sends from its answer."""
    slow = [RawConnection(server.rest_port) for _ in range(50)]
    try:
        for connection in slow:
            connection.send(GOOD[:-5])
        assert client.predict("half_plus_two", [1.0]) == [2.5]
        for connection in slow:
            assert connection.ask(GOOD[-5:]).json == ANSWER
    finally:
        for connection in slow:
            connection.socket.close()


def test_preflights_and_heads(connection: RawConnection) -> None:
    """The session's server has CORS off: preflights are answered, without its headers."""
    preflight = connection.ask(request("OPTIONS", PREDICT, b"", "Origin: https://a.b"))
    without = connection.ask(request("OPTIONS", PREDICT))
    head = connection.ask(request("HEAD", "/v1/models/half_plus_two"), "HEAD")

    assert [preflight.status, without.status, head.status] == [200, 400, 400]
    assert preflight.body == without.body == b""
    assert not any(name.startswith("access-control") for name in preflight.headers)


@pytest.mark.parametrize(
    ("target", "status"),
    [
        pytest.param("/v1/models/half_plus_two?query=value", 404, id="case_Q6-query"),
        pytest.param("/v1/models/half_plus_two#fragment", 404, id="case_Q6-fragment"),
        pytest.param("/nope", 404, id="case_Q1"),
        ("/v1/models/half_plus_two/", 400),
    ],
)
def test_targets_are_taken_as_they_are(connection: RawConnection, target: str, status: int) -> None:
    """Query and fragment are part of a name, as in TensorFlow Serving."""
    reply = connection.ask(request("GET", target))

    assert reply.status == status
    assert reply.body


DOOR_MODELS = {"slow": 1, "half_plus_two": 1, "tf1_half_plus_two": 123}


@dataclass
class StrictDoor:
    """A REST port of this process in front of the session's model servers, with limits of its own."""

    port: int

    def client(self) -> RestClient:
        return RestClient(self.port)


def _labelled(route: Route) -> ModelRoutes:
    version = route.servable.version
    return ModelRoutes({version: route}, {"label": version}, ())


Opener = Callable[..., StrictDoor]


@pytest.fixture
def open_door(server: LiveServer) -> Iterator[Opener]:
    """Opens ports with other limits than the session's server has."""
    del server
    loop = LoopThread("strict-door")
    doors: list[HttpDoor] = []
    directories: list[ReplicaDirectory] = []

    async def opened(port: int, limits: HttpLimits) -> None:
        routes = [Route.of(ServableId(name, version)) for name, version in DOOR_MODELS.items()]
        handles = HandleTransport()
        directory = ReplicaDirectory("elsewhere", handles)
        directories.append(directory)
        await directory.connect([route.app for route in routes])
        router = RequestRouter("strict", VersionTransport(directory, handles))
        models = {route.servable.name: _labelled(route) for route in routes}
        router.apply(RoutingTable(1, models, settled=True))
        doors.append(HttpDoor(HttpAddress(HOST, port), HttpApi(router, limits, "strict"), "strict"))
        await doors[-1].open()

    def make(**limits: Any) -> StrictDoor:
        port = free_port()
        loop.run(opened(port, HttpLimits(**limits))).result(60)
        return StrictDoor(port)

    yield make
    for door in doors:
        loop.run(door.drain(5.0)).result(60)
    for directory in directories:
        loop.run(directory.keep_only(())).result(60)
    loop.stop()
    loop.join(60)


def test_a_run_that_takes_too_long_gets_504(open_door: Opener) -> None:
    """`--rest_api_timeout_in_ms`, with TensorFlow's own text, and the version goes on."""
    reply = open_door(timeout_s=2.0).client().post("/v1/models/slow:predict", {"inputs": 1_000_000_000})

    assert reply.status == 504
    assert reply.error == "Timed out waiting for notification"
    assert open_door().client().post("/v1/models/slow:predict", {"inputs": 1}).status == 200


def test_a_full_queue_gets_503(open_door: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than may wait for a version are refused at once; later ones are answered."""
    monkeypatch.setattr(request_router, "MOST_CALLS_IN_FLIGHT", 2)
    door = open_door()
    replies: list[Reply] = []

    def send() -> None:
        replies.append(door.client().post("/v1/models/slow:predict", {"inputs": 100_000}))

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert sorted({reply.status for reply in replies}) == [200, 503]
    assert {reply.error for reply in replies if reply.status == 503} == {
        "2 requests are waiting for {name: slow version: 1}; try again later."
    }
    assert door.client().post("/v1/models/slow:predict", {"inputs": 1}).status == 200


def test_case_A33_cors_headers_stand_on_every_answer_of_the_api(open_door: Opener) -> None:
    """With the flag; the pages that are not the API's have none."""
    client = open_door(cors=True).client()
    wanted = {
        "access-control-allow-origin": "*",
        "access-control-allow-methods": "POST, GET",
        "access-control-allow-headers": "Content-Type",
    }

    for method, target in [("POST", PREDICT), ("GET", "/v1/models/nope"), ("OPTIONS", PREDICT), ("PUT", "/v1/x")]:
        assert wanted.items() <= client.send(method, target, BODY).headers.items()
    for method, target in [("TRACE", "/v1/models/half_plus_two"), ("GET", "/healthz"), ("GET", "/nope")]:
        assert not wanted.keys() & client.send(method, target).headers.keys()


@pytest.mark.parametrize(
    ("path", "body", "wanted"),
    [
        pytest.param("half_plus_two/labels/label:predict", {"instances": [1.0, 2.0]}, {"predictions": [2.5, 3.0]}, id="case_D3"),
        pytest.param("tf1_half_plus_two/labels/label:classify", {"signature_name": "classify_x_to_y", "examples": [{"x": 10.0}]}, {"results": [[["", 7.0]]]}, id="case_D14"),
    ],
)  # fmt: skip
def test_a_label_leads_to_its_version(open_door: Opener, path: str, body: object, wanted: object) -> None:
    """With every method."""
    assert open_door().client().post(f"/v1/models/{path}", body).json == wanted


SMALL = 20_000
MODELS = ("half_plus_two", "several", "text_upper", "batched", "scalar_output", "no_signatures")


@pytest.mark.parametrize("verb", ["predict", "classify", "regress"])
def test_hostile_bodies_are_refused_and_nothing_breaks(client: RestClient, verb: str) -> None:
    """Each kind, to models of each kind: never a defect of the server, and the next request is answered."""
    for kind in UNITS:
        for model in ("tf1_half_plus_two",) if verb != "predict" else MODELS:
            reply = client.post(f"/v1/models/{model}:{verb}", hostile(kind, SMALL))
            assert reply.status in {200, 400}, (kind, model, reply.body[:200])
    assert client.predict("half_plus_two", [1.0]) == [2.5]


def test_much_junk_is_refused_quickly(client: RestClient) -> None:
    """Sixty-four mebibytes that would need gigabytes to read."""
    reply = client.post(PREDICT, b'{"junk": [' + b"[]," * (64 * MIB // 3))

    assert reply.status == 400
    assert "Send fewer examples in one request." in reply.error


def test_case_B2_half_a_million_levels(client: RestClient) -> None:
    """They are refused as by TensorFlow Serving 2.22, in any member; 256 levels are not."""
    reply = client.post(PREDICT, b'{"nested": ' + b"[" * 500_000 + b"]" * 500_000 + b"," + BODY[1:])

    assert (reply.status, reply.error) == (400, "the request JSON is nested deeper than 256 levels")
    assert client.post(PREDICT, b'{"nested": ' + b"[" * 255 + b"]" * 255 + b"," + BODY[1:]).json == ANSWER


VALUES = [
    ("float32", "[1e39, -1e39, 1e-50, -1e-50, -0, -0.0]", b"[Infinity, -Infinity, 0.0, -0.0, 0.0, -0.0]"),
    ("float32", "[NaN, Inf, -Infinity, 16777217]", b"[NaN, Infinity, -Infinity, 16777216.0]"),
    ("float64", "[1.7976931348623157e308, 5e-324, 0.1, 1e22]", b"[1.7976931348623157e+308, 5e-324, 0.1, 1e+22]"),
    ("float32", "[1e400]", "JSON Parse error: Number too big to be stored in double. at offset: 41"),
    ("int32", "[2147483647, -2147483648, -0]", b"[2147483647, -2147483648, 0]"),
    ("int32", "[2147483648]", "JSON Value: 2147483648 Type: Number is not of expected type: int32"),
    ("int32", "[1e3]", "JSON Value: 1000.0 Type: Number is not of expected type: int32"),
    ("int32", "[true]", "JSON Value: true Type: True is not of expected type: int32"),
    ("int8", "[300, -129]", b"[44, 127]"),
    ("uint8", "[300, -1]", b"[44, 255]"),
    ("int16", "[40000, 2147483648]", "JSON Value: 2147483648 Type: Number is not of expected type: int16"),
    ("int64", "[9223372036854775807, -9223372036854775808]", b"[9223372036854775807, -9223372036854775808]"),
    ("int64", "[9223372036854775808]", "JSON Value: 9223372036854775808 Type: Number is not of expected type: int64"),
    ("uint32", "[4294967295]", b"[4294967295]"),
    ("uint32", "[-1]", "JSON Value: -1 Type: Number is not of expected type: uint32"),
    ("uint64", "[18446744073709551615]", b"[18446744073709551615]"),
    (
        "uint64",
        "[18446744073709551616]",
        "JSON Value: 18446744073709552000.0 Type: Number is not of expected type: uint64",
    ),
    ("bool", "[true, false]", b"[true, false]"),
    ("bool", "[1]", "JSON Value: 1 Type: Number is not of expected type: bool"),
    ("string", '["\\u0000", "\\ud83d\\ude00", "\\udc00"]', b'["\\u0000", "\xf0\x9f\x98\x80", "\xed\xb0\x80"]'),
    ("string", '[{"b64": "_-8="}]', "Unable to base64 decode"),
    ("string", '[{"b64": "aGk"}, {"b64": "aGk="}, {"b64": ""}]', b'["hi", "hi", ""]'),
    ("string", "[7]", "JSON Value: 7 Type: Number is not of expected type: string"),
    ("string", '["\\ud800"]', "JSON Parse error: The surrogate pair in string is invalid. at offset: 41"),
    ("string", '[["a"], "b"]', 'JSON Value: "b" found at incorrect level: 2 in the JSON DOM. Expected at level: 2'),
    ("float32", "[[1], [2, 3]]", "Encountered list at unexpected size: 2 at level: 1 expected size: 1"),
    ("float32", "{}", "Missing named input: x in 'inputs' object."),
]


@pytest.mark.parametrize(("signature", "inputs", "wanted"), VALUES)
def test_values_at_the_edge_of_their_type(client: RestClient, signature: str, inputs: str, wanted: bytes | str) -> None:
    """Through parser, TensorFlow and printer; texts of errors are TensorFlow Serving's."""
    body = f'{{"signature_name": "{signature}", "inputs": {inputs}}}'

    reply = client.post("/v1/models/all_dtypes:predict", body)

    if isinstance(wanted, bytes):
        assert (reply.status, reply.body) == (200, b'{\n    "outputs": %b\n}' % wanted)
    else:
        assert (reply.status, reply.error) == (400, wanted)


@pytest.mark.parametrize("dtype", ["half", "bfloat16", "uint16", "complex64", "complex128"])
def test_types_that_json_cannot_carry(client: RestClient, dtype: str) -> None:
    """Columns say 501; rows wrap the text and say 400. An empty tensor gets as far as its answer."""
    path, name = "/v1/models/all_dtypes:predict", {"half": "float16"}.get(dtype, dtype)

    columns = client.post(path, {"signature_name": name, "inputs": [1]})
    rows = client.post(path, {"signature_name": name, "instances": [1]})
    empty = client.post(path, {"signature_name": name, "inputs": []})

    text = f"Conversion of JSON Value: 1 to type: {dtype}"
    assert (columns.status, columns.error) == (501, text)
    assert rows.status == 400
    assert rows.error == f"Failed to process element: 0 of 'instances' list. Error: UNIMPLEMENTED: {text}"
    assert (empty.status, empty.error) == (400, f"Failed to write JSON value for tensor type: {dtype}")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_other_encodings_than_utf_8_are_no_json(client: RestClient, encoding: str) -> None:
    """Only the byte order mark of UTF-8 is skipped."""
    refused = client.post(PREDICT, BODY.decode().encode(encoding))
    marked = client.post(PREDICT, b"\xef\xbb\xbf" + BODY)

    assert (refused.status, refused.error.startswith("JSON Parse error: ")) == (400, True)
    assert marked.json == ANSWER


def test_a_poisoned_item_in_a_batch_fails_alone(server: LiveServer, client: RestClient) -> None:
    """Each of its neighbours gets its own rows; poison that only the run finds included."""
    rows = np.random.default_rng(3).normal(size=(12, 1, 32)).round(3).tolist()
    poison = {
        1: {"instances": [[0.5] * 31]},
        4: {"instances": [["0.5"] * 32]},
        6: b'{"instances": [[NaN',
        9: {"signature_name": "nope", "instances": [[0.5] * 32]},
    }
    bodies = [poison.get(index, {"instances": row}) for index, row in enumerate(rows)]

    replies = at_once(server, "/v1/models/batched:predict", bodies)

    for index, (reply, row) in enumerate(zip(replies, rows, strict=True)):
        if index in poison:
            assert reply.status == 400
        else:
            assert np.allclose(reply.json["predictions"], client.predict("mlp", row), atol=1e-5)
