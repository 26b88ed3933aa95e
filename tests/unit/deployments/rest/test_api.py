"""Tests of the REST API as an ASGI application, with versions that answer from memory."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.errors import Code, Unavailable
from core.rest.http_answer import HttpAnswer
from core.rest.rights import PlacedPage
from core.routing.table import ModelRoutes, Route, RoutingTable
from core.routing.transport import Answer, Call, Method
from core.versions.lifecycle import State, VersionStatus
from core.versions.servable import ServableId
from deployments.rest.api import HttpApi, HttpLimits
from deployments.rest.asgi import header
from tests.support.doors.asgi_client import BODY, ODD_NAME, ODD_PATH, TABLE, Client

CORS = {
    b"access-control-allow-origin": b"*",
    b"access-control-allow-methods": b"POST, GET",
    b"access-control-allow-headers": b"Content-Type",
}


@pytest.mark.parametrize(
    ("verb", "method"),
    [("predict", Method.REST_PREDICT), ("classify", Method.REST_CLASSIFY), ("regress", Method.REST_REGRESS)],
)
async def test_a_body_is_forwarded_as_it_is(client, verb, method) -> None:
    """Nobody on the way parses it; the answer's body is the response's."""
    response = await client.send("POST", f"/v1/models/h2:{verb}", b"any bytes")

    assert client.transport.calls == [(TABLE.resolve("h2"), Call(method, b"any bytes", 30.0))]
    assert (response.status, response.body) == (200, b'{"predictions": [3.0]}')


async def test_case_A34_an_answer_has_a_content_type_and_a_length(client) -> None:
    """Beside these, only the version that gave it."""
    response = await client.send("POST", "/v1/models/h2:predict", BODY)

    assert response.headers == {
        b"content-type": b"application/json",
        b"content-length": b"22",
        b"x-model-version": b"124",
    }


@pytest.mark.parametrize(
    ("target", "name", "version"),
    [
        ("/v1/models/h2:predict", "h2", 124),
        ("/v1/models/h2/versions/123:predict", "h2", 123),
        pytest.param("/v1/models/h2/labels/stable:predict", "h2", 123, id="case_D3"),
        pytest.param("/v1/models/h2/labels/stable:classify", "h2", 123, id="case_D14"),
        pytest.param("/V1/MODELS/h2:predict", "h2", 124, id="case_A25"),
        pytest.param(f"/v1/models/{ODD_PATH}:predict", ODD_NAME, 1, id="case_A23"),
    ],
)
async def test_a_target_leads_to_a_version(client, target, name, version) -> None:
    """Number, label or the newest; names may be percent-encoded."""
    await client.send("POST", target, BODY)

    assert client.transport.calls[0][0].servable == ServableId(name, version)


async def test_metadata_is_asked_of_the_version_without_a_body(client) -> None:
    """The label counts."""
    await client.send("GET", "/v1/models/h2/labels/stable/metadata", b"ignored")

    assert client.transport.calls == [(TABLE.resolve("h2", 123), Call(Method.REST_METADATA, b"", 30.0))]


@pytest.mark.parametrize(
    ("target", "versions"),
    [
        pytest.param("/v1/models/h2", ["124", "123"], id="case_E1"),
        pytest.param("/v1/models/h2/labels/stable", ["124", "123"], id="case_E3"),
        pytest.param("/v1/models/h2/METADATA", ["124", "123"], id="case_A26"),
        pytest.param("/v1/models/h2/versions/123", ["123"], id="case_E9"),
        pytest.param(f"/v1/models/{ODD_PATH}", ["1"], id="case_A16"),
    ],
)
async def test_status_comes_from_the_table(client, target, versions) -> None:
    """No version is asked for it."""
    response = await client.send("GET", target)

    said = json.loads(response.body)["model_version_status"]
    assert [entry["version"] for entry in said] == versions
    assert said[0]["state"] == "AVAILABLE"
    assert said[0]["status"] == {"error_code": "OK", "error_message": ""}
    assert client.transport.calls == []


@pytest.mark.parametrize(
    ("target", "ready"),
    [
        ("/v1/models/h2", True),
        ("/v1/models/coming", False),
        ("/v1/models/held", False),
        ("/v1/models/h2/versions/123", None),
        ("/v1/models/h2/labels/stable", None),
    ],
)
async def test_a_model_that_is_asked_about_as_a_whole_says_if_it_is_ready(target, ready) -> None:
    """KServe's version 1; a version is not ready before every router answers with it."""
    coming = ModelRoutes({}, {}, (VersionStatus(1, State.LOADING),))
    held = ModelRoutes({1: Route.of(ServableId("held", 1))}, {}, (VersionStatus(1, State.LOADING),))
    client = Client(table=RoutingTable(8, {**TABLE.models, "coming": coming, "held": held}))

    response = await client.send("GET", target)

    assert response.status == 200
    assert json.loads(response.body).get("ready") is ready


