"""Tests of what the watcher answers to requests about the list of models."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from core.admin import messages as admin_messages
from core.config.model_config import ModelConfig
from core.config.models_text import to_message
from core.config.version_policy import Specific
from core.errors import Code, DeadlineExceeded, RuntimeFailure, ServingError, Unavailable
from core.protos import serving_pb2
from core.versions.lifecycle import State
from deployments.versions import config_requests
from deployments.versions.config_requests import ConfigRequests
from deployments.versions.published_table import BROADCAST_AGAIN_S
from tests.support.fakes import FakeRouter
from tests.support.sites import M, Site

N = ModelConfig("n", "/n")


FEW_TICKS = 40
"""Enough for all that a reload waits for, and over before its time is."""


def reload_request(*models: ModelConfig) -> bytes:
    return serving_pb2.ReloadConfigRequest(config=to_message(models)).SerializeToString()


async def answered(
    site: Site, work: Callable[[ConfigRequests], Awaitable[bytes | ServingError]], most_ticks: int = 100_000
) -> bytes | ServingError:
    """Let ticks turn until a request is answered; after `most_ticks`, time alone can end it."""
    task = asyncio.ensure_future(work(ConfigRequests(site.watch, lambda: None)))
    ticks = 0
    while not task.done():
        if ticks < most_ticks:
            site.tick(0.5)
            site.host.progress()
        ticks += 1
        await asyncio.sleep(0.001)
    return task.result()


async def test_case_J2_a_reload_is_answered_when_the_model_that_it_adds_is_available() -> None:
    """Also by a server that started with no model."""
    site = Site(configs=())
    site.settle()

    answer = await answered(site, lambda requests: requests.reload(reload_request(M)))

    assert isinstance(answer, bytes)
    assert site.router.table.resolve("m").app == "m:1"


async def test_case_J8_a_model_that_cannot_be_loaded_fails_the_reload_with_its_error() -> None:
    """At the start it fails its own model only; both show the error."""
    site = Site()
    site.host.finish_deploying = lambda app: site.host.fail(app, Code.CANCELLED, "injected error")
    for _ in range(6):
        site.tick(70.0)
        site.host.progress()
    (status,) = site.watch.table.statuses("m")
    assert (status.state, status.code, status.message) == (State.END, Code.CANCELLED, "injected error")
    assert site.watch.table.settled

    site.source.write("/n", 1)
    site.clock.advance(60.0)
    task = asyncio.ensure_future(ConfigRequests(site.watch, lambda: None).reload(reload_request(M, N)))
    while not task.done():
        site.tick(70.0)
        site.host.progress()
        await asyncio.sleep(0.001)
    error = task.result()

    assert isinstance(error, RuntimeFailure)
    assert "1 model(s) did not become available" in str(error)
    assert "injected error" in str(error)


async def test_a_model_that_is_never_listed_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Upstream waits for ever, and holds up every later reload."""
    monkeypatch.setattr(config_requests, "RELOAD_TIMEOUT_S", 1.0)
    site = Site()
    site.settle()
    site.host.finish_deploying = lambda _: None
    site.source.write("/n", 1)

    error = await answered(site, lambda requests: requests.reload(reload_request(M, N)), FEW_TICKS)

    assert isinstance(error, DeadlineExceeded)
    assert "['n']" in str(error)
    assert "n: version 1 is in state LOADING" in str(error)


async def test_a_reload_that_comes_too_late_names_the_last_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a load is retried, nothing else shows the reason to whoever waits."""
    monkeypatch.setattr(config_requests, "RELOAD_TIMEOUT_S", 1.0)
    site = Site(configs=())
    site.settle()
    site.host.finish_deploying = lambda app: site.host.fail(app, Code.UNAVAILABLE, "no memory")

    error = await answered(site, lambda requests: requests.reload(reload_request(M)), FEW_TICKS)

    assert "m: version 1 could not be loaded: UNAVAILABLE: no memory (attempt 1; next attempt at " in str(error)


async def test_a_reload_waits_for_the_router_that_has_not_confirmed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests through it would not find the model."""
    monkeypatch.setattr(config_requests, "RELOAD_TIMEOUT_S", 1.0)
    site = Site(configs=())
    site.settle()
    slow = site.host.routers["slow"] = FakeRouter("slow", site.router.table, answers=False)

    late = await answered(site, lambda requests: requests.reload(reload_request(M)), FEW_TICKS)
    assert "Not every router has confirmed the new routing table yet." in str(late)
    assert site.router.table.resolve("m").app == "m:1"
    assert site.router.table.statuses("m")[0].state is State.LOADING

    slow.answers = True
    site.tick(BROADCAST_AGAIN_S)
    assert slow.table.statuses("m")[0].state is State.AVAILABLE


@pytest.mark.parametrize(
    ("wanted", "lists"), [(frozenset({7, 9}), "only 9, 7"), (frozenset[int](), "no versions")], ids=["others", "none"]
)
async def test_a_model_whose_policy_wants_nothing_that_is_there_ends_the_wait_at_once(wanted, lists) -> None:
    """Nothing will be loaded until somebody writes such a version or changes the policy."""
    site = Site((1, 2), configs=())
    site.settle()

    error = await answered(site, lambda one: one.reload(reload_request(replace(M, policy=Specific(wanted)))))

    assert str(error) == (
        "1 model(s) did not become available: {{m due to error: NOT_FOUND: "
        f"The version policy of servable m lists {lists}; base path /m has 2, 1}}, }}"
    )


async def test_a_request_that_is_no_message_is_an_error_as_a_value() -> None:
    """Nothing is raised through Serve."""
    requests = ConfigRequests(Site().watch, lambda: None)

    assert isinstance(await requests.reload(b"\xff"), ServingError)
    assert isinstance(await requests.change(b"\xff"), ServingError)
    assert isinstance(await requests.get(b""), Unavailable)


async def test_the_list_in_force_is_told_with_what_it_wants() -> None:
    """And with what the files say, so that a model that was removed can come back."""
    site = Site((1, 2))
    site.settle()
    site.watch.configuration.reload(to_message((N,)), site.watch.table)
    site.tick()

    raw = await ConfigRequests(site.watch, lambda: None).get(b"")

    assert isinstance(raw, bytes)
    told = admin_messages.read_config_answer(raw)
    assert (told.known.models, told.known.files, told.known.wanted) == ((N,), (M,), {"n": frozenset()})
    assert told.is_requested


async def test_a_change_is_answered_when_routers_were_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """While no tick turns, it is not."""
    site = Site()
    site.settle()
    in_force = site.watch.configuration.in_force()
    assert in_force is not None
    request = admin_messages.change_request((M, N), in_force.fingerprint)

    raw = await answered(site, lambda requests: requests.change(request))
    assert isinstance(raw, bytes)
    assert admin_messages.read_change_answer(raw) == site.router.table.generation
    assert set(site.router.table.models) == {"m", "n"}

    monkeypatch.setattr(config_requests, "PUBLISH_TIMEOUT_S", 0.1)
    fingerprint = site.watch.configuration.in_force().fingerprint
    late = await ConfigRequests(site.watch, lambda: None).change(admin_messages.change_request((M,), fingerprint))
    assert isinstance(late, DeadlineExceeded)
