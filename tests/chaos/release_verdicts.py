"""What becomes of good and bad releases, by themselves: time and requests until the verdict.

Each case is a model of one server with version 1 in service; version 2 is released under load of both protocols.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from tests.chaos.release_models import FEATURES
from tests.chaos.site import Site
from tests.support.both_protocols import BothProtocols
from tests.support.clients import RestClient, free_port, wait_until

VERDICT_WITHIN_S = 150.0
CLIENTS = 16
BAKE = "15s"
ENDS = frozenset({"rollout_promoted", "rollout_rolled_back"})

ERRORS = ({"server_errors": {"max_ratio": 1.2}}, {"client_errors": {"max_ratio": 1.5}})
LATENCY = (
    {"slow_requests": {"quantile": 0.99, "max_ratio": 1.5}},
    {"slow_requests": {"quantile": 0.5, "max_ratio": 1.5}},
)
PAIRS = ({"flips": {"output": "scores", "max_rate": 0.02}}, {"tolerance": {"output": "scores", "max_rate": 0.01}})
DRIFT = ({"output_drift": {"output": "scores", "max_distance": 0.1}},)
MIRROR, TENTH = {"mirror": 100, "bake": BAKE}, {"weight": 10, "bake": BAKE}


@dataclass(frozen=True, slots=True)
class ReleaseCase:
    """A release: what succeeds `stable`, by which plan, and how it has to end."""

    name: str
    canary: str
    steps: Sequence[Mapping[str, object]]
    rules: Sequence[Mapping[str, object]] = (*ERRORS, *LATENCY)
    stable: str = "good"
    is_promoted: bool = False
    may_change: bool = False

    @property
    def model(self) -> str:
        return self.name.replace(" ", "_")

    @property
    def is_python(self) -> bool:
        return self.stable == "echo"


RELEASES = (
    ReleaseCase("equal", "good", (MIRROR, TENTH), (*ERRORS, *LATENCY, *PAIRS, *DRIFT), is_promoted=True),
    ReleaseCase("garbage in a mirror", "garbage", (MIRROR, TENTH), (*ERRORS, *PAIRS)),
    ReleaseCase("garbage at 10 percent", "garbage", (TENTH,), (*ERRORS, *DRIFT)),
    ReleaseCase("internal errors", "raising", (TENTH,), stable="echo"),
    ReleaseCase("refused requests", "failing", (TENTH,)),
    ReleaseCase("slow answers", "slow", (TENTH,)),
    ReleaseCase("another output", "other_output", (TENTH,)),
    ReleaseCase("another output in a mirror", "other_output", (MIRROR, TENTH), (*ERRORS, *PAIRS), may_change=True),
    ReleaseCase("another input", "other_input", (TENTH,), may_change=True),
)
"""An equal canary is promoted, the others are rolled back."""


@dataclass(frozen=True, slots=True)
class ReleaseOutcome:
    """How a release has ended; times in seconds, from the first step and from the directory on."""

    case: ReleaseCase
    ended: str
    reason: str
    judged_s: float
    released_s: float
    requests: int
    of_canary: int
    failures: tuple[str, ...] = field(default=())

    @property
    def is_right(self) -> bool:
        return self.ended == ("rollout_promoted" if self.case.is_promoted else "rollout_rolled_back")


class ReleaseSite(Site):
    """A server with a model for each case."""

    def __init__(self, versions: Path, folder: Path, cases: Sequence[ReleaseCase]) -> None:
        self.versions, self.cases, self.grpc_port = versions, cases, free_port()
        self.folder, self.rest_port, self.store = folder, free_port(), None
        for case in cases:
            self.bring(case, 1, case.stable)

    def bring(self, case: ReleaseCase, number: int, what: str) -> None:
        """Put a version into storage, whole from the first moment."""
        base = self.folder / case.model
        base.mkdir(exist_ok=True)
        aside = self.folder / f"{case.model}-{number}"
        shutil.copytree(self.versions / what, aside)
        aside.rename(base / str(number))

    def models(self) -> dict[str, dict[str, object]]:
        """Return what the settings file says of each model."""
        return {case.model: _settings(case, self.folder / case.model) for case in self.cases}

    def flags(self) -> dict[str, object]:
        """Return the flags of the server."""
        own = {"port": self.grpc_port, "router_replicas": 1, "allow_python_servables": "true"}
        return super().flags() | own

    def is_whole(self) -> bool:
        """Every model has a stable version."""
        if self.process.poll() is not None:
            raise AssertionError(f"the server ended with {self.process.returncode}")
        return all(self.delivery(case).get("stable") == "1" for case in self.cases)

    def delivery(self, case: ReleaseCase) -> dict[str, Any]:
        """Return what the status document says of a model's rollout."""
        client = RestClient(self.rest_port, timeout_s=20.0)
        try:
            models = client.get("/status.json").json["models"]
        except (OSError, ValueError):
            return {}
        finally:
            client.close()
        return next((dict(one["delivery"] or {}) for one in models if one["name"] == case.model), {})

    @contextmanager
    def under_load(self, case: ReleaseCase, clients: int, pause_s: float) -> Iterator[BothProtocols]:
        """Let clients call a model until the block ends, each with rows of its own."""
        rows = [[1.0, 2.0]] if case.is_python else np.random.default_rng(3).normal(size=(1, FEATURES)).tolist()
        names = ("x", "y" if case.is_python else "scores")
        ports = (self.rest_port, self.grpc_port)
        with BothProtocols(ports, case.model, rows, clients=clients, pause_s=pause_s, names=names) as load:
            yield load


