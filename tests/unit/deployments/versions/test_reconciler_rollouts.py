"""Tests of rollouts in the ticks of the watcher: what is loaded, what the routers' table says, and what survives."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest

from core.config.model_config import ModelConfig
from core.config.version_policy import All
from core.delivery.plan import DeliverySettings, OnNewVersion, RolloutStep
from core.delivery.rollout_record import NO_RECORD, PauseCause, RolloutPhase
from core.errors import Aborted, FailedPrecondition, NotFound, Unavailable
from core.rollouts.orders import OrderVerb, RolloutOrder
from core.storage.store_errors import StorageFailed
from core.versions.lifecycle import State
from deployments.delivery.rollouts import FOLDER_AWAITED_S
from deployments.delivery.state_folder import LocalFolder
from tests.support.clients import wait_until
from tests.support.delivery_sites import PLAN, PLANNED, DeliverySite
from tests.support.fakes import FakeRouter
from tests.support.sites import M, Site


def with_plan(**changes) -> ModelConfig:
    """Return the model with a changed plan."""
    return replace(M, delivery=DeliverySettings(plan=replace(PLAN, **changes)))


def test_a_canary_that_is_like_stable_gets_all_requests_step_by_step() -> None:
    """Both stay loaded on the way, and the old version until the way back is closed."""
    site = DeliverySite()
    site.begin()
    assert site.weights == {7: 9_000, 8: 1_000}
    assert site.loaded == {7, 8}

    site.pass_time(90.0)
    assert site.weights == {7: 5_000, 8: 5_000}
    site.reach(RolloutPhase.PROMOTED)
    site.pass_time(2.0)
    assert site.weights == {8: 10_000}
    assert site.loaded == {7, 8}

    site.reach(RolloutPhase.IDLE, 700.0)
    site.pass_time(5.0)
    assert site.record.stable == 8
    assert site.loaded == {8}


def test_a_canary_with_errors_is_rolled_back_and_not_tried_again() -> None:
    """It is unloaded, although its number is the highest, and stable answers all requests."""
    site = DeliverySite()
    site.error_rates = {8: 0.5}
    site.begin()

    site.reach(RolloutPhase.IDLE)
    site.pass_time(5.0)

    assert site.weights == {7: 10_000}
    assert site.loaded == {7}
    assert "server_errors" in site.record.rejected[8].reason
    deployed = list(site.host.deployed)
    site.pass_time(60.0)
    assert site.host.deployed == deployed


def test_a_rejected_version_that_the_policy_keeps_loaded_gets_no_requests() -> None:
    """With `all` it is unloaded as well: the policy is not offered it."""
    site = DeliverySite((6, 7), config=replace(PLANNED, policy=All()))
    site.error_rates = {8: 0.5}
    site.begin()

    site.reach(RolloutPhase.IDLE)
    site.pass_time(5.0)

    assert site.loaded == {6, 7}
    assert site.router.table.resolve("m").servable.version == 7


def test_no_weight_counts_before_every_router_leads_to_the_canary() -> None:
    """A router that has not confirmed holds the first step back; so it does with each further one."""
    site = DeliverySite()
    site.settle()
    slow = site.host.routers["slow"] = FakeRouter("slow", site.router.table)
    slow.answers = False
    site.source.write("/m", 8)

    site.pass_time(30.0)
    assert site.record.phase is RolloutPhase.LOADING
    assert site.weights == {7: 10_000}

    slow.answers = True
    site.reach(RolloutPhase.STEP)
    site.pass_time(3.0)
    slow.answers = False
    site.pass_time(30.0)
    assert site.weights == {7: 9_000, 8: 1_000}


@pytest.mark.parametrize("restarts_at", range(0, 110, 9))
def test_a_new_watcher_goes_on_where_its_predecessor_ended(restarts_at: int) -> None:
    """Whichever moment that was; time without a watcher is no bake, and nothing that was counted counts twice."""
    site = DeliverySite()
    site.begin()
    site.pass_time(restarts_at)
    before = site.record

    site.clock.advance(3600.0)
    site.restart()
    site.pass_time(2.0)

    after = site.record
    assert (after.stable, after.canary, after.rollout, after.step) == (7, 8, before.rollout, before.step)
    assert after.baked_s <= before.baked_s + 10.0
    assert after.analysis.step_requests <= before.analysis.step_requests + 100
    assert site.weights.keys() == {7, 8}
    assert site.host.deleted == []
    site.reach(RolloutPhase.PROMOTED)


def test_the_table_is_not_published_for_every_second_of_a_bake() -> None:
    """Clocks and evidence reach routers every few seconds."""
    site = DeliverySite()
    site.begin()
    before = site.router.table.generation

    site.pass_time(50.0)

    assert site.router.table.generation - before <= 50 / 5 + 2
    shown = site.router.table.models["m"].delivery
    assert shown.phase is RolloutPhase.STEP
    assert site.record.baked_s - shown.baked_s <= 6.0
    assert shown.analysis == site.record.analysis


def test_a_model_without_a_plan_costs_a_tick_nothing() -> None:
    """Ticks that would change nothing are left out as before."""
    site = Site((7,))
    site.settle()
    published = len(site.host.published)

    for _ in range(30):
        site.tick(1.0)

    assert site.watch.rollouts.delivered == {}
    assert len(site.host.published) == published
    assert site.watch.table.models["m"].delivery == NO_RECORD
    assert site.watch.table.models["m"].division is None


def test_the_first_version_is_served_at_once() -> None:
    """There is nothing to compare it with; the newest is stable."""
    site = DeliverySite((6, 7))
    site.settle()

    assert (site.record.stable, site.record.phase) == (7, RolloutPhase.IDLE)
    assert site.loaded == {7}
    assert site.router.table.resolve("m").servable.version == 7


def test_a_second_release_replaces_the_first_one() -> None:
    """Stable stays what it was."""
    site = DeliverySite()
    site.begin()

    site.source.write("/m", 9)
    site.pass_time(20.0)

    assert (site.record.stable, site.record.canary) == (7, 9)
    assert site.loaded == {7, 9}


def test_a_second_release_can_wait_for_the_first_one() -> None:
    """It is not loaded before its turn."""
    site = DeliverySite(config=with_plan(on_new_version=OnNewVersion.QUEUE, rollback_window_s=0.0))
    site.begin()

    site.source.write("/m", 9)
    site.pass_time(20.0)
    assert (site.record.canary, site.record.queued) == (8, 9)
    assert site.loaded == {7, 8}

    for _ in range(400):
        site.pass_time(1.0)
        if site.record.canary == 9:
            break
    assert (site.record.stable, site.record.canary) == (8, 9)


def test_a_version_whose_directory_goes_stays_loaded_while_it_is_stable() -> None:
    """A retention job that deletes old versions deletes nobody's answers."""
    site = DeliverySite()
    site.begin()

    site.source.remove("/m", 7)
    site.pass_time(20.0)

    assert site.loaded == {7, 8}
    assert site.weights == {7: 9_000, 8: 1_000}


