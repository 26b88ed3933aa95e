"""A server whose model has a rollout plan, with two routers and two replicas of every version."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import grpc
import yaml

from core.admin.delivery_messages import RolloutRequest, rollout_request
from tests.chaos.site import Site
from tests.support.both_protocols import BothProtocols
from tests.support.clients import RestClient, free_port, wait_until

MODEL = "ranked"
BESIDE = "beside"
"""A model that comes and goes with the settings, which shows whether they were read."""

CHANGE_ROLLOUT = "/ray_model_server.Admin/ChangeRollout"
ORDER_TIMEOUT_S = 60.0
REACHED_WITHIN_S = 120.0
PAUSE_S = 0.1
"""Between a client's answer and its next request: on a busy machine, copies are dropped before anything else."""

ROW, ANSWER = [2.0, 4.0], [3.0, 4.0]


class RolloutSite(Site):
    """One model, `ranked`, whose versions are all the same; each is released by the plan."""

    replicas_each = 2

    def __init__(self, saved_models: Path, folder: Path) -> None:
        self.grpc_port = free_port()
        self.base = folder / MODEL
        self.away = folder / "away"
        self.has_beside = False
        self.reloads = 0
        super().__init__(saved_models, folder)

    def copy_version(self, number: int) -> None:
        """Put a version into storage, whole from the first moment."""
        self.base.mkdir(exist_ok=True)
        aside = self.folder / f"copying-{number}"
        shutil.copytree(self.source / "1", aside)
        aside.rename(self.base / str(number))

    def plan(self) -> dict[str, Any]:
        """Return a plan that needs seconds; every reload changes it."""
        rules = [{"server_errors": {"max_ratio": 1.2}}, {"client_errors": {"max_ratio": 1.5}}]
        analysis = {"interval": "1s", "initial_delay": "0s", "min_requests": 30 + self.reloads % 2, "metrics": rules}
        steps = [{"mirror": 100, "bake": "3s", "min_requests": 0}, {"weight": 50, "bake": "3s"}]
        return {"steps": steps, "analysis": analysis, "rollback_window": "1h", "labels": {"stable": "auto"}}

    def models(self) -> dict[str, dict[str, object]]:
        """Return what the settings file says of each model."""
        small = {"num_cpus": 0.1}
        ranked = {"base_path": str(self.base), "num_replicas": self.replicas_each, "canary": self.plan(), **small}
        return {MODEL: ranked} | ({BESIDE: {"base_path": str(self.source), **small}} if self.has_beside else {})

    def flags(self) -> dict[str, object]:
        """Return the flags of the server."""
        return {
            **super().flags(),
            "port": self.grpc_port,
            "model_config_file_poll_wait_seconds": 1,
            "state_dir": self.folder / "states",
            "router_replicas": 2,
        }

    def is_whole(self) -> bool:
        """Everything that should run runs, and both models answer."""
        return super().is_whole() and self.delivery().get("stable") is not None

    def delivery(self) -> dict[str, Any]:
        """Return what the status document says of the rollout; nothing while no router answers."""
        client = RestClient(self.rest_port, timeout_s=20.0)
        try:
            models = client.get("/status.json").json["models"]
        except (OSError, ValueError):
            return {}
        finally:
            client.close()
        return next((dict(one["delivery"] or {}) for one in models if one["name"] == MODEL), {})

    def version_pids(self, version: int) -> frozenset[int]:
        """Return the replicas of a version."""
        return self.replicas(f"{MODEL}:{version}")

    def load(self, clients: int) -> BothProtocols:
        """Let clients call the model without a version over both protocols until the block ends."""
        ports = (self.rest_port, self.grpc_port)
        return BothProtocols(ports, MODEL, ROW, lambda _, output: output == ANSWER, clients=clients, pause_s=PAUSE_S)

    def release(self) -> int:
        """Add the next version; gives its number."""
        number = self.next_version
        self.next_version += 1
        self.copy_version(number)
        return number

    def order(self, verb: str, is_done: Any) -> None:
        """Order until it is carried out: who carries an order may be killed with it."""

        def is_carried_out() -> bool:
            if is_done():
                return True
            try:
                with grpc.insecure_channel(f"127.0.0.1:{self.grpc_port}") as channel:
                    call = channel.unary_unary(CHANGE_ROLLOUT)
                    call(rollout_request(RolloutRequest(MODEL, verb)), timeout=ORDER_TIMEOUT_S)
            except grpc.RpcError as error:
                assert error.code() in _MAY_BE_LOST, error  # noqa: PT017 - anything else is an answer
            return bool(is_done())

        wait_until(is_carried_out, f"{verb} is carried out", REACHED_WITHIN_S)

    def reload(self) -> None:
        """Write the settings anew: another plan, and a model more or less."""
        self.reloads += 1
        self.has_beside = not self.has_beside
        aside = self.folder / "settings.new"
        aside.write_text(yaml.safe_dump({"models": self.models()}), encoding="utf-8")
        aside.rename(self.folder / "settings.yaml")

    def is_reloaded(self) -> bool:
        """Whether the settings that were written last are in force."""
        client = RestClient(self.rest_port, timeout_s=20.0)
        try:
            return bool(client.available(BESIDE)) == self.has_beside
        except OSError:
            return False
        finally:
            client.close()

    def lose_version(self, number: int) -> None:
        """Take a version's directory from storage."""
        self.away.mkdir(exist_ok=True)
        (self.base / str(number)).rename(self.away / str(number))

    def restore_versions(self) -> None:
        """Bring back what was taken."""
        for one in self.away.glob("*"):
            one.rename(self.base / one.name)

    def kill_one(self, pids: frozenset[int]) -> int:
        pid = min(pids)
        os.kill(pid, signal.SIGKILL)
        return pid


_MAY_BE_LOST = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED})
