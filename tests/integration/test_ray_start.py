"""A real Ray that does not come up in time is removed and started again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile

import pytest

from tests.support.project import ROOT

SCRIPT = """
import json, sys
from pathlib import Path
import psutil, ray
from deployments.launch.local_ray import LocalRay
from deployments.launch.ray_start import start_ray
from core.errors import Unavailable

folder, late = sys.argv[1], int(sys.argv[2])
services, node = ray._private.services, ray._private.node
present = services.get_node
seen, said = [], []

class Hasty:  # a clock on which 30 s pass from one look to the next
    now_s = 0.0
    sleep = staticmethod(lambda _: None)
    time = staticmethod(__import__("time").time)
    @classmethod
    def monotonic(cls):
        cls.now_s += 40.0
        return cls.now_s

class Patient:  # a clock on which 30 s take five minutes: the start that is not late may be on a busy machine
    sleep = staticmethod(__import__("time").sleep)
    time = staticmethod(__import__("time").time)
    @staticmethod
    def monotonic():
        return __import__("time").monotonic() / 10

def sessions():
    return sorted(one.name for one in Path(folder).glob("session_2*"))

def get_node(address, name):
    here = tuple(sessions())
    if here not in seen:
        seen.append(here)
    if len(seen) > late:
        node.time = Patient
        return present(address, name)
    below.append([one.pid for one in psutil.Process().children(recursive=True)])
    raise RuntimeError("not registered yet")

below = []
services.get_node, node.time = get_node, Hasty
try:
    start_ray(LocalRay(folder), said.append)
    error = ""
except Unavailable as caught:
    error = str(caught)
alive = [pid for pids in below for pid in pids if psutil.pid_exists(pid)]
print(json.dumps({"said": said, "error": error, "up": ray.is_initialized(), "sessions": len(sessions()),
                  "starts": [len(one) for one in below], "seen": [len(one) for one in seen], "alive": alive}))
ray.shutdown()
"""


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("late", "tries", "is_up"), [(1, 2, True), (3, 3, False)])
def test_a_late_ray_leaves_no_process_and_no_folder(*, late: int, tries: int, is_up: bool) -> None:
    """Each try begins without the processes and the session folder of the one before it."""
    with tempfile.TemporaryDirectory(prefix="rms-") as folder:
        command = [sys.executable, "-c", SCRIPT, folder, str(late)]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=580, check=False)
    assert ended.returncode == 0, ended.stderr
    seen = json.loads(ended.stdout.splitlines()[-1])

    assert (seen["up"], bool(seen["error"])) == (is_up, not is_up)
    assert len(seen["said"]) == tries - 1
    assert all(seen["starts"]), "each late start had processes"
    assert set(seen["seen"]) == {1}, "no try saw the folder of another"
    assert (seen["alive"], seen["sessions"]) == ([], int(is_up))


OWN = """
import json, resource, sys
import psutil, ray
from deployments.launch.local_ray import LocalRay

resource.setrlimit(resource.RLIMIT_NOFILE, (1024, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
one = LocalRay(sys.argv[1])
one.start()
answer = ray.get(ray.remote(lambda: resource.getrlimit(resource.RLIMIT_NOFILE)[0]).remote())
below = psutil.Process().children(recursive=True)
commands = " ".join(" ".join(each.cmdline()) for each in below)
ended = one.ended()
ports = sorted({c.laddr.port for each in below for c in each.net_connections() if c.status == psutil.CONN_LISTEN})
one.clear()
left = [each.pid for each in below if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
print(json.dumps({"answer": answer, "ended": ended, "commands": commands, "ports": ports, "left": left}))
"""

AGENTS_COMMON_PORT = 52365
"""Where an agent listens by default: a second Ray on the machine has none then."""

NEEDED = ("gcs_server", "raylet", "DashboardAgent", "RuntimeEnvAgent")
LEFT_OUT = ("dashboard.py", "log_monitor.py", "monitor.py")


def test_a_node_of_our_own_has_what_a_server_needs() -> None:
    """Its workers work and may open many files; processes for clusters and dashboards are left out.

    Its ports are its own, so that the dashboard of another Ray on the machine keeps its logs.
    """
    with tempfile.TemporaryDirectory(prefix="rms-") as folder:
        command = [sys.executable, "-c", OWN, folder]
        environment = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "a" * 64}
        ended = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert ended.returncode == 0, ended.stderr
        seen = json.loads(ended.stdout.splitlines()[-1])

    assert seen["answer"] > 1024
    assert (seen["ended"], seen["left"]) == ({}, [])
    assert AGENTS_COMMON_PORT not in seen["ports"]
    assert {one for one in NEEDED if one not in seen["commands"]} == set()
    assert {one for one in LEFT_OUT if one in seen["commands"]} == set()
