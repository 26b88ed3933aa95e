"""Hosts in namespaces of this machine: each with an address, a name, a link that can be cut, and processes of its own.

They are joined by a bridge in one more namespace, whose own address is that of a host outside of the cluster: clients
and stores run there. Nothing is added to the network of the machine itself.
"""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import psutil

from tests.support.clients import wait_until
from tests.support.project import ROOT

SUBNET = "10.77.0"
OUTSIDE = f"{SUBNET}.254"
BRIDGE = "switch"
RAY_FOLDER = "/tmp/ray"  # Ray's own place, which each host covers with another
GONE_TIMEOUT_S = 30.0


def why_not_permitted() -> str:
    """Return why this machine lets nobody make such hosts; empty where it does."""
    missing = [tool for tool in ("ip", "unshare", "nsenter", "mount") if shutil.which(tool) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
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
    """A machine as far as programs see: an address, a name, processes, folders at the usual places; off until `power_on`.

    Its first process holds it: whoever ends that one ends all.
    """

    def __init__(self, namespace: str, address: str, folder: Path) -> None:
        self.namespace = namespace
        self.address = address
        self.folder = folder
        self.home = folder / "home"
        self.home.mkdir(parents=True)
        (folder / "ray").mkdir()
        self._first: psutil.Process | None = None

    def power_on(self) -> None:
        """Start the first process, which reaps orphans."""
        Path(RAY_FOLDER).mkdir(exist_ok=True)
        own_folder = f"mount --bind {shlex.quote(str(self.folder / 'ray'))} {RAY_FOLDER}"
        own_name = f"echo {self.namespace} > /proc/sys/kernel/hostname"
        first = ("sh", "-c", f"{own_folder} && {own_name} && echo && while :; do sleep 5; done")
        apart = ("unshare", "--pid", "--uts", "--fork", "--mount-proc")
        started = subprocess.Popen(
            ["ip", "netns", "exec", self.namespace, *apart, *first],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert started.stdout is not None
        assert started.stdout.readline() == b"\n", "the folders of the host could not be mounted"
        (self._first,) = psutil.Process(started.pid).children()

    def start(
        self,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        output: IO[bytes] | int = subprocess.DEVNULL,
        **options: Any,
    ) -> subprocess.Popen[bytes]:
        """Start a program on this host, in the folder of the project."""
        assert self._first is not None
        own = {"HOME": str(self.home), "XDG_CACHE_HOME": str(self.home / ".cache")}
        return subprocess.Popen(
            ["nsenter", f"--target={self._first.pid}", "--pid", "--uts", "--mount", "--net", f"--wd={ROOT}", *command],
            stdout=output,
            stderr=None if output == subprocess.PIPE else subprocess.STDOUT,
            env={**os.environ, **own, **(environment or {})},
            start_new_session=True,
            **options,
        )

    def pids(self) -> frozenset[int]:
        """Return the processes of this host, as this machine numbers them."""
        return frozenset(map(int, _ip("netns", "pids", self.namespace).stdout.split()))

    def power_off(self) -> None:
        """End every process of this host at once."""
        if self._first is not None:
            with suppress(psutil.NoSuchProcess):
                self._first.kill()
            wait_until(lambda: not self.pids(), f"no process is left on {self.namespace}", GONE_TIMEOUT_S)


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
        self.outside.power_on()

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
        host.power_on()
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
                    everything.callback(host.power_off)


@contextmanager
def network(folder: Path) -> Iterator[Network]:
    """A network that is removed with all of its processes, whatever happens."""
    made = Network(folder)
    try:
        made.open()
        yield made
    finally:
        made.close()
