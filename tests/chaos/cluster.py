"""A server on a Ray cluster of several hosts, each with its own raylet, address and model cache, beside a remote store."""

from __future__ import annotations

import secrets
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import yaml

from tests.support.clients import wait_until
from tests.support.network_hosts import Host, Network, network
from tests.support.network_load import NetworkLoad
from tests.support.project import ROOT
from tests.support.stores.network_store import BUCKET, NetworkStore

START_TIMEOUT_S = 240.0
RAY_PORT = 6379
REST_PORT = 8501
RAY = str(Path(sys.executable).with_name("ray"))
OBJECT_STORE_BYTES = 80_000_000
STARTED = b"Ray runtime started."

SOLE = ("first", "second", "third")
PAIR = "pair"
SCALED = "scaled"
MODELS: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {
        **{name: {} for name in SOLE},
        PAIR: {"num_replicas": 2, "max_replicas_per_node": 1},
        SCALED: {
            "max_replicas_per_node": 1,
            "autoscaling": {
                "min_replicas": 1,
                "max_replicas": 4,
                "target_ongoing_requests": 0.02,
                "upscale_delay_s": 0.5,
                "downscale_delay_s": 3,
                "metrics_interval_s": 0.5,
                "look_back_period_s": 2,
            },
        },
    }
)

AGAIN = f'. {ROOT}/configs/ray_cluster.sh; while :; do "$@"; sleep 0.5; done'
"""What a host's service manager does: start a program with its settings, and again when it has ended."""


class Member:
    """A host with a Ray that is started again whenever it ends."""

    def __init__(self, host: Host, environment: Mapping[str, str], head: str = "") -> None:
        self.host = host
        self.environment = dict(environment)
        self._head = head
        self._log = host.folder / "ray.log"
        self._log.touch()

    def start(self) -> None:
        """Start Ray here."""
        role = [f"--address={self._head}:{RAY_PORT}"] if self._head else ["--head", f"--port={RAY_PORT}"]
        own = [f"--node-ip-address={self.host.address}", f"--object-store-memory={OBJECT_STORE_BYTES}", "--num-cpus=1"]
        less = ["--include-dashboard=false"] if not self._head else []
        command = ["sh", "-c", AGAIN, "again", RAY, "start", *role, *own, *less, "--disable-usage-stats", "--block"]
        with self._log.open("ab") as output:
            self.host.start(command, self.environment, output)

    @property
    def starts(self) -> int:
        """How often Ray has started here."""
        return self._log.read_bytes().count(STARTED)

    def titled(self, title: str) -> frozenset[int]:
        """Return the processes here whose title begins so."""
        return frozenset(pid for pid in self.host.pids() if _title(pid).startswith(title))

    def replicas(self, model: str) -> int:
        """Count the replicas of a model here."""
        return len(self.titled(f"ray::ServeReplica:{model}:"))

    @property
    def routers(self) -> int:
        return len(self.titled("ray::ServeReplica:router:Router"))

    def control_store(self) -> int:
        """Return the process of Ray's control store, which the head has."""
        (pid,) = (pid for pid in self.host.pids() if _title(pid).endswith("gcs_server"))
        return pid


