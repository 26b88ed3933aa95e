"""The table of commands: how each is found, starts, and ends when it is interrupted or not read."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from deployments.cli import main
from deployments.commands.table import COMMANDS
from tests.support.admin_server import AdminServer
from tests.support.clients import wait_until
from tests.support.processes import hear_interrupts

SCRIPT = Path(sys.executable).with_name("ray_model_server")
STARTS_WITHIN_S = 1.5


def test_the_help_of_the_program_names_every_command(capsys) -> None:
    """Beside TensorFlow Serving's flags."""
    main(["--help"])

    printed = capsys.readouterr().out
    assert all(f"  {name} " in printed and one.summary in printed for name, one in COMMANDS.items())
    assert "--model_config_file" in printed


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
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert ended.stdout.splitlines()[-1] == "[]"
    assert cpu_of_children_s() - began_s < STARTS_WITHIN_S


def cpu_of_children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_a_command_that_is_interrupted_ends_without_a_traceback(live: AdminServer) -> None:
    """What it began goes on; the exit status is the shell's for SIGINT."""
    live.site.host.finish_deploying = lambda _: None
    command = [SCRIPT, "load", "m", "1", "--server", live.address]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hear_interrupts,  # noqa: PLW1509 - it only resets a signal
    ) as process:
        wait_until(lambda: 1 in live.site.router.table.models["m"].histories, "version 1 loads")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)

    assert (process.returncode, errors) == (130, "")


def test_a_command_whose_reader_has_left_ends_without_a_traceback() -> None:
    """As in `| head`; the exit status is the shell's for SIGPIPE."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        command = [SCRIPT, "check-config", "/missing"]
        ended = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    finally:
        os.close(writer)

    assert (ended.returncode, ended.stderr) == (141, "")