@pytest.mark.parametrize(
    ("accept", "method", "body"),
    [
        ("", "GET", b"page"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "GET", b"page"),
        ("Text/HTML", "GET", b"page"),
        ("*/*", "GET", b'{"status": "alive"}\n'),
        ("application/json", "GET", b'{"status": "alive"}\n'),
        ("*/*", "HEAD", b""),
        ("*/*", "POST", b"page"),
    ],
)
async def test_a_client_that_takes_no_page_learns_at_the_root_that_the_server_lives(
    client, accept, method, body
) -> None:
    """KServe's version 1, and probes; the page itself refuses other methods."""

    async def page(method: str, target: str) -> HttpAnswer:
        del method, target
        return HttpAnswer(200, b"page")

    client.api = HttpApi(
        client.router, HttpLimits(), "token", {"/": PlacedPage(page, is_root=True), "/other": PlacedPage(page)}
    )

    response = await client.send(method, "/", headers=[(b"accept", accept.encode())] if accept else [])
    other = await client.send(method, "/other", headers=[(b"accept", b"*/*")])

    assert (response.status, response.body) == (200, body)
    assert other.body == (b"" if method == "HEAD" else b"page")


async def test_the_models_are_listed(client) -> None:
    """An addition of ours to TensorFlow Serving's paths."""
    response = await client.send("GET", "/v1/models")

    assert [entry["name"] for entry in json.loads(response.body)["models"]] == ["h2", ODD_NAME]


@pytest.mark.parametrize(
    ("method", "target", "status", "text"),
    [
        pytest.param("GET", "/v1/foo", 400, "Malformed request: GET /v1/foo", id="case_A3"),
        pytest.param("POST", "/v1/foo", 400, "Malformed request: POST /v1/foo", id="case_A4"),
        pytest.param(
            "POST", "/v1/models/h2/metadata", 400, "Malformed request: POST /v1/models/h2/metadata", id="case_A13"
        ),
        pytest.param(
            "POST",
            "/v1/models/h2/label/x:regress",
            400,
            "Malformed request: POST /v1/models/h2/label/x:regress",
            id="case_A14",
        ),
        pytest.param(
            "POST", "/v1/models/h2:PREDICT", 400, "Malformed request: POST /v1/models/h2:PREDICT", id="case_A24"
        ),
        pytest.param("GET", "/v1/models/foo?x=1", 404, "Could not find any versions of model foo?x=1", id="case_A29"),
        pytest.param(
            "POST",
            "/v1/models/h2:predict?x=1",
            400,
            "Malformed request: POST /v1/models/h2:predict?x=1",
            id="case_Q6-query",
        ),
        pytest.param(
            "POST", "/v1/models/h2:predict#f", 400, "Malformed request: POST /v1/models/h2:predict#f", id="case_Q6-post"
        ),
        pytest.param("GET", "/v1/models/foo?#", 404, "Could not find any versions of model foo?#", id="case_Q6-get"),
        ("PUT", "/v1/models/h2", 400, "Malformed request: PUT /v1/models/h2"),
        ("GET", "/v1/models/versions/1", 400, "Missing model name in request."),
        ("GET", "/v1/models/h2/versions/5", 404, "Could not find version 5 of model h2"),
        ("GET", "/v1/models/nope/metadata", 404, "Servable not found for request: Latest(nope)"),
        ("POST", "/v1/models/nope:predict", 404, "Servable not found for request: Latest(nope)"),
        ("POST", "/v1/models/h2/versions/5:predict", 404, "Servable not found for request: Specific(h2, 5)"),
        ("POST", "/v1/models/h2/labels/nope:predict", 400, "Unrecognized servable version label: nope"),
    ],
)
async def test_errors_are_json(client, method, target, status, text) -> None:
    """Status and text are TensorFlow Serving's."""
    response = await client.send(method, target, BODY)

    assert (response.status, response.error) == (status, text)
    assert response.headers[b"content-type"] == b"application/json"
    assert client.transport.calls == []


