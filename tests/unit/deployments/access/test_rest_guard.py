"""The REST port behind an access file: every path, and what an attacker tries."""

from __future__ import annotations

import datetime as dt
import socket
from collections.abc import Iterator

import pytest
from argon2 import PasswordHasher

from deployments.access import slow_hashes
from tests.support.doors.guarded_sites import (
    SECRET_PATH,
    GuardedSite,
    GuardedSites,
    client_of,
    eventually,
    guarded_sites,
    hash_of,
)
from tests.support.doors.raw_http import RawConnection, request

RULES = (
    "clients:\n"
    + client_of("ranker", "infer", "metadata", models=("m",))
    + client_of("viewer", "status", models=("m", "broken"))
    + client_of("watcher", "status")
    + client_of("ops", "admin")
)
RANKER, OPS = "Authorization: Bearer ranker-token", "Authorization: Bearer ops-token"


@pytest.fixture(scope="module")
def one_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedSite]:
    with guarded_sites(tmp_path_factory.mktemp("rules")) as made:
        yield made.ruled(RULES)


@pytest.fixture
def site(one_site: GuardedSite) -> GuardedSite:
    one_site.transport.calls.clear()
    one_site.handed_over.clear()
    return one_site


EVERYWHERE = [
    ("POST", "/v1/models/m:predict"),
    ("POST", "/v1/models/m:classify"),
    ("POST", "/v1/models/m:regress"),
    ("POST", "/v1/models/m/versions/1:predict"),
    ("POST", "/v1/models/m/labels/stable:predict"),
    ("GET", "/v1/models/m/metadata"),
    ("GET", "/v1/models/m"),
    ("GET", "/v1/models/m/versions/1"),
    ("GET", "/v1/models"),
    ("GET", "/status.json"),
    ("HEAD", "/status.json"),
    ("GET", "/"),
    ("GET", "/models/m"),
    ("GET", "/models/absent"),
    ("GET", "/docs"),
    ("GET", "/docs/docs.js"),
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
    ("GET", "/a-page-of-tomorrow"),
    ("GET", "/v2"),
    ("GET", "/v2/models"),
    ("GET", "/v2/models/m"),
    ("GET", "/v2/models/m/versions/1"),
    ("POST", "/v2/models/m/infer"),
    ("POST", "/v2/models/m/versions/1/infer"),
    ("GET", "/v2/models/stats"),
    ("GET", "/v2/models/m/stats"),
    ("GET", "/v2/models/m/config"),
    ("POST", "/v2/repository/index"),
    ("POST", "/v2/repository/models/m/load"),
    ("POST", "/v2/repository/models/m/unload"),
]


@pytest.mark.parametrize(("method", "target"), EVERYWHERE)
def test_every_path_but_health_wants_a_token(site: GuardedSite, method: str, target: str) -> None:
    """Also one that nobody has thought of yet."""
    for headers in ([], ["Authorization: Bearer guess"], ["X-Forwarded-For: 127.0.0.1"]):
        reply = site.ask(method, target, *headers, body=b"{}" if method == "POST" else b"")

        assert reply.status == 401
        assert reply.headers["www-authenticate"].startswith("Bearer")
        assert method == "HEAD" or set(reply.json) == {"error"}
    assert site.transport.calls == []
    assert site.handed_over == []


@pytest.mark.parametrize("target", ["/healthz", "/readyz", "/v2/health/live", "/v2/health/ready", "/v2/models/m/ready"])
def test_health_is_open_to_anyone_and_tells_nothing_of_the_inside(site: GuardedSite, target: str) -> None:
    """Probes have no tokens."""
    reply = site.ask("GET", target)

    assert reply.status == 200
    assert b"secret" not in reply.body


