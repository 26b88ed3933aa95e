"""Tests of the running tests: how often they are wrong, and how soon they find out, in simulated rollouts.

The numbers are those of the design (tables of 4.1 and 4.2), simulated anew with a fixed seed and this module's own
increments: a block adds to the sums, so that simulated events need only be multiplied with what one of them adds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from core.evidence.running_tests import (
    BETTER,
    GREATEST_LOG,
    HIGHER,
    WORSE,
    ArmEvents,
    Sums,
    as_evidence,
    log_evidence,
    missing_events,
    with_block,
    with_trials,
)

ALPHA = 0.005
LIMIT = math.log(1 / ALPHA)
LOOKS, LOOK_S = 60, 60.0
SHARE, RATE = 0.1, 0.005

Counts = NDArray[np.int64]
Numbers = NDArray[np.float64]


def event_sums(share: float, ratio: float = 1.0) -> tuple[Numbers, Numbers]:
    """Return what an event of the canary adds, and one of stable, at a share of the requests."""
    requests = (round(1e6 * (1 - share)), round(1e6 * share))
    canary = with_block((), ArmEvents(0, requests[0], 1, requests[1]), ratio, WORSE)
    stable = with_block((), ArmEvents(1, requests[0], 0, requests[1]), ratio, WORSE)
    return np.array(canary), np.array(stable)


def evidence_of(sums: Numbers) -> Numbers:
    """Return the logarithms of evidence of many tests; the last axis is that of the alternatives."""
    most = sums.max(-1, keepdims=True)
    return most[..., 0] + np.log(np.exp(sums - most).mean(-1))


@dataclass(frozen=True)
class Rollouts:
    """Many simulated rollouts: requests and errors of both arms, by rollout and look."""

    canary: Counts
    stable: Counts
    canary_errors: Counts
    stable_errors: Counts

    def evidence(self, share: float = SHARE) -> Numbers:
        """Return the evidence of each rollout after each look."""
        canary, stable = event_sums(share)
        steps = self.canary_errors[..., None] * canary + self.stable_errors[..., None] * stable
        return evidence_of(steps.cumsum(1))

    def stopped(self) -> Counts:
        """Return the look at which each rollout is stopped, counted from 1; 0 for one that is not."""
        reached = self.evidence() >= LIMIT
        return np.where(reached.any(1), reached.argmax(1) + 1, 0)

    def until(self, look: Counts, counts: Counts) -> float:
        """Return the median of counts up to the look at which a rollout was stopped, or its last."""
        last = np.where(look > 0, look, LOOKS) - 1
        return float(np.median(counts.cumsum(1)[np.arange(len(counts)), last]))


def rollouts(per_s: float, stable: float, canary: float, runs: int = 3000, seed: int = 7) -> Rollouts:
    """Simulate rollouts at so many requests a second, with error rates of both arms."""
    random = np.random.default_rng(seed)
    of_canary = random.poisson(per_s * SHARE * LOOK_S, (runs, LOOKS))
    of_stable = random.poisson(per_s * (1 - SHARE) * LOOK_S, (runs, LOOKS))
    return Rollouts(of_canary, of_stable, random.binomial(of_canary, canary), random.binomial(of_stable, stable))


@pytest.mark.parametrize(
    ("per_s", "one_window", "five_windows", "each_look", "sequential"),
    [(2, 0.97, 0.27, 0.33, 0.002), (20, 1.00, 0.90, 0.32, 0.002), (200, 0.56, 0.001, 0.29, 0.001)],
)
def test_an_innocent_canary_is_rolled_back_by_thresholds_and_not_by_the_test(
    per_s: float, one_window: float, five_windows: float, each_look: float, sequential: float
) -> None:
    """The table of the design: two equal versions with 0.5 % errors, an hour of looks each minute, 10 % of traffic."""
    equal = rollouts(per_s, RATE, RATE)
    with np.errstate(invalid="ignore", divide="ignore"):
        above = np.nan_to_num(equal.canary_errors / equal.canary) > 0.01
        sums = [one.cumsum(1) for one in (equal.canary, equal.stable, equal.canary_errors, equal.stable_errors)]
        mean = (sums[2] + sums[3]) / (sums[0] + sums[1])
        z = (sums[2] / sums[0] - sums[3] / sums[1]) / np.sqrt(mean * (1 - mean) * (1 / sums[0] + 1 / sums[1]))

    assert above.any(1).mean() == pytest.approx(one_window, abs=0.03)
    assert (above.sum(1) >= 5).mean() == pytest.approx(five_windows, abs=0.03)
    assert (np.nan_to_num(z) > 1.645).any(1).mean() == pytest.approx(each_look, abs=0.03)
    assert (equal.stopped() > 0).mean() == pytest.approx(sequential, abs=0.0016)


def test_an_outage_of_both_versions_blames_neither() -> None:
    """5 % errors each: thresholds roll back always, and a z-test at each look in 29 % of all cases."""
    assert (rollouts(20, 0.05, 0.05).stopped() > 0).mean() <= 0.002


@pytest.mark.parametrize(
    ("per_s", "canary", "stopped", "errors", "requests", "look"),
    [
        (2, 0.01, 0.05, None, None, None),
        (20, 0.01, 0.87, 41, 4000, None),
        (200, 0.01, 1.0, None, None, 4),
        (2, 0.025, 0.86, 10, 380, None),
        (20, 0.025, 1.0, 13, 480, 4),
        (200, 0.025, 1.0, None, None, 1),
        (2, 0.10, 1.0, 5, 45, 4),
        (20, 0.10, 1.0, None, None, 1),
        (2, 1.0, 1.0, None, None, 1),
    ],
)
def test_a_worse_canary_is_stopped_soon(
    per_s: float, canary: float, stopped: float, errors: int | None, requests: int | None, look: int | None
) -> None:
    """The table of the design: stable has 0.5 % errors, the canary so many; medians of what it costs until the stop."""
    worse = rollouts(per_s, RATE, canary)
    at = worse.stopped()

    assert (at > 0).mean() == pytest.approx(stopped, abs=0.02)
    if errors is not None and requests is not None:
        assert worse.until(at, worse.canary_errors) == pytest.approx(errors, abs=max(1, 0.05 * errors))
        assert worse.until(at, worse.canary) == pytest.approx(requests, rel=0.1)
    if look is not None:
        assert np.median(at[at > 0]) == look


WEIGHTS = (0.01, 0.05, 0.1, 0.25, 0.5)


@pytest.mark.parametrize("rate", [0.002, 0.05, 0.5], ids=["few errors", "both failing", "half of all"])
def test_of_10_000_equal_canaries_no_more_are_stopped_than_alpha(rate: float) -> None:
    """Weights change with every look and rates over the day; shares are what the canary really got."""
    random = np.random.default_rng(17)
    runs, looks = 10_000, 40
    sums = np.zeros((runs, len(WORSE)))
    stopped = np.zeros(runs, bool)
    for look in range(looks):
        weight = WEIGHTS[look * 7 % len(WEIGHTS)]
        now = rate * (1 + 0.8 * math.sin(look / 3))
        canary, stable = event_sums(weight)
        requests = (round(600 * weight), round(600 * (1 - weight)))
        sums += random.binomial(requests[0], now, runs)[:, None] * canary
        sums += random.binomial(requests[1], now, runs)[:, None] * stable
        stopped |= evidence_of(sums) >= LIMIT

    assert stopped.mean() <= ALPHA


def test_cumulated_rates_would_compare_different_hours() -> None:
    """Simpson: while the weight rises the error rate of both falls; shares of each block keep the canary innocent."""
    morning, evening = ArmEvents(1900, 19_000, 100, 1000), ArmEvents(50, 5000, 50, 5000)
    both = morning.plus(evening)
    apart = with_block(with_block((), morning, 1.0, WORSE), evening, 1.0, WORSE)

    assert log_evidence(with_block((), both.swapped, 1.0, WORSE)) > LIMIT  # stable looks worse than it is
    assert log_evidence(apart) <= 0
    assert log_evidence(with_block(with_block((), morning.swapped, 1.0, WORSE), evening.swapped, 1.0, WORSE)) <= 0


@pytest.mark.parametrize(("burst", "raw"), [(3, 0.23), (10, 0.56), (30, 0.71)])
def test_users_whose_requests_all_fail_count_once_for_each_window(burst: int, raw: float) -> None:
    """A broken user sends many errors to one arm: counted each, they would stop equal canaries; once, hardly one does."""
    random = np.random.default_rng(7)
    shape = (4000, LOOKS)
    users = [random.poisson(6 * share, shape) for share in (SHARE, 1 - SHARE)]
    errors = [one + np.where(one > 0, random.negative_binomial(np.maximum(one, 1), 1 / burst), 0) for one in users]
    nobody = np.zeros(shape, np.int64)

    assert (Rollouts(nobody, nobody, *errors).stopped() > 0).mean() == pytest.approx(raw, abs=0.03)
    assert (Rollouts(nobody, nobody, *users).stopped() > 0).mean() <= 0.002


def test_simulated_sums_are_those_of_the_test() -> None:
    """What the simulations multiply and add is what blocks add one by one."""
    some = rollouts(20, RATE, 0.02, runs=1)
    sums: Sums = ()
    for look in range(LOOKS):
        block = ArmEvents(int(some.stable_errors[0, look]), 900, int(some.canary_errors[0, look]), 100)
        sums = with_block(sums, block, 1.0, WORSE)

        assert log_evidence(sums) == pytest.approx(some.evidence()[0, look])


PAIRS = 4000


@pytest.mark.parametrize(
    ("rate", "fails", "passes", "pairs"),
    [
        (0.0, 0.0, 1.0, 327),
        (0.005, 0.0, 1.0, 705),
        (0.01, 0.0, 0.95, 1990),
        (0.04, 1.0, 0.0, 730),
        (0.1, 1.0, 0.0, 74),
        (0.5, 1.0, 0.0, 5),
    ],
)
def test_a_proportion_is_judged_both_ways(rate: float, fails: float, passes: float, pairs: int) -> None:
    """The numbers of the design: a limit of 2 %, pairs with an event at some rate, the median of pairs until a verdict."""
    most = min(PAIRS, 5 * pairs)
    failed, passed = verdicts(rate, most)

    first = np.minimum(np.where(failed > 0, failed, most), np.where(passed > 0, passed, most))
    assert (failed > 0).mean() == pytest.approx(fails, abs=0.01)
    assert (passed > 0).mean() == pytest.approx(passes, abs=0.02)
    assert np.median(first) == pytest.approx(pairs, rel=0.05, abs=2)


def test_a_proportion_at_its_limit_gets_no_verdict() -> None:
    """Whichever verdict there was would be wrong as often as it was right."""
    failed, passed = verdicts(0.02, PAIRS)

    assert (failed > 0).mean() <= 0.01
    assert (passed > 0).mean() <= 0.01


def verdicts(rate: float, pairs: int) -> tuple[Counts, Counts]:
    """Return after how many pairs each of many mirrors fails, and passes; 0 where that does not happen."""
    events = np.random.default_rng(7).random((400, pairs)) < rate
    seen = []
    for alternatives in (HIGHER, BETTER):
        with_event = np.array(with_trials((), 1, 1, 0.02, alternatives))
        without = np.array(with_trials((), 0, 1, 0.02, alternatives))
        found = events.cumsum(1)[..., None]
        evidence = evidence_of(found * with_event + (np.arange(1, pairs + 1)[:, None] - found) * without)
        reached = evidence >= LIMIT
        seen.append(np.where(reached.any(1), reached.argmax(1) + 1, 0))
    return seen[0], seen[1]


def test_a_block_in_which_an_arm_had_no_request_proves_nothing() -> None:
    """There is nothing to compare with."""
    seen = with_block((), ArmEvents(1, 90, 2, 10), 1.0, WORSE)

    assert with_block(seen, ArmEvents(0, 0, 5, 5), 1.0, WORSE) == seen
    assert with_block(seen, ArmEvents(5, 5, 0, 0), 1.0, WORSE) == seen
    assert with_block(seen, ArmEvents(0, 500, 0, 500), 1.0, WORSE) == seen


def test_a_ratio_is_shown_to_be_smaller_by_enough_events() -> None:
    """With a canary as good as stable a limit of twice its rate is proved, one of its own rate is not."""
    equal = ArmEvents(900, 90_000, 100, 10_000)

    assert log_evidence(with_block((), equal, 2.0, BETTER)) > LIMIT
    assert log_evidence(with_block((), equal, 1.0, BETTER)) < 0


def test_a_limit_that_nothing_exceeds_proves_nothing() -> None:
    """Above 99 % there is no alternative."""
    assert log_evidence(with_trials((), 1000, 1000, 0.995, HIGHER)) == 0


def test_evidence_is_a_number_that_can_be_written() -> None:
    """Millions of errors are not infinitely much, and a million good requests are not nothing."""
    overwhelming = with_block((), ArmEvents(0, 1000, 1_000_000, 1000), 1.0, WORSE)

    assert as_evidence(log_evidence(overwhelming)) == pytest.approx(math.exp(GREATEST_LOG))
    assert 0 < as_evidence(-1e9) < 1e-200
    assert log_evidence(()) == 0


def test_the_missing_events_are_those_that_reach_the_limit() -> None:
    """One fewer does not."""
    share = ArmEvents(0, 900, 0, 100)
    seen = with_block((), ArmEvents(20, 900, 2, 100), 1.2, WORSE)
    missing = missing_events(seen, share, 1.2, WORSE, LIMIT)

    def evidence(events: int) -> float:
        return log_evidence(with_block(seen, share._replace(canary_events=events), 1.2, WORSE))

    assert evidence(missing) >= LIMIT > evidence(missing - 1)
    assert missing_events(seen, ArmEvents(), 1.2, WORSE, LIMIT) == 0
    assert missing_events((50.0,) * len(WORSE), share, 1.2, WORSE, LIMIT) == 0