def test_a_canary_that_cannot_be_loaded_is_rejected_with_the_error() -> None:
    """It has cost nobody a request."""
    site = DeliverySite()
    site.settle()
    site.host.broken = lambda path: path.endswith("/8")

    site.source.write("/m", 8)
    for _ in range(30):
        site.pass_time(10.0)

    assert "no SavedModel there" in site.record.rejected[8].reason
    assert site.weights == {7: 10_000}


def test_labels_of_the_plan_move_with_the_traffic() -> None:
    """`stable` only at the promotion, in the table that moves the requests."""
    site = DeliverySite(config=with_plan(labels={"stable": True, "canary": True}))
    site.begin()

    def named(label: str) -> int:
        return site.router.table.resolve("m", label=label).servable.version

    assert (named("stable"), named("canary")) == (7, 8)
    tables = len(site.host.published)
    site.reach(RolloutPhase.PROMOTED)
    site.pass_time(2.0)
    assert (named("stable"), named("canary")) == (8, 8)
    for table in site.host.published[tables:]:
        division = table.models["m"].division
        assert division is not None
        assert table.resolve("m", label="stable").servable.version == division.stable


class Folder(LocalFolder):
    """A state folder that may be away, and remembers what was written when."""

    is_away = False

    def names(self) -> frozenset[str]:
        """Fail while it is away."""
        if self.is_away:
            raise StorageFailed(Unavailable.code, "it is away")
        return super().names()

    def write(self, name: str, content: bytes) -> None:
        """Fail while it is away."""
        if self.is_away:
            raise StorageFailed(Unavailable.code, "it is away")
        super().write(name, content)