def test_a_client_does_what_it_may_and_nothing_else(site: GuardedSite) -> None:
    """Groups and models both count; 403 says that another token would not help."""
    assert site.ask("POST", "/v1/models/m:predict", RANKER, body=b"{}").status == 200
    assert site.ask("POST", "/v2/models/m/infer", RANKER, body=b"{}").status == 200
    assert site.ask("POST", "/v1/models/m:predict", "X-API-KEY: ranker-token", body=b"{}").status == 200
    for method, target in [
        ("POST", "/v1/models/unseen:predict"),
        ("POST", "/v2/models/unseen/infer"),
        ("GET", "/v1/models/unseen/metadata"),
        ("GET", "/status.json"),
        ("GET", "/metrics"),
        ("POST", "/v2/repository/models/m/load"),
    ]:
        reply = site.ask(method, target, RANKER, body=b"{}" if method == "POST" else b"")
        assert reply.status == 403, target
        assert set(reply.json) == {"error"}
    assert len(site.transport.calls) == 3
    assert site.handed_over == []


def test_whether_a_model_exists_is_not_told_to_those_who_may_not_use_it(site: GuardedSite) -> None:
    """The answers are the same but for the name."""
    texts = [
        site.ask("POST", f"/v1/models/{name}:predict", RANKER, body=b"{}").body.replace(name.encode(), b"")
        for name in ("unseen", "absent")
    ]

    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    "target",
    [
        "/v1//models/m:predict",
        "/v1/models//m:predict",
        "//v1/models/m:predict",
        "/v1/models/./m:predict",
        "/v1/models/unseen/../m:predict",
        "/V1/MODELS/m:PREDICT",
        "/v1/models/%6d:predict",
        "/v1/models/m%3Apredict",
        "/v1/models/m:predict?x=1",
        "/v1/models/m:predict#x",
        "/v1/models/m:predict;x",
        "/%76%31/models/m:predict",
        "/V2/models/m/infer",
        "/v2//models/m/infer",
        "/v2/models/%6d/infer",
        "/v2/models/m/infer?x",
        "/v2/models/m%2Finfer",
        "/v2/../v2/models/m/infer",
        "/v2/repository/x/models/m/load",
        "/status.json?x=1",
        "/status.json#x",
        "/Status.json",
        "/healthz/../status.json",
        "/healthz?/../status.json",
        "http://x/v1/models/m:predict",
        "*",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "PUT", "OPTIONS", "DELETE", "PATCH"])
def test_no_way_of_writing_a_path_leads_around_the_guard(site: GuardedSite, method: str, target: str) -> None:
    """Whatever is asked for without a token reaches no model and no secret."""
    reply = site.ask(method, target, body=b"{}" if method in {"POST", "PUT", "PATCH"} else b"")

    assert site.transport.calls == []
    assert site.handed_over == []
    assert b"secret" not in reply.body
    assert reply.status >= 400 or method == "OPTIONS" or target.startswith("/healthz?")


@pytest.mark.parametrize(
    "target", ["/v1/models/uns%65en:predict", "/V1/models/unseen:Predict", "/v2/models/uns%65en/infer"]
)
def test_another_way_of_writing_a_name_does_not_change_whose_model_it_is(site: GuardedSite, target: str) -> None:
    """The guard reads names as the API does."""
    assert site.ask("POST", target, RANKER, body=b"{}").status in {400, 403}
    assert site.transport.calls == []


@pytest.mark.parametrize(
    "headers",
    [
        ["Authorization: Bearer ranker-token", "Authorization: Bearer ranker-token"],
        ["Authorization: Bearer wrong", "Authorization: Bearer ranker-token"],
        ["X-Api-Key: wrong", "Authorization: Bearer ranker-token"],
        ["Authorization: Bearer wrong, Bearer ranker-token"],
        ["Authorization : Bearer ranker-token"],
        ["Authorization: Bearer\xa0ranker-token"],
        ["Authorization: Bearer ranker-token\x00"],
        [" Authorization: Bearer ranker-token"],
        ["X: y\r\n Authorization: Bearer ranker-token"],
        ["Authorization: Bearer ranker-token "[:-2]],
        ["Authorization: Bearer RANKER-TOKEN"],
        ["Authorization: Basic cmFua2VyLXRva2VuOg=="],
        ["Authorization: ranker-token"],
        ["Authorization: Bearer " + "a" * 5000],
        ["Cookie: authorization=Bearer ranker-token"],
        [f"Authorization: Bearer {hash_of('ranker-token')}"],
        [f"Authorization: Bearer {hash_of('ranker-token').removeprefix('sha256:')}"],
        ["X_API_KEY: ranker-token"],
    ],
)
def test_what_is_not_exactly_one_good_token_lets_nobody_in(site: GuardedSite, headers: list[str]) -> None:
    """Smuggled, doubled, cut, huge, or in the wrong place."""
    reply = site.ask("POST", "/v1/models/m:predict", *headers, body=b"{}")

    assert reply.status in {400, 401}
    assert site.transport.calls == []
    assert b"ranker-token" not in reply.body


