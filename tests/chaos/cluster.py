"""A server on a Ray cluster of several hosts, each with its own raylet, address and model cache, beside a remote store."""

from __future__ import annotations

import secrets
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.support.clients import wait_until
from tests.support.network_hosts import Host, Network, network
from tests.support.network_load import NetworkLoad
from tests.support.project import ROOT
from tests.support.stores.network_store import BUCKET, NetworkStore

START_TIMEOUT_S = 180.0
RAY_PORT = 6379
REST_PORT = 8501
RAY = str(Path(sys.executable).with_name("ray"))
OBJECT_STORE_BYTES = 80_000_000

SETTINGS = {
    "RAY_health_check_initial_delay_ms": "3000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "5",
    "RAY_gcs_storage": "rocksdb",
}
"""What docs/operations.md and cluster.yaml set on the head, so that Ray finds a lost host soon."""

AGAIN = 'while :; do "$@"; sleep 0.5; done'
"""What a host's service manager does: start a program again when it has ended."""


class Member:
    """A host with a raylet, which is started again whenever it ends."""

    def __init__(self, host: Host, environment: Mapping[str, str], *, is_head: bool, head: str) -> None:
        self.host = host
        self._environment = dict(environment)
        self._is_head = is_head
        self._head = head
        self.log = host.folder / "ray.log"

    def start(self) -> None:
        """Start Ray here."""
        where = ["--head", f"--port={RAY_PORT}", "--include-dashboard=false"]
        if not self._is_head:
            where = [f"--address={self._head}:{RAY_PORT}"]
        own = [f"--node-ip-address={self.host.address}", f"--object-store-memory={OBJECT_STORE_BYTES}", "--num-cpus=1"]
        command = ["sh", "-c", AGAIN, "again", RAY, "start", *where, *own, "--disable-usage-stats", "--block"]
        with self.log.open("ab") as output:
            self.host.start(command, self._environment, output, cwd=ROOT)

    def titled(self, title: str) -> frozenset[int]:
        """Return the processes here whose title begins so."""
        return frozenset(pid for pid in self.host.pids() if _title(pid).startswith(title))

    def replicas(self, app: str) -> int:
        """Count the replicas of an application here."""
        return len(self.titled(f"ray::ServeReplica:{app}"))

    @property
    def has_router(self) -> bool:
        return bool(self.replicas("router:Router"))


class ClusterSite:
    """The hosts, the store, and a server with two routers; each model comes from the store."""

    def __init__(
        self, made: Network, saved_models: Path, folder: Path, models: Mapping[str, Mapping[str, Any]]
    ) -> None:
        self._network = made
        self._folder = folder
        self._settings = {
            name: {"base_path": f"s3://{BUCKET}/{name}", **more} for name, more in models.items()
        }  # fmt: skip
        source = folder / "bucket"
        for name in models:
            shutil.copytree(saved_models / "half_plus_two", source / name)
        self.store = NetworkStore(made.outside, source)
        self._token = folder / "token"
        self._token.write_text(secrets.token_hex(32), encoding="ascii")
        self.members: list[Member] = []

    @property
    def head(self) -> Member:
        return self.members[0]

    @property
    def outside(self) -> Host:
        """The host of the clients."""
        return self._network.outside

    def add(self) -> Member:
        """Add a host, and start Ray there."""
        host = self._network.add()
        kept = host.folder / "gcs"
        kept.mkdir()
        environment = {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self._token),
            "RAY_gcs_storage_path": str(kept),
            **SETTINGS,
            **self.store.environment,
        }
        head = self.members[0].host.address if self.members else ""
        member = Member(host, environment, is_head=not self.members, head=head)
        self.members.append(member)
        member.start()
        return member

    def cut(self, member: Member) -> None:
        self._network.cut(member.host)

    def join(self, member: Member) -> None:
        self._network.join(member.host)

    def serve(self) -> None:
        """Start the server from the head, as an operator does."""
        settings = self._folder / "settings.yaml"
        settings.write_text(yaml.safe_dump({"models": self._settings}), encoding="utf-8")
        flags = {
            "ray_address": f"{self.head.host.address}:{RAY_PORT}",
            "port": 8500,
            "rest_api_port": REST_PORT,
            "router_replicas": 2,
            "model_settings_file": settings,
            "remote_poll_wait_seconds": 1,
        }
        command = [sys.executable, "-m", "deployments.cli", *(f"--{name}={value}" for name, value in flags.items())]
        with (self._folder / "server.log").open("wb") as output:
            self.process = self.head.host.start(command, self.head._environment, output, cwd=ROOT)

    def load(self, member: Member, models: list[str]) -> NetworkLoad:
        """Clients of the router on a host."""
        return NetworkLoad(self.outside, f"{member.host.address}:{REST_PORT}", models)

    def replicas(self, app: str) -> Counter[str]:
        """Count the replicas of an application by the address of their host."""
        return Counter({one.host.address: one.replicas(app) for one in self.members})

    def fetched_twice(self) -> list[tuple[str, str]]:
        """Return what a host read more than once from the store."""
        return [read for read, times in self.store.reads().items() if times > 1]


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().partition(b"\0")[0].decode(errors="replace")
    except OSError:
        return ""