def everything_restarts(site: DeliverySite) -> DeliverySite:
    """Return a site with the same storage and state folder; routers, Serve and the watcher begin anew."""
    again = DeliverySite((), folder=site.folder, config=site.model_list.configs[0])
    again.source = site.source
    again.clock.now_s = site.clock.now_s + 3600.0
    again.restart()
    return again


def test_what_was_decided_survives_a_restart_of_everything(tmp_path) -> None:
    """A rejected version is not tried again, although its number is the highest."""
    site = DeliverySite(folder=Folder(tmp_path))
    site.error_rates = {8: 0.5}
    site.begin()
    site.reach(RolloutPhase.IDLE)
    site.pass_time(5.0)

    again = everything_restarts(site)
    again.pass_time(20.0)

    assert again.loaded == {7}
    assert again.host.deployed == ["m:7"]
    assert (again.record.stable, set(again.record.rejected)) == (7, {8})


def test_a_rollout_goes_on_after_a_restart_of_everything(tmp_path) -> None:
    """With its step, what it baked and what was proved; stable is loaded first."""
    site = DeliverySite(folder=Folder(tmp_path))
    site.begin()
    site.pass_time(90.0)
    before = site.record
    assert before.step == 1

    again = everything_restarts(site)
    again.pass_time(10.0)

    assert again.host.deployed == ["m:7", "m:8"]
    assert (again.record.rollout, again.record.step) == (before.rollout, 1)
    assert abs(again.record.baked_s - before.baked_s) < 25.0
    assert again.weights == {7: 5_000, 8: 5_000}
    again.reach(RolloutPhase.PROMOTED)


def test_without_a_state_folder_a_restart_of_everything_begins_with_the_newest() -> None:
    """Nothing says what was stable."""
    site = DeliverySite()
    site.begin()

    again = everything_restarts(site)
    again.pass_time(10.0)

    assert (again.record.stable, again.loaded) == (8, {8})


def test_a_transition_is_written_before_it_takes_effect(tmp_path) -> None:
    """While the folder is away, the rollout stays in its step; it goes on when the folder is back."""
    folder = Folder(tmp_path)
    site = DeliverySite(folder=folder)
    site.begin()
    folder.is_away = True

    site.pass_time(120.0)
    assert site.record.step == 0
    assert site.weights == {7: 9_000, 8: 1_000}

    folder.is_away = False
    site.pass_time(40.0)
    assert site.weights == {7: 5_000, 8: 5_000}
    assert json.loads((tmp_path / "m.json").read_text())["step"] == 1


def test_a_bad_canary_is_rolled_back_although_the_folder_is_away(tmp_path) -> None:
    """What protects callers waits for nobody; it is written later."""
    folder = Folder(tmp_path)
    site = DeliverySite(folder=folder)
    site.begin()
    folder.is_away = True
    site.error_rates = {8: 0.5}

    site.reach(RolloutPhase.IDLE)
    site.pass_time(2.0)
    assert site.weights == {7: 10_000}

    folder.is_away = False
    site.pass_time(5.0)
    assert "8" in json.loads((tmp_path / "m.json").read_text())["rejected"]


