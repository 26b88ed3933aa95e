"""Two routers on one node: they share the ports, and each shows the sums of both."""

from __future__ import annotations

import http.client
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import grpc
import pytest

from core.protos import serving_pb2
from core.telemetry.metric_names import REQUEST_COUNT, ROUTING_GENERATION
from deployments.versions.serve_host import ROUTER_APP
from tests.integration.conftest import LiveServer, has_routers, redeployed
from tests.integration.test_grpc import MODELS, call, reload_request
from tests.support.clients import RestClient, wait_until
from tests.support.processes import replica_pids
from tests.support.prometheus_page import Page, assert_never_falls, scrape_once


@pytest.fixture(scope="module", autouse=True)
def two_routers(server: LiveServer) -> Iterator[Callable[[], bool]]:
    """The server with two routers for the time of this module, and a way to ask whether both are there."""
    with redeployed(server, router_replicas=2):
        yield lambda: has_routers(2)


def test_a_killed_router_is_replaced_while_the_other_answers(
    server: LiveServer, two_routers: Callable[[], bool]
) -> None:
    """A second router opens the same port; when one is killed, the other goes on answering."""
    os.kill(replica_pids(ROUTER_APP, "Router")[0], signal.SIGKILL)
    client = RestClient(server.rest_port)
    wait_until(lambda: _answers(client), "the other router answers")
    wait_until(two_routers, "the killed router was replaced", 180)
    assert client.predict("half_plus_two", [2.0]) == [3.0]


def _answers(client: RestClient) -> bool:
    try:
        return client.get("/healthz").status == 200
    except OSError:
        return False


@pytest.mark.timeout(600)
def test_every_router_shows_the_sums_of_all(server: LiveServer, two_routers: Callable[[], bool]) -> None:
    """Whichever answers; what a router counted stays when it is killed."""
    wait_until(lambda: len(fresh(server).labelled(ROUTING_GENERATION)) == 2, "both routers report")
    pages = [fresh(server)]

    def counted() -> set[float]:
        labels = {"model_name": "mlp", "status": "OK"}
        newest = [fresh(server) for _ in range(12)]
        pages.extend(newest)
        return {page.value(REQUEST_COUNT, **labels) - pages[0].value(REQUEST_COUNT, **labels) for page in newest}

    for _ in range(40):
        client = server.client()
        client.predict("mlp", [[0.0] * 32])
        client.close()

    wait_until(lambda: counted() == {40}, "both routers show all requests")
    os.kill(replica_pids(ROUTER_APP, "Router")[0], signal.SIGKILL)
    assert counted() == {40}
    wait_until(two_routers, "the killed router was replaced", 180)
    assert counted() == {40}
    assert_never_falls(pages)


def fresh(server: LiveServer) -> Page:
    """Read the page over a new connection, which any router may get; one that was just killed gives none."""
    pages: list[Page] = []

    def has_page() -> bool:
        client = server.client()
        with suppress(OSError, http.client.HTTPException):
            pages.append(scrape_once(client))
        client.close()
        return bool(pages)

    wait_until(has_page, "a router shows the page")
    return pages[0]


def test_what_is_reported_as_done_is_true_at_every_router(
    server: LiveServer, two_routers: Callable[[], bool], base_path: Path
) -> None:
    """A reload is answered with OK when whichever router gets the next request answers it, also one that just joined."""
    server.copy_version("half_plus_two_versions", 1, base_path)
    request = reload_request(server)
    model = request.config.model_config_list.config.add(
        name="told", base_path=str(base_path), model_platform="tensorflow"
    )
    model.version_labels["stable"] = 1
    model.model_version_policy.all.SetInParent()

    reload(server, request)
    seen = [asked(server, "told/labels/stable") for _ in range(12)]
    os.kill(replica_pids(ROUTER_APP, "Router")[0], signal.SIGKILL)
    server.copy_version("half_plus_two_versions", 2, base_path)
    wait_until(lambda: shows_available(server, "told", 2), "a router shows the new version")
    seen += [asked(server, "told/versions/2") for _ in range(12)]
    while not two_routers():
        seen.append(asked(server, "told/versions/2"))
    seen += [asked(server, "told/versions/2") for _ in range(12)]

    reload(server, reload_request(server))
    assert set(seen) - {None} == {200}
    assert len(seen) - seen.count(None) > 24


def reload(server: LiveServer, request: serving_pb2.ReloadConfigRequest) -> None:
    """Send a reload over a new connection; fails when it is not answered with OK."""
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        call(channel, f"{MODELS}HandleReloadConfigRequest", request, serving_pb2.ReloadConfigResponse, timeout=120)


def asked(server: LiveServer, path: str) -> int | None:
    """Send a request over a new connection, which any router may get; None while the one that was killed had it."""
    client = server.client()
    try:
        return client.post(f"/v1/models/{path}:predict", {"instances": [2.0]}).status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        client.close()


def shows_available(server: LiveServer, model: str, version: int) -> bool:
    """Whether a router, whichever, shows a version as AVAILABLE."""
    client = server.client()
    with suppress(OSError, http.client.HTTPException):
        return version in client.available(model)
    return False
