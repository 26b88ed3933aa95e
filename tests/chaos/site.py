"""A server as an operator runs it, its processes, and its storage: what faults are done to."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import yaml

from tests.chaos.store import Store
from tests.support.clients import RestClient, free_port, wait_until
from tests.support.processes import hear_signals
from tests.support.project import ROOT

START_TIMEOUT_S = 240.0
STOP_TIMEOUT_S = 180.0
LEAVE_TIMEOUT_S = 90.0
HOSTED_TITLE = "ray_model_server hosted "
FORKING = "deployments.hosting.zygote"
OF_SITE = "RMS_CHAOS_SITE"
"""An environment variable by which processes are known that are nobody's children."""


class Site:
    """One running `ray_model_server`: models `one` and `two` (by replicas), and `rolled`, whose versions change.

    With a remote store also `fetched`, whose versions come from there.
    """

    ends_on = signal.SIGTERM

    def __init__(self, saved_models: Path, folder: Path, store: Store | None = None) -> None:
        self.folder = folder
        self.store = store
        self.rest_port = free_port()
        self.rolled = folder / "rolled"
        self.stored = folder / "stored"
        self.source = saved_models / "half_plus_two"
        self.next_version = 2
        self.copy_version(1)
        if store is not None:
            store.put(1, self.source / "1")

    def copy_version(self, number: int) -> None:
        """Put a version of `rolled` into storage, whole from the first moment."""
        self.rolled.mkdir(exist_ok=True)
        aside = self.folder / f"copying-{number}"
        shutil.copytree(self.source / "1", aside)
        aside.rename(self.rolled / str(number))

    def models(self) -> dict[str, dict[str, object]]:
        """Return what the settings file says of each model."""
        local: dict[str, dict[str, object]] = {
            "one": {"base_path": str(self.source)},
            "two": {"base_path": str(self.source), "num_replicas": 2},
            "rolled": {"base_path": str(self.rolled)},
        }
        return local | ({"fetched": {"base_path": self.store.url, "num_replicas": 2}} if self.store else {})

    def flags(self) -> dict[str, object]:
        """Return the flags of the server."""
        settings = self.folder / "settings.yaml"
        settings.write_text(yaml.safe_dump({"models": self.models()}), encoding="utf-8")
        return {
            "host": "127.0.0.1",
            "port": free_port(),
            "rest_api_port": self.rest_port,
            "model_settings_file": settings,
            "file_system_poll_wait_seconds": 1,
            "remote_poll_wait_seconds": 1,
            "max_num_load_retries": 1000,
            "load_retry_interval_micros": 1_000_000,
        } | ({"model_cache_dir": self.store.cache} if self.store else {})

    def command(self) -> list[str]:
        """Return the command line of the server."""
        return [sys.executable, "-m", "deployments.cli", *(f"--{name}={value}" for name, value in self.flags().items())]

    def environment(self) -> dict[str, str]:
        """Return the environment variables of the server, beside those of this process."""
        own = {"RAY_AUTH_MODE": "token", OF_SITE: str(self.folder)}
        return own | (self.store.environment if self.store else {})

    def start(self) -> None:
        """Start the server and wait until every model answers with all of its replicas."""
        log = self.folder / "server.log"
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                self.command(),
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env=os.environ | self.environment(),
                preexec_fn=hear_signals,  # noqa: PLW1509 - it only resets signals
            )
        try:
            wait_until(self.is_whole, "the server answers with all replicas", START_TIMEOUT_S)
        except AssertionError:
            print(log.read_text(encoding="utf-8", errors="replace")[-5000:], file=sys.stderr)
            raise

    def client(self) -> RestClient:
        return RestClient(self.rest_port)

    def pids(self, title: str) -> frozenset[int]:
        """Return the processes of this server whose title begins so."""
        return frozenset(pid for pid in self.processes() if _title(pid).startswith(title))

    def processes(self) -> frozenset[int]:
        """Return all processes of this server."""
        try:
            return frozenset(child.pid for child in psutil.Process(self.process.pid).children(recursive=True))
        except psutil.NoSuchProcess:
            return frozenset()

    def replicas(self, app: str, deployment: str = "ModelServer") -> frozenset[int]:
        return self.pids(f"ray::ServeReplica:{app}:{deployment}")

    def answers(self, model: str) -> bool:
        """Whether a model answers right now."""
        client = RestClient(self.rest_port, timeout_s=20.0)
        try:
            return bool(client.predict(model, [2.0]) == [3.0])
        except (OSError, AssertionError):
            return False
        finally:
            client.close()

    def is_whole(self) -> bool:
        """Everything that should run runs, and every model answers."""
        if self.process.poll() is not None:
            raise AssertionError(f"the server ended with {self.process.returncode}")
        running = self.running()
        return all(map(self.answers, self.models())) and all(
            running[title] >= count for title, count in self.expected().items()
        )

    def expected(self) -> Counter[str]:
        """Return how many processes there should be of each kind."""
        replicas = {
            f"ray::ServeReplica:{name}": int(str(one.get("num_replicas", 1))) for name, one in self.models().items()
        }
        return Counter({**replicas, "ray::ServeReplica:router": 2, "ray::ServeController": 1})

    def running(self) -> Counter[str]:
        """Count the processes of Serve by their kind; versions of a model are one kind."""
        titles = (_title(pid) for pid in self.processes())
        return Counter(_kind(title) for title in titles if title.startswith(("ray::Serve", "ray::Proxy")))

    def left_over(self) -> list[str]:
        """Name the processes that should be gone; they have some time to go."""
        try:
            wait_until(lambda: not self.running() - self.expected(), "nothing is left over", LEAVE_TIMEOUT_S)
        except AssertionError:
            return sorted((self.running() - self.expected()).elements())
        return []

    def roll(self) -> int:
        """Add the next version of `rolled`; gives its number."""
        number = self.next_version
        self.next_version += 1
        self.copy_version(number)
        return number

    def upload(self) -> int:
        """Add the next version of `fetched`; gives its number."""
        assert self.store is not None
        number = self.next_version
        self.next_version += 1
        self.store.put(number, self.source / "1")
        return number

    def serves(self, version: int, model: str = "rolled") -> bool:
        """Whether this is the version of a model that is available, and no other."""
        client = RestClient(self.rest_port, timeout_s=20.0)
        try:
            return client.available(model) == {version}
        except OSError:
            return False
        finally:
            client.close()

    def says(self, path: str, text: bytes) -> bool:
        """Whether a page holds a text."""
        client = self.client()
        try:
            return text in client.get(path).body
        finally:
            client.close()

    def kill(self, pids: frozenset[int]) -> int:
        """Kill one of these processes without a warning; gives its id."""
        pid = min(pids)
        os.kill(pid, signal.SIGKILL)
        return pid

    def stop(self) -> int:
        """Ask the server to end; gives its exit status."""
        self.process.send_signal(self.ends_on)
        return self.process.wait(STOP_TIMEOUT_S)