def test_evidence_is_collected_while_a_step_waits_for_the_state_folder(tmp_path) -> None:
    """A canary that turns bad meanwhile may do so slowly, and each window is handed out once."""
    folder = Folder(tmp_path)
    site = DeliverySite(folder=folder)
    site.begin()
    site.pass_time(45.0)
    folder.is_away = True
    site.pass_time(40.0)
    assert (site.record.phase, site.record.step) == (RolloutPhase.STEP, 0)
    before = site.record.analysis.step_requests

    site.pass_time(60.0)

    assert site.record.analysis.step_requests >= before + 400


def test_what_gives_no_traffic_does_not_wait_for_the_state_folder(tmp_path) -> None:
    """A version that comes while the folder is away waits for its turn, and is not loaded before."""
    folder = Folder(tmp_path)
    site = DeliverySite(folder=folder, config=with_plan(on_new_version=OnNewVersion.QUEUE))
    site.begin()
    folder.is_away = True

    site.source.write("/m", 9)
    site.pass_time(20.0)

    assert (site.record.phase, site.record.queued) == (RolloutPhase.STEP, 9)
    assert site.loaded == {7, 8}


def test_a_server_that_starts_waits_for_its_state_folder(tmp_path) -> None:
    """For some time: without it, a rejected version could become stable."""
    folder = Folder(tmp_path)
    site = DeliverySite(folder=folder)
    site.error_rates = {8: 0.5}
    site.begin()
    site.reach(RolloutPhase.IDLE)
    folder.is_away = True
    again = everything_restarts(site)

    for _ in range(5):
        with pytest.raises(StorageFailed):
            again.tick(1.0)
    assert again.host.deployed == []
    folder.is_away = False
    again.pass_time(10.0)
    assert again.loaded == {7}


def test_a_server_without_its_state_folder_starts_in_the_end(tmp_path) -> None:
    """Requests come first; what lies in the folder is not written over."""
    folder = Folder(tmp_path)
    site = DeliverySite(folder=folder)
    site.begin()
    folder.is_away = True
    again = everything_restarts(site)
    with pytest.raises(StorageFailed):
        again.tick()

    again.clock.advance(FOLDER_AWAITED_S)
    again.pass_time(10.0)
    assert again.loaded == {8}

    folder.is_away = False
    again.pass_time(10.0)
    assert json.loads((tmp_path / "m.json.kept-0").read_text())["stable"] == 7
    assert json.loads((tmp_path / "m.json").read_text())["stable"] == 8


def test_a_model_that_is_no_longer_configured_takes_its_record_with_it(tmp_path) -> None:
    """One that comes back later begins anew."""
    site = DeliverySite(folder=Folder(tmp_path))
    site.begin()

    site.model_list.configs = ()
    site.pass_time(10.0)

    assert list(tmp_path.iterdir()) == []
    assert site.record == NO_RECORD
    assert site.loaded == set()


def test_a_plan_that_is_removed_ends_its_rollout() -> None:
    """Stable gets all requests, and the policy decides again."""
    site = DeliverySite()
    site.begin()

    site.model_list.configs = (M,)
    site.pass_time(20.0)

    assert site.record.canary == 0
    assert site.record.phase is RolloutPhase.IDLE


def test_shares_of_the_settings_are_divided_without_a_plan() -> None:
    """Both versions are loaded, whatever the policy says."""
    config = replace(M, delivery=DeliverySettings(traffic={"7": 9_000, "8": 1_000}))
    site = DeliverySite((7, 8), config=config)

    site.pass_time(20.0)

    assert site.loaded == {7, 8}
    assert site.weights == {7: 9_000, 8: 1_000}