def test_a_token_in_the_query_does_not_count(site: GuardedSite) -> None:
    """Queries are in the logs of proxies."""
    assert site.ask("GET", "/status.json?x-api-key=ops-token&authorization=Bearer%20ops-token").status == 401


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_the_version_of_http_changes_nothing(site: GuardedSite, version: str) -> None:
    """Old clients take the long way."""
    for token, status in (("ranker-token", 200), ("wrong", 401)):
        head = f"POST /v1/models/m:predict HTTP/{version}\r\nHost: x\r\nContent-Length: 2\r\nX-Api-Key: {token}\r\n\r\n{{}}"
        with RawConnection(site.port) as connection:
            assert connection.ask(head.encode()).status == status


def test_requests_of_one_connection_are_judged_one_by_one(site: GuardedSite) -> None:
    """Pipelined, or one after the other: a good token does not let the next request in."""
    good = request("POST", "/v1/models/m:predict", b"{}", RANKER)
    bad = request("POST", "/v1/models/m:predict", b"{}")
    with RawConnection(site.port) as connection:
        connection.send(good + bad + good + bad)
        assert [connection.reply().status for _ in range(4)] == [200, 401, 200, 401]
        assert [connection.ask(one).status for one in (bad, good, bad)] == [401, 200, 401]


def test_a_request_with_chunks_and_a_token_in_its_trailer_is_refused(site: GuardedSite) -> None:
    """Trailers come after the decision."""
    head = b"POST /v1/models/m:predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with RawConnection(site.port) as connection:
        connection.send(head + b"2\r\n{}\r\n0\r\nAuthorization: Bearer ranker-token\r\n\r\n")
        assert connection.reply().status == 401


def test_a_refusal_does_not_wait_for_the_body(site: GuardedSite) -> None:
    """Who may not call sends no gigabytes into memory."""
    with RawConnection(site.port) as connection:
        connection.send(b"POST /v1/models/m:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n{")
        connection.socket.shutdown(socket.SHUT_WR)
        assert connection.reply().status in {401, 400}