def _settings(case: ReleaseCase, base: Path) -> dict[str, object]:
    plan = {
        "steps": list(case.steps),
        "analysis": {"interval": "1s", "initial_delay": "0s", "metrics": list(case.rules)},
        "allow_signature_change": case.may_change,
    }
    platform = {"platform": "python"} if case.is_python else {}
    return {"base_path": str(base), "num_cpus": 0.05, "canary": plan, **platform}


def released(case: ReleaseCase, site: ReleaseSite, clients: int = CLIENTS, pause_s: float = 0.02) -> ReleaseOutcome:
    """Release version 2 under load, and wait for the end of its rollout."""
    with site.under_load(case, clients, pause_s) as load:
        wait_until(lambda: load.count > 20 * clients, "requests flow")
        began_s = time.time()
        site.bring(case, 2, case.canary)
        wait_until(lambda: _stepped(site, case) or _ended(site, case), "the canary is loaded", VERDICT_WITHIN_S)
        seen = load.count + len(load.failures)
        wait_until(lambda: _ended(site, case), f"a verdict on {case.name}", VERDICT_WITHIN_S)
        requests = load.count + len(load.failures) - seen
    happened = {one["name"]: one for one in reversed(site.delivery(case)["happenings"])}
    end = next(happened[name] for name in ENDS if name in happened)
    ended_s = _seconds(end)
    step_s = _seconds(happened["rollout_step"]) if "rollout_step" in happened else ended_s
    verdict = happened.get("rollout_verdict", end)
    return ReleaseOutcome(
        case,
        end["name"],
        verdict["text"],
        ended_s - step_s,
        ended_s - began_s,
        requests,
        load.versions.get(2, 0),
        tuple(load.failures),
    )


def _stepped(site: ReleaseSite, case: ReleaseCase) -> bool:
    return any(one["name"] == "rollout_step" for one in site.delivery(case).get("happenings", ()))


def _ended(site: ReleaseSite, case: ReleaseCase) -> bool:
    found = site.delivery(case)
    assert found.get("phase") != "paused", (case.name, found.get("reason"))
    return any(one["name"] in ENDS for one in found.get("happenings", ()))


def _seconds(happening: Mapping[str, str]) -> float:
    return datetime.fromisoformat(happening["at"]).timestamp()
