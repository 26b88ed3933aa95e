"""The table of commands: each starts fast."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

STARTS_WITHIN_S = 1.5


@pytest.mark.parametrize("command", ["status", "check-config", "label", "load", "unload", "profile"])
def test_a_command_starts_quickly_and_without_ray(command: str) -> None:
    """It is used in scripts; counted is the time on the CPU, because tests share their machine."""
    code = (
        "import sys, deployments.cli\n"
        f"try: deployments.cli.main(['{command}', '--help'])\n"
        "except SystemExit: pass\n"
        "print([name for name in ('ray', 'tensorflow', 'uvicorn', 'numpy', 'fsspec') if name in sys.modules])"
    )
    began_s = cpu_of_children_s()
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200, check=True)

    assert ended.stdout.splitlines()[-1] == "[]"
    assert cpu_of_children_s() - began_s < STARTS_WITHIN_S


def cpu_of_children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