def test_an_order_takes_effect_in_the_next_tick() -> None:
    """A pause holds the shares; resume goes on, promote --full gives the canary everything."""
    site = DeliverySite()
    site.begin()

    outcome = site.order(OrderVerb.PAUSE, by="anna").result(0)
    assert (outcome.record.phase, outcome.record.pause_cause) == (RolloutPhase.PAUSED, PauseCause.ORDER)
    assert "anna" in outcome.text
    site.pass_time(120.0)
    assert site.weights == {7: 9_000, 8: 1_000}

    site.order(OrderVerb.RESUME).result(0)
    assert site.record.phase is RolloutPhase.STEP
    site.order(OrderVerb.PROMOTE, is_full=True).result(0)
    site.pass_time(3.0)
    assert site.weights == {8: 10_000}


def test_an_order_that_is_fulfilled_already_says_so() -> None:
    """And changes nothing."""
    site = DeliverySite()
    site.begin()
    generation = site.record.generation

    outcome = site.order(OrderVerb.RESUME).result(0)

    assert outcome.text == "There is nothing to change."
    assert site.record.generation == generation


def test_orders_that_make_no_sense_are_refused_with_the_reason() -> None:
    """The tick goes on."""
    site = DeliverySite()
    site.settle()
    answers = {
        "none runs": site.watch.rollouts.order("m", RolloutOrder(OrderVerb.PAUSE)),
        "other generation": site.watch.rollouts.order("m", RolloutOrder(OrderVerb.START, generation=99)),
        "no model": site.watch.rollouts.order("n", RolloutOrder(OrderVerb.START)),
    }

    site.tick()

    with pytest.raises(FailedPrecondition, match="no rollout runs"):
        answers["none runs"].result(0)
    with pytest.raises(Aborted):
        answers["other generation"].result(0)
    with pytest.raises(NotFound, match="There is no model n"):
        answers["no model"].result(0)


def test_an_order_whose_sender_has_given_up_is_not_carried_out() -> None:
    """It was told that nothing came of it; the orders behind it are carried out all the same."""
    site = DeliverySite()
    site.begin()
    given_up = site.watch.rollouts.order("m", RolloutOrder(OrderVerb.ABORT))
    given_up.cancel()

    paused = site.order(OrderVerb.PAUSE)

    assert paused.result(0).record.phase is RolloutPhase.PAUSED


def test_traffic_can_be_ordered_for_a_model_without_settings() -> None:
    """Its versions are loaded for that."""
    site = DeliverySite((7, 8), config=replace(M, policy=All()))
    site.pass_time(10.0)
    assert site.weights == {}

    site.order(OrderVerb.TRAFFIC, traffic=(("7", 7_500), ("8", 2_500))).result(0)
    site.pass_time(5.0)

    assert site.weights == {7: 7_500, 8: 2_500}


def test_an_order_is_not_carried_out_without_the_state_folder(tmp_path) -> None:
    """Except those that take traffic from a canary, or hold it."""
    folder = Folder(tmp_path)
    site = DeliverySite(folder=folder)
    site.begin()
    folder.is_away = True

    refused = site.order(OrderVerb.PROMOTE, is_full=True)
    with pytest.raises(Unavailable, match="state folder"):
        refused.result(0)
    assert site.order(OrderVerb.ABORT).result(0).record.phase is RolloutPhase.ROLLING_BACK


def test_a_step_waits_for_its_gate() -> None:
    """Until it answers 200."""
    answers = {"gate": "403"}
    steps = (replace(PLAN.steps[0], gate="http://gate/"), PLAN.steps[1])
    site = DeliverySite(config=with_plan(steps=steps), ask_gate=lambda _: answers["gate"])
    site.begin()

    site.pass_time(100.0)
    assert site.record.step == 0

    answers["gate"] = "200"
    wait_until(lambda: site.pass_time(5.0) or site.record.step == 1, "the next step begins", 30)


