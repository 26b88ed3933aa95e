"""Tests of what the watcher answers to orders, and to changes of the list of models while a rollout runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import replace

import pytest

from core.admin import messages as admin_messages
from core.admin.delivery_messages import RolloutAnswer, RolloutRequest, read_rollout_answer, rollout_request
from core.config.models_text import to_message
from core.delivery.rollout_record import RolloutPhase
from core.errors import Aborted, DeadlineExceeded, FailedPrecondition, InvalidArgument, NotFound, ServingError
from core.protos import serving_pb2
from core.rollouts.record_json import record_of_json
from deployments.versions import rollout_requests
from deployments.versions.config_requests import ConfigRequests
from deployments.versions.rollout_requests import RolloutRequests
from tests.support.delivery_sites import PLANNED, DeliverySite


async def answered(site: DeliverySite, work: Awaitable[bytes | ServingError]) -> bytes | ServingError:
    """Let ticks turn until a request is answered."""
    task = asyncio.ensure_future(work)
    while not task.done():
        site.pass_time(1.0)
        await asyncio.sleep(0.001)
    return task.result()


async def ordered(site: DeliverySite, **order) -> RolloutAnswer:
    """Give an order, and read its answer."""
    requests = RolloutRequests(site.watch, lambda: None)
    raw = await answered(site, requests.change(rollout_request(RolloutRequest(**order)), "anna"))
    assert isinstance(raw, bytes), raw
    return read_rollout_answer(raw)


async def refused(site: DeliverySite, **order) -> ServingError:
    """Give an order that is refused."""
    requests = RolloutRequests(site.watch, lambda: None)
    error = await answered(site, requests.change(rollout_request(RolloutRequest(**order))))
    assert isinstance(error, ServingError)
    return error


async def test_an_order_is_answered_when_every_router_has_what_follows() -> None:
    """With the record, and who gave it."""
    site = DeliverySite()
    site.begin()

    answer = await ordered(site, model="m", verb="pause")

    record = record_of_json(answer.record)
    assert (record.phase, record.paused_by) == (RolloutPhase.PAUSED, "anna")
    assert answer.generation == record.generation
    assert site.router.table.models["m"].delivery.phase is RolloutPhase.PAUSED
    assert "anna" in answer.text


async def test_without_a_verb_nothing_is_changed() -> None:
    """The record is told."""
    site = DeliverySite()
    site.begin()

    answer = await ordered(site, model="m")

    assert (answer.generation, answer.text) == (site.record.generation, "")
    assert record_of_json(answer.record).canary == 8


async def test_of_two_orders_for_one_generation_the_second_is_refused() -> None:
    """Compare and set: its sender has not seen what the first one did."""
    site = DeliverySite()
    site.begin()
    seen = (await ordered(site, model="m")).generation
    await ordered(site, model="m", verb="pause", expected_generation=seen)

    error = await refused(site, model="m", verb="promote", expected_generation=seen)

    assert isinstance(error, Aborted)


@pytest.mark.parametrize(
    ("order", "kind", "reason"),
    [
        ({"model": "n", "verb": "start"}, NotFound, "There is no model n."),
        ({"model": "", "verb": "start"}, InvalidArgument, "model is missing."),
        ({"model": "m", "verb": "undo"}, FailedPrecondition, "undo is not possible"),
        ({"model": "m", "verb": "start", "version": 99}, FailedPrecondition, "99"),
        ({"model": "m", "verb": "traffic", "traffic": (("7", 1),)}, ServingError, ""),
    ],
    ids=["no such model", "no model", "no rollout", "no such version", "shares"],
)
async def test_an_order_that_is_refused_is_an_error_as_a_value(
    order: dict, kind: type[ServingError], reason: str
) -> None:
    """With the reason."""
    site = DeliverySite()
    site.settle()

    error = await refused(site, **order)

    assert isinstance(error, kind)
    assert reason in str(error)


async def test_an_order_that_no_tick_takes_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """The watcher hangs on storage."""
    monkeypatch.setattr(rollout_requests, "TICK_TIMEOUT_S", 0.05)
    site = DeliverySite()
    site.begin()

    raw = rollout_request(RolloutRequest("m", "pause"))
    error = await RolloutRequests(site.watch, lambda: None).change(raw)

    assert isinstance(error, DeadlineExceeded)


async def test_an_order_that_a_router_has_not_confirmed_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was accepted, and says so."""
    monkeypatch.setattr(rollout_requests, "PUBLISH_TIMEOUT_S", 0.1)
    site = DeliverySite()
    site.begin()
    site.router.is_heard = False

    error = await refused(site, model="m", verb="pause")

    assert isinstance(error, DeadlineExceeded)
    assert "was accepted" in str(error)
    assert site.record.phase is RolloutPhase.PAUSED


def change(site: DeliverySite, *, is_forced: bool = False) -> bytes:
    """Return a request that points a label to the canary."""
    in_force = site.watch.configuration.in_force()
    assert in_force is not None
    labelled = replace(PLANNED, labels={"mine": 8})
    return admin_messages.change_request((labelled,), in_force.fingerprint, is_forced=is_forced)


async def test_a_label_of_a_version_in_a_rollout_stays_what_it_is() -> None:
    """A change and a reload of the list are refused with the reason."""
    site = DeliverySite()
    site.begin()
    requests = ConfigRequests(site.watch, lambda: None)

    error = await answered(site, requests.change(change(site)))
    reload = serving_pb2.ReloadConfigRequest(config=to_message((replace(PLANNED, labels={"mine": 7}),)))
    second = await answered(site, requests.reload(reload.SerializeToString()))

    assert isinstance(error, FailedPrecondition)
    assert "version 8 has a part in a rollout" in str(error)
    assert "version 7 has a part in a rollout" in str(second)
    assert site.record.phase is RolloutPhase.STEP


async def test_a_forced_change_ends_the_rollout_first() -> None:
    """Then it is in force."""
    site = DeliverySite()
    site.begin()

    raw = await answered(site, ConfigRequests(site.watch, lambda: None).change(change(site, is_forced=True), "anna"))

    assert isinstance(raw, bytes)
    site.reach(RolloutPhase.IDLE)
    assert site.record.rejected.keys() == {8}
    assert site.router.table.models["m"].labels["mine"] == 8


async def test_a_forced_change_of_another_list_ends_nothing() -> None:
    """Its sender has not seen what it would change."""
    site = DeliverySite()
    site.begin()
    raw = admin_messages.change_request((replace(PLANNED, labels={"mine": 8}),), "other", is_forced=True)

    error = await answered(site, ConfigRequests(site.watch, lambda: None).change(raw))

    assert isinstance(error, Aborted)
    assert site.record.phase is RolloutPhase.STEP
