"""A server as an operator runs it, its processes, and its storage: what faults are done to."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import yaml

from tests.support.clients import RestClient, free_port, wait_until

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 90.0


class Site:
    """One running `ray_model_server` with three models: `one` and `two` (by replicas), and `rolled`, whose versions change."""

    def __init__(self, saved_models: Path, folder: Path) -> None:
        self.saved_models = saved_models
        self.folder = folder
        self.rest_port = free_port()
        self.rolled = folder / "rolled"
        self.stored = folder / "stored"
        self.next_version = 2
        self.copy_version(1)

    def copy_version(self, number: int) -> None:
        """Put a version of `rolled` into storage, whole from the first moment."""
        source = self.saved_models / "half_plus_two" / "1"
        self.rolled.mkdir(exist_ok=True)
        aside = self.folder / f"copying-{number}"
        shutil.copytree(source, aside)
        aside.rename(self.rolled / str(number))

    def start(self) -> None:
        """Start the server and wait until every model answers with all of its replicas."""
        settings = {
            "models": {
                "one": {"base_path": str(self.saved_models / "half_plus_two")},
                "two": {"base_path": str(self.saved_models / "half_plus_two"), "num_replicas": 2},
                "rolled": {"base_path": str(self.rolled)},
            }
        }
        file = self.folder / "settings.yaml"
        file.write_text(yaml.safe_dump(settings), encoding="utf-8")
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "deployments.cli",
                "--host=127.0.0.1",
                f"--port={free_port()}",
                f"--rest_api_port={self.rest_port}",
                f"--model_settings_file={file}",
                "--file_system_poll_wait_seconds=1",
            ],
            stdout=subprocess.DEVNULL,
            cwd=ROOT,
            env=os.environ | {"RAY_AUTH_MODE": "token"},
        )
        wait_until(self.is_whole, "the server answers with all replicas", START_TIMEOUT_S)

    def client(self) -> RestClient:
        return RestClient(self.rest_port)

    def pids(self, title: str) -> frozenset[int]:
        """Give the processes of this server whose title begins so."""
        return frozenset(
            pid for pid in self.processes() if _title(pid).startswith(title)
        )  # fmt: skip

    def processes(self) -> frozenset[int]:
        """Give all processes of this server."""
        try:
            return frozenset(child.pid for child in psutil.Process(self.process.pid).children(recursive=True))
        except psutil.NoSuchProcess:
            return frozenset()

    def replicas(self, app: str, deployment: str = "ModelServer") -> frozenset[int]:
        return self.pids(f"ray::ServeReplica:{app}:{deployment}")

    def answers(self, model: str) -> bool:
        """Tell whether a model answers right now."""
        client = RestClient(self.rest_port, timeout_s=5.0)
        try:
            return client.predict(model, [2.0]) == [3.0]
        except (OSError, AssertionError):
            return False
        finally:
            client.close()

    def is_whole(self) -> bool:
        """Everything that should run runs, and every model answers."""
        if self.process.poll() is not None:
            raise AssertionError(f"the server ended with {self.process.returncode}")
        return (
            all(self.answers(model) for model in ("one", "two", "rolled"))
            and len(self.replicas("two:1")) == 2
            and len(self.replicas("router", "Router")) == 1
            and len(self.replicas("router", "Watcher")) == 1
            and len(self.pids("ray::ServeController")) == 1
        )

    def roll(self) -> int:
        """Add the next version of `rolled`; gives its number."""
        number = self.next_version
        self.next_version += 1
        self.copy_version(number)
        return number

    def serves(self, version: int) -> bool:
        """Tell whether this is the version of `rolled` that is available, and no other."""
        client = RestClient(self.rest_port, timeout_s=5.0)
        try:
            return client.available("rolled") == {version}
        except OSError:
            return False
        finally:
            client.close()

    def kill(self, pids: frozenset[int]) -> int:
        """Kill one of these processes without a warning; gives its id."""
        pid = min(pids)
        os.kill(pid, signal.SIGKILL)
        return pid

    def stop(self) -> int:
        """Ask the server to end; gives its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_TIMEOUT_S)


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().partition(b"\0")[0].decode(errors="replace")
    except OSError:
        return ""


@contextmanager
def running_site(saved_models: Path, folder: Path) -> Iterator[Site]:
    """A site that is started, and ended whatever happens; its processes are ended by their ids."""
    site = Site(saved_models, folder)
    try:
        site.start()
        yield site
    finally:
        below = site.processes()
        if site.process.poll() is None:
            site.stop()
        wait_until(lambda: not any(psutil.pid_exists(pid) for pid in below), "no process is left", 30)