def test_requests_of_clients_take_the_short_way(site: GuardedSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """A guarded port is not a slow one."""
    long_ways: list[str] = []

    async def counted(*given: object) -> None:
        long_ways.append("long")
        raise AssertionError

    monkeypatch.setattr(site.router, "counted", counted)

    assert site.ask("POST", "/v1/models/m:predict", RANKER, body=b"{}").status == 200
    assert site.ask("POST", "/v2/models/m/infer", RANKER, body=b"{}").status == 200
    assert long_ways == []


def test_the_list_of_models_has_those_that_the_caller_may_see(site: GuardedSite) -> None:
    """Of both protocols, and of the status document."""
    viewer = "X-Api-Key: viewer-token"

    assert [one["name"] for one in site.ask("GET", "/v1/models", viewer).json["models"]] == ["broken", "m"]
    assert site.ask("GET", "/v2/models", viewer).json == {"models": ["broken", "m"]}
    assert [one["name"] for one in site.ask("GET", "/status.json", viewer).json["models"]] == ["broken", "m"]
    assert [one["name"] for one in site.ask("GET", "/v1/models", RANKER).json["models"]] == ["m"]
    assert b"unseen" not in site.ask("GET", "/", viewer).body


def test_the_page_of_a_model_is_for_those_who_may_see_its_status(site: GuardedSite) -> None:
    """Others are not told whether there is such a model."""
    viewer = "X-Api-Key: viewer-token"
    hidden, absent = (site.ask("GET", f"/models/{name}", viewer) for name in ("unseen", "absent"))

    assert site.ask("GET", "/models/m", viewer).status == 200
    assert (hidden.status, absent.status) == (404, 404)
    assert hidden.body.replace(b"unseen", b"") == absent.body.replace(b"absent", b"")
    assert site.ask("GET", "/models/m", RANKER).status == 403


def test_the_interface_is_shown_to_those_who_may_read_its_document(sites: GuardedSites) -> None:
    """The page and its files need the right that `/openapi.json` needs."""
    site = sites.ruled("clients:\n" + client_of("meta", "metadata") + client_of("ops", "admin"))

    for target in ("/openapi.json", "/docs", "/docs/docs.js"):
        assert site.ask("GET", target, "X-Api-Key: meta-token").status == 200


def test_texts_of_errors_and_paths_are_for_those_with_the_right_to_status(sites: GuardedSites) -> None:
    """Others see what TensorFlow Serving's states say, without their texts."""
    site = sites.ruled("clients:\n" + client_of("meta", "metadata") + client_of("ops", "admin"))
    meta = "X-Api-Key: meta-token"

    for target in ("/v1/models", "/v1/models/broken", "/v2/models", "/readyz"):
        reply = site.ask("GET", target, meta)
        assert reply.status == 200
        assert b"secret" not in reply.body
    assert site.ask("GET", "/v1/models/broken", meta).json["model_version_status"][0]["status"] == {
        "error_code": "NOT_FOUND",
        "error_message": "",
    }
    assert b"secret" not in site.ask("POST", "/v2/repository/index", meta).body
    for target in ("/v1/models", "/v1/models/broken", "/status.json", "/readyz"):
        assert SECRET_PATH.encode() in site.ask("GET", target, OPS).body


def test_the_right_to_the_status_of_some_models_shows_nothing_of_the_server(site: GuardedSite) -> None:
    """Addresses, files, and problems of files are about all."""
    document = site.ask("GET", "/status.json", "X-Api-Key: viewer-token").json

    assert (document["server"]["listens"], document["server"]["warnings"]) == (None, None)
    assert document["configuration"] == {"origin": None, "files": None, "problems": None}
    assert site.ask("GET", "/status.json", "X-Api-Key: watcher-token").json["configuration"]["problems"] != []


def test_a_browser_asks_without_a_token_whether_it_may_send_one(sites: GuardedSites) -> None:
    """Preflights never carry credentials."""
    site = sites.ruled(RULES, cors=True)

    for target in ("/v1/models/m:predict", "/v2/models/m/infer"):
        with RawConnection(site.port) as connection:
            connection.send(request("OPTIONS", target, b"", "Origin: http://a.example"))
            head = connection.socket.recv(65536).lower()
        assert b" 200 " in head
        assert b"access-control-allow-headers: authorization, x-api-key" in head
    assert site.ask("POST", "/v1/models/m:predict").headers["access-control-allow-origin"] == "*"
    assert site.transport.calls == []


def test_a_new_file_counts_for_open_connections(sites: GuardedSites) -> None:
    """A token that is taken out, or put in, counts with the next request."""
    site = sites.ruled(RULES)
    with RawConnection(site.port) as connection:
        assert connection.ask(request("POST", "/v1/models/m:predict", b"{}", RANKER)).status == 200
        sites.file.write_text("clients:\n" + client_of("new", "infer"))

        assert eventually(lambda: connection.ask(request("POST", "/v1/models/m:predict", b"{}", RANKER)).status == 401)
        assert connection.ask(request("POST", "/v1/models/m:predict", b"{}", "X-Api-Key: new-token")).status == 200


@pytest.mark.parametrize("broken", ["", "# nothing\n", "clients: [", "clients: {a: {tokens: [plain]}}", None])
def test_a_broken_file_leaves_the_rules_in_force_and_is_shown(sites: GuardedSites, broken: str | None) -> None:
    """A slip of an editor opens nothing and locks nobody out."""
    site = sites.ruled(RULES)

    if broken is None:
        sites.file.unlink()
    else:
        sites.file.write_text(broken)

    assert eventually(lambda: bool(site.guard.problems))
    assert site.ask("POST", "/v1/models/m:predict", RANKER, body=b"{}").status == 200
    assert site.ask("POST", "/v1/models/m:predict").status == 401
    shown = site.ask("GET", "/status.json", OPS).json["configuration"]["problems"]
    assert any(one["file"] == str(sites.file) for one in shown)
    assert "plain" not in str([one for one in shown if one["file"] == str(sites.file)])
    sites.file.write_text(RULES)
    assert eventually(lambda: not site.guard.problems)


def test_a_token_ends_while_its_client_is_connected(sites: GuardedSites) -> None:
    """The clock is asked at each request."""
    end = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=2)
    site = sites.ruled(
        f'clients: {{a: {{tokens: [{{hash: "{hash_of("x")}", expires: {end.isoformat()}}}], allow: [{{groups: [infer]}}]}}}}'
    )
    with RawConnection(site.port) as connection:
        wanted = request("POST", "/v1/models/m:predict", b"{}", "X-Api-Key: x")
        assert connection.ask(wanted).status == 200
        assert eventually(lambda: connection.ask(wanted).status == 401)
        assert b"expired" in connection.ask(wanted).body


