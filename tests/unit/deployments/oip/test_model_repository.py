"""The model repository extension on both ports, with a watcher behind them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import grpc
import pytest

from core.config.version_policy import All
from core.errors import Aborted, Unavailable
from core.protos import oip_pb2
from deployments.oip import model_repository
from deployments.oip.grpc_rights import SERVICE
from tests.support.clients import wait_until
from tests.support.commands import in_force
from tests.support.repository_server import RepositoryServer
from tests.support.sites import M, Site

N = replace(M, name="n", base_path="/n", policy=All(), labels={"stable": 1})
LOAD, UNLOAD, INDEX = "RepositoryModelLoad", "RepositoryModelUnload", "RepositoryIndex"


def a_site() -> Site:
    """Return a watcher with model `m`, whose version 2 answers, and `n`, with the versions 1 and 3."""
    site = Site((1, 2), configs=(M, N))
    for version in (1, 3):
        site.source.write("/n", version)
    site.settle()
    return site


@pytest.fixture
def live() -> Iterator[RepositoryServer]:
    """A server on which models may be loaded."""
    with RepositoryServer(a_site()) as server:
        wait_until(lambda: len(server.index()) == 3, "all versions answer")
        yield server


@pytest.fixture
def closed() -> Iterator[RepositoryServer]:
    """A server on which they may not."""
    with RepositoryServer(a_site(), is_enabled=False) as server:
        yield server


def ready(name: str, version: int) -> dict[str, str]:
    return {"name": name, "version": str(version), "state": "READY"}


def code_and_text(live: RepositoryServer, method: str, request, timeout_s: float = 60.0) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as raised:
        live.call(method, request, timeout_s)
    return raised.value.code(), raised.value.details()


def load_request(**fields):
    return oip_pb2.RepositoryModelLoadRequest(**fields)


def unload_request(**fields):
    return oip_pb2.RepositoryModelUnloadRequest(**fields)


def test_the_index_lists_every_version_whatever_repository_is_named(live: RepositoryServer) -> None:
    """There is one."""
    versions = [ready("m", 2), ready("n", 1), ready("n", 3)]

    assert live.index() == versions
    assert live.rest.send("POST", "/v2/repository/any/index").json == versions
    assert live.rest.post("/v2/repository/index", {"ready": True}).json == versions


def test_the_index_over_grpc_is_the_same(live: RepositoryServer) -> None:
    """State and reason are texts."""
    live.site.host.broken = lambda _: True
    live.site.source.write("/m", 4)
    wait_until(lambda: len(live.index()) == 4, "the new version was found")
    wait_until(lambda: "NOT_FOUND" in live.index()[1].get("reason", ""), "the new version failed")

    answer = oip_pb2.RepositoryIndexResponse.FromString(live.call(INDEX, oip_pb2.RepositoryIndexRequest()))
    good = oip_pb2.RepositoryIndexResponse.FromString(live.call(INDEX, oip_pb2.RepositoryIndexRequest(ready=True)))

    assert [(one.name, one.version, one.state) for one in answer.models] == [
        ("m", "2", "READY"), ("m", "4", "UNAVAILABLE"), ("n", "1", "READY"), ("n", "3", "READY"),
    ]  # fmt: skip
    assert "no SavedModel there" in answer.models[1].reason
    assert [one.version for one in good.models] == ["2", "1", "3"]


def test_the_index_lacks_only_the_unloaded_models_while_the_watcher_does_not_answer(live: RepositoryServer) -> None:
    """Serving goes on without it."""
    live.failures = [Unavailable("gone")]

    assert live.index() == [ready("m", 2), ready("n", 1), ready("n", 3)]


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"ready":"yes"}'])
def test_a_malformed_index_request_is_400(live: RepositoryServer, body) -> None:
    """In JSON."""
    reply = live.rest.post("/v2/repository/index", body)

    assert (reply.status, set(reply.json)) == (400, {"error"})


def test_a_model_is_unloaded_and_comes_back_as_the_files_have_it(live: RepositoryServer) -> None:
    """With all versions of its policy, and its label; each step is answered when it is done."""
    unloaded = live.rest.post("/v2/repository/models/n/unload", {"parameters": {"unload_dependents": True}})

    assert (unloaded.status, unloaded.body) == (200, b"")
    assert set(in_force(live)) == {"m"}
    wait_until(lambda: live.site.host.running == {"m:2"}, "its processes have ended")
    gone = {"state": "UNAVAILABLE", "reason": "unloaded", "name": "n"}
    assert live.index() == [ready("m", 2), gone | {"version": "1"}, gone | {"version": "3"}]

    loaded = live.rest.post("/v2/repository/models/n/load", {})

    assert (loaded.status, loaded.body) == (200, b"")
    assert in_force(live)["n"] == N
    assert "READY" in {one["state"] for one in live.index() if one["name"] == "n"}
    wait_until(lambda: live.index() == [ready("m", 2), ready("n", 1), ready("n", 3)], "all versions are back")


def test_a_load_of_a_model_that_answers_and_an_unload_of_one_that_is_gone_change_nothing(
    live: RepositoryServer,
) -> None:
    """Agents repeat what they want."""
    before = live.site.watch.configuration.in_force()

    assert live.rest.send("POST", "/v2/repository/models/m/load").status == 200
    assert live.site.watch.configuration.in_force() is before

    for _ in range(2):
        assert live.rest.send("POST", "/v2/repository/models/m/unload").status == 200


def test_a_model_without_versions_is_unavailable_and_by_name_alone_when_it_is_unloaded() -> None:
    """It could be loaded."""
    with RepositoryServer(Site((2,), configs=(M, N))) as live:
        wait_until(lambda: ready("m", 2) in live.index(), "the model answers")
        reason = "Could not find base path /n for servable n with error NOT_FOUND: /n not found"
        assert {"name": "n", "state": "UNAVAILABLE", "reason": reason} in live.index()

        live.rest.send("POST", "/v2/repository/models/n/unload")

        wait_until(lambda: live.index() == [ready("m", 2), {"name": "n"}], "it is not served any more")


@pytest.mark.parametrize("form", ["triton", "kserve"])
def test_both_wire_forms_of_grpc_are_understood_and_answered(live: RepositoryServer, form) -> None:
    """KServe's clients put the name into the first field, and read the answer's fields."""
    fields = {"model_name": "n"} if form == "triton" else {"repository_name": "n"}
    unloaded = live.call(UNLOAD, unload_request(**fields))
    loaded = live.call(LOAD, load_request(**fields))

    if form == "triton":
        assert (unloaded, loaded) == (b"", b"")
    else:
        assert oip_pb2.RepositoryModelUnloadResponse.FromString(unloaded).isUnloaded
        assert oip_pb2.RepositoryModelLoadResponse.FromString(loaded) == oip_pb2.RepositoryModelLoadResponse(
            model_name="n", isLoaded=True
        )
    assert set(in_force(live)) == {"m", "n"}


def test_an_unknown_model_is_not_found(live: RepositoryServer) -> None:
    """Over both protocols, to load and to unload."""
    for verb in ("load", "unload"):
        reply = live.rest.send("POST", f"/v2/repository/models/no%20one/{verb}")
        assert (reply.status, "'no one'" in reply.error) == (404, True)
    assert code_and_text(live, LOAD, load_request(model_name="x"))[0] is grpc.StatusCode.NOT_FOUND
    assert code_and_text(live, UNLOAD, unload_request(model_name="x"))[0] is grpc.StatusCode.NOT_FOUND


def test_a_load_that_fails_is_an_internal_error_with_its_reason(live: RepositoryServer) -> None:
    """The model stays in the list, and the index has the reason too."""
    live.rest.send("POST", "/v2/repository/models/n/unload")
    wait_until(lambda: live.site.host.running == {"m:2"}, "its processes have ended")
    live.site.host.broken = lambda _: True

    reply = live.rest.send("POST", "/v2/repository/models/n/load")

    assert (reply.status, "no SavedModel there" in reply.error) == (500, True)
    assert set(in_force(live)) == {"m", "n"}
    shown = next(one for one in live.index() if one["name"] == "n" and "reason" in one)
    assert (shown["state"], "no SavedModel there" in shown["reason"]) == ("UNAVAILABLE", True)
    code, text = code_and_text(live, LOAD, load_request(model_name="n"))
    assert (code, "no SavedModel there" in text) == (grpc.StatusCode.INTERNAL, True)


def test_what_would_change_the_loaded_files_is_refused(live: RepositoryServer) -> None:
    """Before anything happens."""
    parameters = {"config": "{}", "file:1/saved_model.pb": "AA=="}
    for name, text in parameters.items():
        reply = live.rest.post("/v2/repository/models/n/load", {"parameters": {name: text}})
        assert (reply.status, name in reply.error) == (400, True)
    request = load_request(model_name="n", parameters={"config": oip_pb2.ModelRepositoryParameter(string_param="{}")})
    assert code_and_text(live, LOAD, request)[0] is grpc.StatusCode.INVALID_ARGUMENT


def test_a_named_repository_is_not_supported(live: RepositoryServer) -> None:
    """As Triton answers."""
    assert live.rest.send("POST", "/v2/repository/r/models/m/load").status == 501
    assert live.rest.send("POST", "/v2/repository/r/models/m/unload").status == 501
    both = load_request(repository_name="r", model_name="m")
    assert code_and_text(live, LOAD, both)[0] is grpc.StatusCode.UNIMPLEMENTED


def test_two_loads_at_once_are_both_answered(live: RepositoryServer) -> None:
    """One of them finds the list changed, reads it again, and waits for the same model."""
    live.rest.send("POST", "/v2/repository/models/n/unload")

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: live.call(LOAD, load_request(model_name="n")), range(8)))

    assert answers == [b""] * 8
    assert set(in_force(live)) == {"m", "n"}


def test_a_change_is_repeated_after_another_one_and_while_the_watcher_starts(
    live: RepositoryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the list holds is read again each time."""
    monkeypatch.setattr(model_repository, "WATCHER_PAUSE_S", 0.01)
    live.failures = [Unavailable("no watcher"), Aborted("changed"), Unavailable("no watcher")]

    assert live.rest.send("POST", "/v2/repository/models/n/unload").status == 200
    assert live.asked[-2:] == ["get_config", "change_config"]
    assert set(in_force(live)) == {"m"}


