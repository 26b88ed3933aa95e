"""Any sequence of events, with a restart of the watcher between any two: what holds of every rollout, whatever comes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random

import pytest

from core.delivery.analysis import ArmWindow
from core.delivery.plan import DeliverySettings, OnFailure, OnInconclusive, OnNewVersion, RolloutPlan, RolloutStep
from core.delivery.rollout_record import NO_RECORD, RolloutPhase, RolloutRecord
from core.delivery.split import WHOLE, Division, MirrorSettings
from core.errors import FailedPrecondition, InvalidArgument
from core.rollouts.candidates import rejected_versions
from core.rollouts.holding import Holding, division_of, holding_of
from core.rollouts.orders import OrderVerb, RolloutOrder, ordered
from core.rollouts.progress import advance, awaited_gate
from core.rollouts.record_json import record_of_json, record_to_json
from core.rollouts.sight import ModelSight
from tests.support.rollout_scene import ANALYSIS, BAD, FEW, GOOD

STEPS = (
    RolloutStep(mirror=WHOLE, bake_s=20.0, min_requests=0),
    RolloutStep(weight=500, bake_s=30.0),
    RolloutStep(pause_s=20.0),
    RolloutStep(weight=5000, bake_s=30.0, gate="http://gate"),
)
QUIET_LOOKS = 1000
LONGEST_REST = 10
NEVER = 1e9


def plan_of_chance(chance: Random) -> RolloutPlan:
    """Return a plan with any answers to what can go wrong."""
    return RolloutPlan(
        STEPS[chance.randrange(len(STEPS)) :],
        analysis=ANALYSIS,
        on_failure=chance.choice(list(OnFailure)),
        on_inconclusive=chance.choice(list(OnInconclusive)),
        on_new_version=chance.choice(list(OnNewVersion)),
        max_duration_s=chance.choice([150.0, NEVER]),
        rollback_window_s=chance.choice([0.0, 50.0]),
        health_grace_s=20.0,
        labels={"stable": True, "canary": True},
    )


@dataclass
class Walk:
    """A model, its storage, its loaded versions, two routers, and a watcher that is replaced now and then."""

    chance: Random
    plan: RolloutPlan | None
    traffic: dict[str, int] = field(default_factory=dict)
    record: RolloutRecord = NO_RECORD
    stored: dict[int, str] = field(default_factory=lambda: {1: "a1"})
    loaded: set[int] = field(default_factory=set)
    broken: set[int] = field(default_factory=set)
    failed: dict[int, str] = field(default_factory=dict)
    dead: dict[int, float] = field(default_factory=dict)
    routers: list[tuple[int, Division | None]] = field(default_factory=lambda: [(-1, None), (-1, None)])
    latest: int = 1
    elapsed_s: float = 0.0
    wall_s: float = 1e6
    is_listed: bool = True
    restarts: int = 0
    window: ArmWindow | None = None
    is_lagging: bool = False
    bad: list[ArmWindow] = field(default_factory=list)
    holding: Holding = field(default_factory=Holding)

    @property
    def settings(self) -> DeliverySettings:
        """What the file says: a plan, or shares."""
        return DeliverySettings(plan=self.plan, traffic=self.traffic if self.plan is None else {})

    def select(self, present: frozenset[int]) -> frozenset[int]:
        """Choose the latest ones."""
        return frozenset(sorted(present)[-self.latest :])

    def sight(self) -> ModelSight:
        """Return what the watcher sees."""
        present = frozenset(self.stored)
        return ModelSight(
            "m",
            self.wall_s,
            self.elapsed_s,
            self.is_listed,
            dict(self.stored) if self.is_listed else {},
            self.select(present) if self.is_listed else frozenset(),
            frozenset(self.loaded),
            dict(self.failed),
            dict(self.dead),
            self.restarts,
            min(epoch for epoch, _ in self.routers),
            self.window,
            (),
            self.chance.choice([None, True]) if awaited_gate(self.record) else None,
        )

    def tick(self) -> None:
        """Look, load and unload, and publish, as the watcher does; the record goes through JSON each time."""
        sight = self.sight()
        before = self.record
        self.record, _ = advance(before, sight, self.settings)
        self.check(before, sight)
        self.record = self.stored_and_read(self.record)
        self.follow(sight, frozenset({before.canary, before.previous}))
        self.elapsed_s, self.window, self.restarts = 0.0, None, 0

    def stored_and_read(self, record: RolloutRecord) -> RolloutRecord:
        """Return the record that a new watcher reads."""
        read = record_of_json(record_to_json(record))
        assert read == record
        return read

    def follow(self, sight: ModelSight, parts: frozenset[int] = frozenset()) -> None:
        """Load what is aspired, unload what is not, and let the routers have the table."""
        self.holding = holding_of(self.record, sight, self.settings)
        present = frozenset(self.stored)
        aspired = self.select(present - self.holding.avoid) | self.holding.keep
        for version in aspired & present - self.loaded - self.failed.keys():
            if version in self.broken:
                self.failed[version] = "no such file"
            elif self.chance.random() < 0.7:
                self.loaded.add(version)
                self.dead.pop(version, None)
        is_left = bool(self.loaded & aspired)
        assert is_left or not (self.loaded and self.record.stable), "nothing that answers is left"
        if self.is_listed and is_left:
            for version in self.loaded - aspired:
                if version in parts:
                    self.check_let_go(version)
                self.loaded.discard(version)
        published = (self.record.epoch, division_of(self.record, frozenset(self.loaded)))
        if not self.is_lagging:
            self.routers = [published, published]

    def check(self, before: RolloutRecord, sight: ModelSight) -> None:
        """Hold against the record what must be true of each."""
        after = self.record
        if before.stable and self.plan is not None and not after.stable:
            assert before.stable not in sight.available, "a stable version that answers was forgotten"
        division = after.division
        shares = dict(division.weights) if division is not None else {}
        assert shares.keys() <= sight.available, "a share of a version that does not answer"
        assert not shares or sum(shares.values()) == WHOLE
        if division is not None and division.mirror is not None:
            assert division.mirror.version in sight.available
        self.check_rejected(shares, after, sight)
        if after.stable:
            assert after.stable in holding_of(after, sight, self.settings).keep, "stable is not held"
        if before.phase is RolloutPhase.ROLLING_BACK and after.phase is RolloutPhase.IDLE:
            self.check_let_go(before.canary)
        if sight.elapsed_s == 0:
            assert after.baked_s <= before.baked_s, "time without a watcher was counted"
        assert after.generation - before.generation in {0, 1}
        assert after.epoch >= before.epoch
        assert (after.epoch == before.epoch) == (
            (division and replace(division, observed={})) == (before.division and replace(before.division, observed={}))
        )

    def check_let_go(self, canary: int) -> None:
        """No router may send anything to a canary that is unloaded, or has been rolled back."""
        for _, division in self.routers if self.plan is not None else ():
            shares = dict(division.weights) if division is not None else {}
            assert not shares.get(canary) or canary not in self.loaded, f"a router still divides among {shares}"

    def check_rejected(self, shares: dict[int, int], record: RolloutRecord, sight: ModelSight) -> None:
        """A rejected version has a share only if it was forced, or nothing else is loaded."""
        refused = rejected_versions(record, sight)
        fixed = {version for version, _ in record.fixed_weights} | {int(one) for one in self.settings.traffic}
        for version in refused & {one for one, share in shares.items() if share} - fixed:
            assert sight.available <= refused, f"rejected version {version} has a share"

    def happen(self) -> None:
        """Let one thing happen."""
        is_running = self.record.phase is not RolloutPhase.IDLE
        events = [
            *[self.pass_time] * 30,
            *[self.publish] * (1 if is_running else 10),
            *[self.come_back] * 3,
            *[self.order] * 4,
            self.delete,
            self.rewrite,
            self.die,
            self.lose,
            self.lag,
            self.lose_listing,
            self.change_plan,
            self.change_policy,
            self.replace_watcher,
            self.restart_everything,
        ]
        self.chance.choice(events)()

    def pass_time(self) -> None:
        """Let some seconds pass, with or without requests."""
        self.elapsed_s = self.chance.choice([1.0, 5.0, 10.0])
        self.wall_s += self.elapsed_s
        self.dead = {version: gone_s + self.elapsed_s for version, gone_s in self.dead.items()}
        self.window = self.chance.choice([None, *[GOOD] * 6, FEW, FEW, *self.bad])

    def publish(self) -> None:
        """Put a newer version on storage, sometimes one that cannot be loaded."""
        version = max(self.stored, default=self.record.stable) + 1
        self.stored[version] = f"a{version}"
        if self.chance.random() < 0.2:
            self.broken.add(version)

    def delete(self) -> None:
        """Delete a directory."""
        if self.stored:
            del self.stored[self.chance.choice(sorted(self.stored))]

    def rewrite(self) -> None:
        """Repair a version in place."""
        for version in self.chance.sample(sorted(self.stored), k=min(1, len(self.stored))):
            self.stored[version] += "'"
            self.broken.discard(version)
            self.failed.pop(version, None)

    def die(self) -> None:
        """Kill the last replica of a version."""
        for version in self.chance.sample(sorted(self.loaded), k=min(1, len(self.loaded))):
            self.dead.setdefault(version, 0.0)
            self.restarts = int(version == self.record.canary)

    def lose(self) -> None:
        """Take a whole version away."""
        for version in self.chance.sample(sorted(self.loaded), k=min(1, len(self.loaded))):
            self.loaded.discard(version)
            self.dead.setdefault(version, 0.0)

    def come_back(self) -> None:
        """Let all replicas run again, storage be read, and routers hear of tables."""
        self.dead.clear()
        self.is_lagging, self.is_listed = False, True

    def lag(self) -> None:
        """Let the routers miss tables for a while."""
        self.is_lagging = True

    def lose_listing(self) -> None:
        """Let storage be out of reach for a while."""
        self.is_listed = False

    def change_plan(self) -> None:
        """Give the model another plan, or none."""
        self.plan = None if self.chance.random() < 0.3 else plan_of_chance(self.chance)
        self.traffic = {str(max(self.stored, default=1)): WHOLE} if self.chance.random() < 0.3 else {}

    def change_policy(self) -> None:
        """Serve the latest one, or the latest two."""
        self.latest = 3 - self.latest

    def replace_watcher(self) -> None:
        """A new watcher knows the record, and has looked at nothing yet."""
        self.wall_s += 1000.0
        self.dead.clear()

    def restart_everything(self) -> None:
        """Start from the stored record alone."""
        self.replace_watcher()
        self.loaded.clear()
        self.failed.clear()
        self.routers = [(-1, None), (-1, None)]

    def order(self) -> None:
        """Order anything, sensible or not."""
        versions = [0, *self.stored, 99]
        order = RolloutOrder(
            self.chance.choice(list(OrderVerb)),
            version=self.chance.choice(versions),
            is_full=self.chance.random() < 0.2,
            traffic=self.chance.choice([(), ((str(self.chance.choice(versions)), WHOLE),)]),
            mirror=self.chance.choice([None, MirrorSettings(str(self.chance.choice(versions)))]),
            is_forced=self.chance.random() < 0.2,
        )
        sight = replace(self.sight(), elapsed_s=0.0, window=None, restarts=0)
        before = self.record
        try:
            self.record, told = ordered(before, order, sight, self.settings)
        except (FailedPrecondition, InvalidArgument):
            return
        assert told or self.record == before, "a change that nobody is told of"
        self.record = self.stored_and_read(self.record)
        self.follow(sight)

    def settle(self) -> None:
        """Let nothing go wrong any more until the rollout has come to an end."""
        self.is_lagging, self.is_listed = False, True
        self.broken.clear()
        self.failed.clear()
        self.dead.clear()
        if not self.stored:
            self.publish()
        quiet = 0
        for _ in range(QUIET_LOOKS):
            self.pass_time()
            self.window = GOOD
            self.tick()
            quiet = quiet + 1 if is_settled(self.record) else 0
            if quiet > LONGEST_REST:
                return


def is_settled(record: RolloutRecord) -> bool:
    """Whether a rollout has ended, or waits for a person."""
    return record.phase in {RolloutPhase.IDLE, RolloutPhase.PAUSED}


@pytest.mark.parametrize("seed", range(40))
def test_whatever_happens_the_rules_of_a_rollout_hold(seed: int) -> None:
    """Shares go to versions that answer, rejected ones get none, stable is held, and every rollout comes to an end."""
    chance = Random(seed)
    walk = Walk(chance, plan_of_chance(chance), bad=chance.choice([[], [BAD], [FEW] * 20]))

    for _ in range(120):
        walk.happen()
        walk.tick()
    walk.settle()

    assert is_settled(walk.record), f"still {walk.record.phase} with seed {seed}"