async def test_case_A12_a_version_beyond_int64_gets_an_empty_body(client) -> None:
    """The one error without a text."""
    response = await client.send("POST", "/v1/models/foo/versions/18446744073709551615:regress", BODY)

    assert (response.status, response.body) == (400, b"")


@pytest.mark.parametrize(
    ("verb", "text"),
    [
        ("predict", "JSON Parse error: The document is empty"),
        ("classify", "JSON Parse error: The document is empty"),
        ("regress", "JSON Parse error: The document is empty"),
    ],
)
async def test_a_malformed_body_is_told_before_an_unknown_model(client, verb, text) -> None:
    """TensorFlow Serving looks at the body first."""
    response = await client.send("POST", f"/v1/models/nope:{verb}")

    assert (response.status, response.error) == (400, text)


@pytest.mark.parametrize("verb", ["predict", "classify", "regress"])
async def test_a_body_that_is_nested_too_deeply_is_told_before_an_unknown_model(client, verb) -> None:
    """Its members are not looked at."""
    body = b'{"instances":[1],"examples":[{}],"more":' + b"[" * 256 + b"]" * 256 + b"}"

    response = await client.send("POST", f"/v1/models/nope:{verb}", body)

    assert (response.status, response.error) == (400, "the request JSON is nested deeper than 256 levels")


async def test_a_large_body_is_not_parsed_for_an_unknown_model(client) -> None:
    """Parsing on the event loop would keep all other requests waiting."""
    response = await client.send("POST", "/v1/models/nope:predict", b"[" * 5000)

    assert (response.status, response.error) == (404, "Servable not found for request: Latest(nope)")


@pytest.mark.parametrize(
    ("answer", "status", "text"),
    [
        (Answer(Code.INVALID_ARGUMENT, b"bad \xc3\xa4"), 400, "bad ä"),
        (Answer(Code.DEADLINE_EXCEEDED, b"late"), 504, "late"),
        (Answer(Code.RESOURCE_EXHAUSTED, b"full"), 429, "full"),
        (Unavailable("nobody there"), 503, "nobody there"),
    ],
)
async def test_errors_of_versions_and_of_the_way_to_them_are_json(client, answer, status, text) -> None:
    """The code gives the status."""
    client.transport.answer = answer

    response = await client.send("POST", "/v1/models/h2:predict", BODY)

    assert (response.status, response.error) == (status, text)


@pytest.mark.parametrize(
    ("method", "target"),
    [
        pytest.param("GET", "/statuspage", id="case_A2-statuspage"),
        pytest.param("POST", "/index", id="case_A2-index"),
        pytest.param("GET", "/nothing", id="case_Q1"),
        ("GET", "/v1"),
        ("POST", "/"),
    ],
)
async def test_other_paths_get_a_page(client, method, target) -> None:
    """And the connection is closed."""
    response = await client.send(method, target)

    assert (response.status, response.headers[b"connection"]) == (404, b"close")
    assert response.body.startswith(b"<HTML>")


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PROPFIND"])
@pytest.mark.parametrize("target", ["/v1/models/h2", "/other", "/healthz"])
async def test_methods_that_nobody_knows_get_a_page(method, target) -> None:
    """Whatever the path; as the page is not the API's, it has no CORS headers."""
    response = await Client(cors=True).send(method, target)

    assert (response.status, response.headers[b"content-type"]) == (501, b"text/html")
    assert not CORS.keys() & response.headers.keys()


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/openapi.json"])
async def test_pages_of_ours_say_how_they_are_asked(client, path) -> None:
    """TensorFlow Serving does not have them, so nobody's texts are broken."""
    response = await client.send("POST", f"{path}?x=1")

    assert (response.status, response.headers[b"allow"]) == (405, b"GET, HEAD")
    assert response.error == f"POST is not possible here. Use GET {path}."


