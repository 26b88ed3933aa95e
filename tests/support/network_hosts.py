"""Hosts in network namespaces of this machine: each with an address, a link that can be cut, and folders of its own.

They are joined by a bridge in one more namespace, whose own address is that of a host outside of the cluster: clients
and stores run there. Nothing is added to the network of the machine itself.
"""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from tests.support.clients import wait_until

SUBNET = "10.77.0"
OUTSIDE = f"{SUBNET}.254"
BRIDGE = "switch"
GONE_TIMEOUT_S = 30.0


def why_not_permitted() -> str:
    """Return why this machine lets nobody make such hosts; empty where it does."""
    if shutil.which("ip") is None:
        return "there is no `ip` (iproute2)"
    name = f"rms-{secrets.token_hex(3)}"
    made = _ip("netns", "add", name, check=False)
    if made.returncode:
        return f"no network namespace can be made: {made.stderr.strip()}"
    try:
        bridged = _ip("-n", name, "link", "add", BRIDGE, "type", "bridge", check=False)
        return f"no bridge can be made: {bridged.stderr.strip()}" if bridged.returncode else ""
    finally:
        _ip("netns", "delete", name)


def _ip(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["ip", *arguments], check=check, capture_output=True, text=True)


class Host:
    """A network namespace, and folders that lie where each machine has them: /tmp/ray, and a home."""

    def __init__(self, namespace: str, address: str, folder: Path) -> None:
        self.namespace = namespace
        self.address = address
        self.folder = folder
        self.home = folder / "home"
        self._temporary = folder / "ray"
        self.home.mkdir(parents=True)
        self._temporary.mkdir()

    def start(
        self,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        output: IO[bytes] | int = subprocess.DEVNULL,
        **options: object,
    ) -> subprocess.Popen[bytes]:
        """Start a program on this host; it does not end when the tests are interrupted."""
        Path("/tmp/ray").mkdir(exist_ok=True)  # noqa: S108 - Ray's own place, which each host covers with another
        mounted = f"mount --bind {shlex.quote(str(self._temporary))} /tmp/ray && exec {shlex.join(command)}"
        return subprocess.Popen(
            ["ip", "netns", "exec", self.namespace, "sh", "-c", mounted],
            stdout=output,
            stderr=subprocess.STDOUT if output != subprocess.PIPE else None,
            env={
                **os.environ,
                "HOME": str(self.home),
                "XDG_CACHE_HOME": str(self.home / ".cache"),
                **(environment or {}),
            },
            start_new_session=True,
            **options,  # type: ignore[call-overload]
        )

    def pids(self) -> frozenset[int]:
        """Return the processes of this host."""
        return frozenset(map(int, _ip("netns", "pids", self.namespace).stdout.split()))

    def kill_all(self) -> None:
        """End every process of this host at once, as a power failure does."""

        def is_empty() -> bool:
            pids = self.pids()
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return not pids

        wait_until(is_empty, f"no process is left on {self.namespace}", GONE_TIMEOUT_S)


class Network:
    """A switch, the host outside that is in the same place, and hosts that are added."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tag = f"rms-{secrets.token_hex(3)}"
        self.outside = Host(f"{self._tag}-out", OUTSIDE, folder / "outside")
        self.hosts: list[Host] = []

    def open(self) -> None:
        """Make the switch."""
        name = self.outside.namespace
        _ip("netns", "add", name)
        _ip("-n", name, "link", "set", "lo", "up")
        _ip("-n", name, "link", "add", BRIDGE, "type", "bridge")
        _ip("-n", name, "address", "add", f"{OUTSIDE}/24", "dev", BRIDGE)
        _ip("-n", name, "link", "set", BRIDGE, "up")

    def add(self) -> Host:
        """Make one more host, with a cable to the switch."""
        number = len(self.hosts) + 1
        host = Host(f"{self._tag}-{number}", f"{SUBNET}.{number}", self._folder / f"host-{number}")
        self.hosts.append(host)
        switch, port = self.outside.namespace, self._port(host)
        _ip("netns", "add", host.namespace)
        _ip("link", "add", port, "netns", switch, "type", "veth", "peer", "name", "eth0", "netns", host.namespace)
        _ip("-n", switch, "link", "set", port, "master", BRIDGE, "up")
        _ip("-n", host.namespace, "link", "set", "lo", "up")
        _ip("-n", host.namespace, "address", "add", f"{host.address}/24", "dev", "eth0")
        _ip("-n", host.namespace, "link", "set", "eth0", "up")
        return host

    def cut(self, host: Host) -> None:
        """Take the cable of a host out of the switch: everything that is sent disappears, and nobody is told."""
        _ip("-n", self.outside.namespace, "link", "set", self._port(host), "nomaster")

    def join(self, host: Host) -> None:
        """Put the cable back."""
        _ip("-n", self.outside.namespace, "link", "set", self._port(host), "master", BRIDGE)

    def _port(self, host: Host) -> str:
        return f"port{host.address.rpartition('.')[2]}"

    def close(self) -> None:
        """End all processes of all hosts, and remove the hosts."""
        with ExitStack() as everything:
            for host in (self.outside, *self.hosts):
                everything.callback(_ip, "netns", "delete", host.namespace, check=False)
                if Path("/run/netns", host.namespace).exists():
                    everything.callback(host.kill_all)


@contextmanager
def network(folder: Path) -> Iterator[Network]:
    """A network that is removed with all of its processes, whatever happens."""
    made = Network(folder)
    try:
        made.open()
        yield made
    finally:
        made.close()