def test_a_client_beyond_its_rate_is_told_when_to_come_again(sites: GuardedSites) -> None:
    """And others are not held up."""
    site = sites.ruled(
        "clients:\n" + client_of("a", "infer", more="    max_requests_per_second: 2\n") + client_of("b", "infer")
    )
    replies = [site.ask("POST", "/v1/models/m:predict", "X-Api-Key: a-token", body=b"{}") for _ in range(6)]

    assert [one.status for one in replies[:2]] == [200, 200]
    refused = [one for one in replies if one.status == 429]
    assert refused
    assert int(refused[0].headers["retry-after"]) >= 1
    assert site.ask("POST", "/v1/models/m:predict", "X-Api-Key: b-token", body=b"{}").status == 200


def test_a_client_beyond_what_it_may_have_in_work_is_refused_until_something_ends(sites: GuardedSites) -> None:
    """What ended, however it ended, counts no longer."""
    site = sites.ruled("clients:\n" + client_of("a", "infer", more="    max_in_flight: 1\n"))
    wanted = request("POST", "/v1/models/m:predict", b"{}", "X-Api-Key: a-token")

    async def hold() -> None:
        site.transport.hold()

    site.loop.run(hold()).result(10)
    with RawConnection(site.port) as first, RawConnection(site.port) as second:
        first.send(wanted)
        assert eventually(lambda: bool(site.transport.calls))
        assert second.ask(wanted).status == 429
        first.socket.shutdown(socket.SHUT_RDWR)
        assert eventually(lambda: site.transport.cancelled == 1)
        site.transport.gate = None
        assert eventually(lambda: second.ask(wanted).status == 200)


def test_repository_changes_without_a_file_are_for_this_machine_only(sites: GuardedSites) -> None:
    """Whatever a header says of where a request comes from; a page in a browser on this machine is not this machine."""
    site = sites.unruled()

    assert site.ask("POST", "/v2/repository/models/m/load", "X-Forwarded-For: 127.0.0.1").status == 403
    assert site.ask("POST", "/v2/repository/models/m/load", "Origin: http://evil.example").status == 403
    refused = site.ask("POST", "/v2/repository/models/m/unload", "Via: 1.1 proxy")
    assert "--enable_remote_admin" in refused.json["error"]
    assert site.handed_over == []
    assert site.ask("POST", "/v1/models/m:predict", "Via: 1.1 proxy", body=b"{}").status == 200
    assert sites.unruled(remote_admin=True).ask("POST", "/v2/repository/models/m/load", "Via: x").status != 403


def test_without_a_file_nothing_is_hidden(sites: GuardedSites) -> None:
    """As with TensorFlow Serving, whose states have their texts."""
    site = sites.unruled()

    for target in ("/v1/models", "/v1/models/broken", "/status.json", "/readyz", "/"):
        assert SECRET_PATH.encode() in site.ask("GET", target).body