class HostedSite(Site):
    """The same models as children of a version host; `two` is as `one`, because a hosted version has one process."""

    def models(self) -> dict[str, dict[str, object]]:
        """Return what the settings file says of each model."""
        return {
            name: {**{key: value for key, value in one.items() if key != "num_replicas"}, "placement": "hosted"}
            for name, one in super().models().items()
        }

    def replicas(self, app: str, deployment: str = "ModelServer") -> frozenset[int]:
        """Return the processes of a hosted version, or those of another deployment."""
        if deployment != "ModelServer":
            return super().replicas(app, deployment)
        return frozenset(self._hosted(f"{HOSTED_TITLE}{app}"))

    def host(self) -> frozenset[int]:
        return frozenset(pid for pid in self.pids("ray::ServeReplica:host@") if ":VersionHost" in _title(pid))

    def forking(self) -> frozenset[int]:
        """Return the process that forks versions; a child looks the same for the moment before it has its title."""
        return frozenset(pid for pid in self.processes() if FORKING in _command(pid))

    def expected(self) -> Counter[str]:
        """Return how many processes there should be of each kind."""
        hosted = Counter({f"{HOSTED_TITLE}{name}": 1 for name in self.models()})
        kinds = ("ray::ServeReplica:router", "ray::ServeController")
        return hosted + Counter({kind: super(HostedSite, self).expected()[kind] for kind in kinds})

    def running(self) -> Counter[str]:
        """Count the hosted versions too; hosts are left out, as nothing says on how many nodes one is needed."""
        own = Counter({kind: count for kind, count in super().running().items() if "host@" not in kind})
        return own + Counter(title.partition(":")[0] for title in self._hosted(HOSTED_TITLE).values())

    def _hosted(self, beginning: str) -> dict[int, str]:
        """Return hosted versions by process; they outlive the process that forked them, and are then nobody's children."""
        titles = {pid: _title(pid) for pid in psutil.pids()}
        hosted = {pid: title for pid, title in titles.items() if title.startswith(beginning)}
        return {pid: title for pid, title in hosted.items() if _environment(pid).get(OF_SITE) == str(self.folder)}


class ServeRunSite(Site):
    """The same server as `serve run` starts it, with Serve's own proxy."""

    ends_on = signal.SIGINT

    def command(self) -> list[str]:
        """Write a Serve config, and give the command line for it."""
        self.proxy_port = free_port()
        config = yaml.safe_load((ROOT / "configs" / "app.yaml").read_text())
        config["http_options"]["port"] = self.proxy_port
        config["grpc_options"]["port"] = free_port()
        config["applications"][0]["args"] = {
            name: str(value) if isinstance(value, Path) else value for name, value in self.flags().items()
        }
        file = self.folder / "app.yaml"
        file.write_text(yaml.safe_dump(config), encoding="utf-8")
        return [str(Path(sys.executable).with_name("serve")), "run", str(file)]

    def environment(self) -> dict[str, str]:
        """Take no part in another Ray on this machine."""
        return super().environment() | {"RAY_ADDRESS": "local", "RAY_TMPDIR": str(self.folder)}

    def expected(self) -> Counter[str]:
        """Serve's proxy is there, too."""
        return super().expected() + Counter({"ray::ProxyActor": 1})

    def is_whole(self) -> bool:
        """Serve's proxy answers, too."""
        return super().is_whole() and self.proxy_answers()

    def proxy_answers(self) -> bool:
        """Whether a request by Serve's proxy is answered right now."""
        client = RestClient(self.proxy_port, timeout_s=20.0)
        try:
            return bool(client.predict("two", [2.0]) == [3.0])
        except (OSError, AssertionError, ValueError):
            return False
        finally:
            client.close()


def _kind(title: str) -> str:
    return ":".join(title.split(":")[:4]).partition(".")[0].strip()


def _title(pid: int) -> str:
    return _command(pid).partition("\0")[0]


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def _environment(pid: int) -> dict[str, str]:
    try:
        return psutil.Process(pid).environ()
    except psutil.Error:
        return {}


@contextmanager
def running(site: Site) -> Iterator[Site]:
    """A site that is started, and ended whatever happens; its processes are ended by their ids."""
    try:
        site.start()
        yield site
    finally:
        below = site.processes()
        if site.process.poll() is None:
            site.stop()
        wait_until(lambda: not any(psutil.pid_exists(pid) for pid in below), "no process is left", LEAVE_TIMEOUT_S)