class ClusterSite:
    """Three hosts, a store, and a server with a router on each of two; every model comes from the store."""

    def __init__(self, made: Network, saved_models: Path, folder: Path) -> None:
        self._network = made
        self._folder = folder
        for name in MODELS:
            shutil.copytree(saved_models / "half_plus_two", folder / "bucket" / name)
        self._token = folder / "token"
        self._token.write_text(secrets.token_hex(32), encoding="ascii")
        self.members: list[Member] = []

    def start(self) -> None:
        """Start everything, and wait until every model answers."""
        self.store = NetworkStore(self._network.outside, self._folder / "bucket")
        head = self.add()
        wait_until(lambda: head.starts == 1, "the head is up", START_TIMEOUT_S)
        others = [self.add(), self.add()]
        wait_until(lambda: all(one.starts for one in others), "the other hosts have joined", START_TIMEOUT_S)
        self._serve()
        wait_until(self.is_whole, "every version has its replicas", START_TIMEOUT_S)
        with self.load(self.with_router[0], list(MODELS)) as one, self.load(self.with_router[1], list(MODELS)) as other:
            wait_until(lambda: all(load.answered_since(0) == set(MODELS) for load in (one, other)), "all models answer")

    def _serve(self) -> None:
        """Start the server from the head, as an operator does."""
        models = {name: {"base_path": f"s3://{BUCKET}/{name}", **more} for name, more in MODELS.items()}
        settings = self._folder / "settings.yaml"
        settings.write_text(yaml.safe_dump({"models": models}), encoding="utf-8")
        flags = {
            "ray_address": f"{self.members[0].host.address}:{RAY_PORT}",
            "rest_api_port": REST_PORT,
            "rest_api_timeout_in_ms": 120_000,  # a busy machine may start a version for longer than the usual 30 s
            "router_replicas": 2,
            "max_routers_per_node": 1,
            "model_settings_file": settings,
            "remote_poll_wait_seconds": 1,
            "num_load_threads": 4,
        }
        command = [sys.executable, "-m", "deployments.cli", *(f"--{name}={value}" for name, value in flags.items())]
        with self.log.open("wb") as output:
            self.members[0].host.start(command, self.members[0].environment, output)

    @property
    def log(self) -> Path:
        """What the server printed."""
        return self._folder / "server.log"

    def add(self) -> Member:
        """Add a host, and start Ray there; the first one is the head."""
        host = self._network.add()
        own = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(self._token), **self.store.environment}
        member = Member(host, own, self.members[0].host.address if self.members else "")
        self.members.append(member)
        member.start()
        return member

    def cut(self, member: Member) -> None:
        """Cut a host off."""
        self._network.cut(member.host)

    def join(self, member: Member) -> None:
        """End the cut."""
        self._network.join(member.host)

    def load(self, member: Member, models: list[str]) -> NetworkLoad:
        """Clients of the router on a host, on the host outside."""
        return NetworkLoad(self._network.outside, f"{member.host.address}:{REST_PORT}", models)

    @property
    def with_router(self) -> list[Member]:
        return [one for one in self.members if one.routers]

    def is_whole(self) -> bool:
        """Whether all replicas and routers run, each where it may, and none beside them."""
        spread = [1, *[0] * (len(self.members) - 1)]
        wanted = {**dict.fromkeys((*SOLE, SCALED), spread), PAIR: [1, *spread[:-1]]}
        has_replicas = all(sorted(self.placement(model), reverse=True) == where for model, where in wanted.items())
        return has_replicas and sorted(one.routers for one in self.members)[-2:] == [1, 1]

    def wait_until_whole(self, when: str, timeout_s: float, is_over: Callable[[], bool] = lambda: True) -> None:
        """Wait until all is well and something is over; fails with what runs where."""
        try:
            wait_until(lambda: is_over() and self.is_whole(), f"the cluster is whole {when}", timeout_s)
        except AssertionError as error:
            raise AssertionError(f"{error}; {self.placements()}") from None

    def placements(self) -> str:
        """Say what runs where, and how often Ray has started there."""
        counts = {model: self.placement(model) for model in MODELS}
        routers, starts = [one.routers for one in self.members], [one.starts for one in self.members]
        return f"on each host: replicas {counts}, routers {routers}, starts of Ray {starts}; logs in {self._folder}"

    def placement(self, model: str) -> list[int]:
        """Count the replicas of a model on each host."""
        return [one.replicas(model) for one in self.members]

    def fetched_twice(self) -> list[tuple[str, str]]:
        """Return what a host read more than once from the store."""
        return [read for read, times in self.store.reads().items() if times > 1]


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().partition(b"\0")[0].decode(errors="replace")
    except OSError:
        return ""


@contextmanager
def running_cluster(saved_models: Path, folder: Path) -> Iterator[ClusterSite]:
    """A site that is started, and ended whatever happens."""
    with network(folder) as made:
        site = ClusterSite(made, saved_models, folder)
        try:
            site.start()
        except AssertionError:
            for log in (site.log, *folder.glob("*/ray.log")):
                text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else "nothing"
                print(f"{log}: {text[-3000:]}", file=sys.stderr)
            raise
        yield site
