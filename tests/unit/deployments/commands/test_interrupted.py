"""Commands that end before they are done: interrupted, or without a reader."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.support.admin_server import AdminServer
from tests.support.clients import wait_until
from tests.support.processes import hear_signals

SCRIPT = Path(sys.executable).with_name("ray_model_server")


def test_a_command_that_is_interrupted_ends_without_a_traceback(live: AdminServer) -> None:
    """What it began goes on; the exit status is the shell's for SIGINT."""
    live.site.host.finish_deploying = lambda _: None
    command = [SCRIPT, "load", "m", "1", "--server", live.address]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hear_signals,  # noqa: PLW1509 - it only resets signals
    ) as process:
        wait_until(lambda: 1 in live.site.router.table.models["m"].histories, "version 1 loads")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=200)

    assert (process.returncode, errors) == (130, "")


def test_a_command_whose_reader_has_left_ends_without_a_traceback() -> None:
    """As in `| head`; the exit status is the shell's for SIGPIPE."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        command = [SCRIPT, "check-config", "/missing"]
        ended = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=200, check=False)
    finally:
        os.close(writer)

    assert (ended.returncode, ended.stderr) == (141, "")