def test_what_happens_is_logged_and_told(caplog: pytest.LogCaptureFixture) -> None:
    """With the numbers that led to it."""
    caplog.set_level("INFO")
    told: list[dict] = []

    def send(_: str, body: bytes, __: Mapping[str, str]) -> str:
        told.append(json.loads(body))
        return "204"

    site = DeliverySite(config=with_plan(notify="http://tool/"), send=send)
    site.error_rates = {8: 0.5}
    site.begin()
    site.reach(RolloutPhase.IDLE)

    lines = [one.getMessage() for one in caplog.records if "rollouts" in one.name or "rollout_lines" in one.name]
    assert any(one.startswith("rollout_step model=m version=8 stable=7") for one in lines)
    assert any(one.startswith("rollout_rolled_back model=m version=8") and "server_errors" in one for one in lines)
    wait_until(lambda: any(one["type"].endswith("rollout_rolled_back") for one in told), "it was told")
    event = next(one for one in told if one["type"].endswith("rollout_rolling_back"))
    assert event["data"]["metrics"][0]["verdict"] == "fail"


class Signatures:
    """Says how signatures differ once the test lets it."""

    def __init__(self, found: tuple[str, ...] | None) -> None:
        self.found = found
        self.kept: set = set()

    def problems(self, old, new) -> tuple[str, ...] | None:
        """Nothing differs from itself."""
        return () if old == new else self.found

    def outputs(self, route) -> frozenset[str]:
        """Both have the same."""
        return frozenset({"scores"})

    def keep(self, routes) -> None:
        """Remember."""
        self.kept = set(routes)


def test_a_canary_with_other_signatures_gets_no_request() -> None:
    """It is rejected before its first step; the table says how they differ."""
    site = DeliverySite(signatures=Signatures(("input x is missing",)))
    site.settle()
    site.source.write("/m", 8)

    site.pass_time(20.0)

    assert "input x is missing" in site.record.rejected[8].reason
    assert site.weights == {7: 10_000}


def test_a_rollout_waits_for_signatures_but_not_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    """A platform may not tell them."""
    site = DeliverySite(signatures=Signatures(None))
    site.settle()
    site.source.write("/m", 8)

    site.pass_time(20.0)
    assert site.record.phase is RolloutPhase.LOADING

    site.pass_time(30.0)
    assert site.record.phase is RolloutPhase.STEP
    assert "signatures_not_compared" in caplog.text


def test_changed_signatures_of_any_model_are_told() -> None:
    """Also of one without a plan, whose old version goes as soon as the new one answers."""
    signatures = Signatures(("output y has another type",))
    site = DeliverySite(config=M, signatures=signatures)
    site.settle()

    site.source.write("/m", 8)
    site.pass_time(20.0)

    assert site.loaded == {8}
    assert site.router.table.models["m"].signature_changes == ("output y has another type",)
    assert signatures.kept == set()
    signatures.found = ()
    site.source.write("/m", 9)
    site.pass_time(20.0)
    assert site.router.table.models["m"].signature_changes == ()


def test_a_replica_of_the_canary_that_keeps_dying_needs_no_statistics() -> None:
    """Twice is enough."""
    site = DeliverySite()
    site.begin()

    for _ in range(2):
        seen = site.host.apps["m:8"]
        site.host.apps["m:8"] = replace(seen, replicas=0, condition=seen.condition.DEPLOYING)
        site.tick(10.0)
        site.host.apps["m:8"] = seen
        site.pass_time(15.0)

    site.reach(RolloutPhase.IDLE, 60.0)
    assert site.record.rejected.keys() == {8}
    assert site.state(7) is State.AVAILABLE


def test_steps_that_only_mirror_send_copies() -> None:
    """All requests are stable's."""
    steps = (RolloutStep(mirror=5_000, bake_s=60.0),)
    site = DeliverySite(config=with_plan(steps=steps))
    site.begin()

    division = site.router.table.models["m"].division
    assert division is not None
    assert division.mirror is not None
    assert (division.mirror.version, division.mirror.share) == (8, 5_000)
    assert site.weights == {7: 10_000}