def test_a_change_is_not_repeated_for_ever(live: RepositoryServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then its last error is the answer."""
    monkeypatch.setattr(model_repository, "MOST_ATTEMPTS", 2)
    monkeypatch.setattr(model_repository, "WATCHER_PAUSE_S", 0.01)
    live.failures = [Aborted("changed")] * 3

    assert live.rest.send("POST", "/v2/repository/models/n/unload").status == 409


def test_a_load_is_waited_for_only_so_long(live: RepositoryServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what it waits for; the load goes on."""
    live.rest.send("POST", "/v2/repository/models/n/unload")
    wait_until(lambda: live.site.host.running == {"m:2"}, "its processes have ended")
    live.site.host.finish_deploying = lambda app: None
    monkeypatch.setattr(model_repository, "LONGEST_LOAD_S", 0.5)

    reply = live.rest.send("POST", "/v2/repository/models/n/load")

    assert (reply.status, "in time: version 3 is in state LOADING" in reply.error) == (504, True)
    code, text = code_and_text(live, LOAD, load_request(model_name="n"), 30.0)
    assert (code, "in time" in text) == (grpc.StatusCode.DEADLINE_EXCEEDED, True)
    assert set(in_force(live)) == {"m", "n"}


def test_nothing_is_loaded_or_unloaded_where_that_is_switched_off(closed: RepositoryServer) -> None:
    """The text names the flag; the index is shown, as `/v1/models` is."""
    for verb in ("load", "unload"):
        reply = closed.rest.send("POST", f"/v2/repository/models/n/{verb}")
        assert (reply.status, "--enable_model_repository_api" in reply.error) == (403, True)
    for method in (LOAD, UNLOAD):
        code, text = code_and_text(closed, method, load_request(model_name="n"))
        assert (code, "--enable_model_repository_api" in text) == (grpc.StatusCode.PERMISSION_DENIED, True)

    wait_until(lambda: ready("n", 3) in closed.index(), "the index shows the model")
    assert set(in_force(closed)) == {"m", "n"}


def test_the_server_lists_the_extensions_that_it_has(live: RepositoryServer, closed: RepositoryServer) -> None:
    """Clients test for exactly these words."""
    words = ["binary_tensor_data", "model_repository", "parameters", "statistics"]

    assert live.rest.get("/v2").json["extensions"] == words
    words.remove("model_repository")
    assert closed.rest.get("/v2").json["extensions"] == words


@pytest.mark.parametrize("method", [LOAD, UNLOAD, INDEX, "ModelStatistics"])
@pytest.mark.parametrize("raw", [b"\xff", b"\x0a\x7f", b"\x0a\x02\xff\xfe"])
def test_bytes_that_are_not_a_message_are_refused(live: RepositoryServer, method: str, raw: bytes) -> None:
    """As a mistake of the caller's."""
    with grpc.insecure_channel(live.address) as channel, pytest.raises(grpc.RpcError) as raised:
        channel.unary_unary(f"/{SERVICE}/{method}")(raw, timeout=60)

    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