@pytest.mark.parametrize(
    ("target", "status"), [("/v1/models/h2", 400), ("/healthz", 200), ("/readyz", 200), ("/other", 404)]
)
async def test_head_has_no_body(client, target, status) -> None:
    """The API does not know the method; the pages do."""
    response = await client.send("HEAD", target)

    assert (response.status, response.body) == (status, b"")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param([(b"host", b"x"), (b"origin", b"https://a.b")], 200, id="case_A31"),
        pytest.param([], 400, id="no_origin"),
    ],
)
async def test_options_are_answered_whether_or_not_cors_is_on(client, headers, status) -> None:
    """A preflight without an origin is refused, without a text."""
    response = await client.send("OPTIONS", "/v1/models/foo:predict", headers=headers)

    assert (response.status, response.body) == (status, b"")
    assert not CORS.keys() & response.headers.keys()


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("POST", "/v1/models/h2:predict", 200),
        ("GET", "/v1/models/h2", 200),
        ("GET", "/v1/models/nope", 404),
        ("POST", "/v1/models/h2/versions/99999999999999999999:predict", 400),
        ("OPTIONS", "/v1/models/h2:predict", 400),
    ],
)
async def test_case_A33_cors_headers_stand_on_every_answer_of_the_api(method, target, status) -> None:
    """Also on errors; with the flag only."""
    response = await Client(cors=True).send(method, target, BODY)

    assert response.status == status
    assert CORS.items() <= response.headers.items()


async def test_pages_outside_of_the_api_have_no_cors_headers() -> None:
    """They are not the API's answers."""
    assert not CORS.keys() & (await Client(cors=True).send("GET", "/healthz")).headers.keys()


async def test_other_servers_in_front_give_path_and_query(client) -> None:
    """Ray Serve's proxy hands over no more."""
    response = await client.send("GET", "/v1/models/foo?x=1", by_front_door=False)

    assert response.error == "Could not find any versions of model foo?x=1"


async def test_healthz_says_that_the_process_answers_and_whose_it_is(client) -> None:
    """Sibling routers know each other by the token."""
    response = await client.send("GET", "/healthz?verbose=1")

    assert (response.status, json.loads(response.body)) == (200, {"alive": True})
    assert response.headers[b"x-app"] == b"token"


@pytest.mark.parametrize(
    ("table", "draining", "status"), [(TABLE, False, 200), (TABLE, True, 503), (RoutingTable(0), False, 503)]
)
async def test_readyz_says_whether_requests_should_come(table, draining, status) -> None:
    """Not before there is a table, and not any more while the door closes."""
    client = Client(table=table)
    client.api.draining = draining

    response = await client.send("GET", "/readyz")

    assert response.status == status
    assert json.loads(response.body)["ready"] is (status == 200)


@pytest.mark.parametrize("target", ["/v1/models/h2", "/nope"])
async def test_answers_close_their_connection_while_the_door_closes(client, target) -> None:
    """Clients then turn to another replica; the header stands there once."""
    client.api.draining = True

    response = await client.send("GET", target)

    assert response.headers[b"connection"] == b"close"


@pytest.mark.parametrize("timeout_s", [None, 0.5])
async def test_the_timeout_of_the_rest_api_goes_with_the_call(timeout_s) -> None:
    """None waits for ever."""
    client = Client(timeout_s=timeout_s)

    await client.send("POST", "/v1/models/h2:predict", BODY)

    assert client.transport.calls[0][1].timeout_s == timeout_s


async def test_the_life_of_the_server_is_acknowledged(client) -> None:
    """Servers wait for it; other protocols are not for us."""
    messages = [{"type": "lifespan.startup"}, {"type": "other"}, {"type": "lifespan.shutdown"}]
    sent = []

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await client.api.app()({"type": "lifespan"}, receive, send)
    await client.api.app()({"type": "websocket"}, receive, send)

    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_a_page_is_given_the_headers_that_choose_its_form() -> None:
    """With the method and the whole target; a page of the same path that needs none of it comes first."""

    async def scoped(scope: Any, target: str) -> HttpAnswer:
        return HttpAnswer(200, f"{scope['method']} {target} {header(scope, b'accept').decode()}".encode())

    async def plain(method: str, target: str) -> HttpAnswer:
        return HttpAnswer(200, b"plain")

    asked = Client()
    pages = {"pages": {"/both": PlacedPage(plain)}, "scoped_pages": {"/both": scoped, "/scoped": scoped}}
    asked.api = HttpApi(asked.router, HttpLimits(), **pages)

    assert (await asked.send("PUT", "/scoped?x=1", headers=[(b"accept", b"a/b")])).body == b"PUT /scoped?x=1 a/b"
    assert (await asked.send("GET", "/both")).body == b"plain"