def test_a_page_that_an_operator_put_below_an_api_is_guarded(sites: GuardedSites) -> None:
    """The path of the metrics is a setting, and a page is looked for first."""
    paths = ("/v1/metrics", "/v2/metrics", "/v2/health/live", "/healthz", "/readyz", "/v1/models/m")
    site = sites.ruled(RULES, metrics_at=paths)

    for path in paths:
        assert site.ask("GET", path).status == 401
        assert site.ask("GET", path, RANKER).status == 403
        assert site.ask("GET", path, OPS).body == b"secret metrics"


@pytest.mark.parametrize("place", ["/docs", "/", "/models/", "/docs/"])
def test_metrics_on_the_path_of_another_page_need_the_right_to_metrics(sites: GuardedSites, place: str) -> None:
    """A page carries its right with it, and does not take over what lies below the path of the other one."""
    site = sites.ruled(
        "clients:\n"
        + client_of("meta", "metadata")
        + client_of("viewer", "status", models=("m",))
        + client_of("ops", "admin"),
        metrics_at=(place,),
    )
    takes_text = "Accept: text/plain"

    for headers in (["X-Api-Key: meta-token"], ["X-Api-Key: viewer-token"], ["X-Api-Key: meta-token", takes_text]):
        assert site.ask("GET", place, *headers).status == 403
    assert site.ask("GET", place, takes_text).status == 401
    assert site.ask("GET", place, OPS, takes_text).body == b"secret metrics"
    assert b"metrics" not in site.ask("GET", f"{place.rstrip('/')}/below", OPS).body


@pytest.mark.parametrize("place", ["/pages/", "/a/b/"])
def test_a_path_of_metrics_that_ends_in_a_slash_is_one_path(sites: GuardedSites, place: str) -> None:
    """Not a folder."""
    site = sites.ruled(RULES, metrics_at=(place,))

    assert site.ask("GET", place, OPS).body == b"secret metrics"
    assert site.ask("GET", f"{place}below", OPS).status == 404


def test_at_the_root_programs_learn_without_a_token_that_the_server_lives(site: GuardedSite) -> None:
    """KServe's version 1 asks there; what shows models is for those who may see them."""
    reply = site.ask("GET", "/", "Accept: */*")

    assert (reply.status, reply.json) == (200, {"status": "alive"})
    assert site.ask("HEAD", "/", "Accept: application/json").status == 200
    assert site.ask("GET", "/", "Accept: text/html").status == 401
    assert site.ask("POST", "/", "Accept: */*").status == 401


def test_probes_count_against_no_limit_and_are_refused_by_none(sites: GuardedSites) -> None:
    """A balancer that asks once a second uses nothing up, and sees a server that works as one that works."""
    more = "    max_requests_per_second: 1\n"
    site = sites.ruled("clients:\n" + client_of("a", "infer", "health", more=more))
    a = "X-Api-Key: a-token"

    for _ in range(5):
        for target in ("/healthz", "/readyz", "/v2/health/live", "/v2/health/ready", "/v2/models/m/ready"):
            assert site.ask("GET", target, a).status == 200
    assert site.ask("POST", "/v1/models/m:predict", a, body=b"{}").status == 200
    assert eventually(lambda: site.ask("POST", "/v1/models/m:predict", a, body=b"{}").status == 429)
    assert site.ask("GET", "/readyz", a).status == 200


def test_health_is_answered_while_tokens_wait_to_be_verified(
    sites: GuardedSites, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flood of invented tokens does not make a server look dead; others are told when to come again."""
    slow = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash("x")
    site = sites.ruled(f"clients: {{a: {{tokens: ['{slow}'], allow: [{{groups: [infer]}}]}}}}")
    monkeypatch.setattr(slow_hashes, "MOST_WAITING", 0)

    for target in ("/healthz", "/readyz", "/v2/health/live"):
        assert site.ask("GET", target, "X-Api-Key: guess").status == 200
    refused = site.ask("POST", "/v1/models/m:predict", "X-Api-Key: guess", body=b"{}")
    assert (refused.status, refused.headers["retry-after"]) == (429, "1")
