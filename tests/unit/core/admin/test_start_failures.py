"""One paragraph for every failure: a code, what happened, what to do."""

from __future__ import annotations

import errno
import os

import pytest

from core.admin.start_failures import LONGEST_TEXT, failure_text, last_cause
from core.errors import ConfigError, FailedPrecondition, Problem

SERVE_TEXT = """The deployment failed to start 2 times in a row. Error:
\x1b[36mray::ServeReplica:router:Router.initialize()\x1b[39m (pid=7)
RuntimeError: Traceback (most recent call last):
  File "router.py", line 1, in __init__
deployments.system.port_claim.PortTaken: Port 8500 (gRPC) is taken by nginx (process 9) on this machine.

"""


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (FailedPrecondition("no"), "FAILED_PRECONDITION: no"),
        (ConfigError((Problem("a", "f"), Problem("b", "f"))), "INVALID_ARGUMENT: f: a\nf: b"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "/x"), "NOT_FOUND: /x: No such file or directory"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), "PERMISSION_DENIED: /x: Permission denied"),
        (OSError(errno.ENOSPC, "No space left", "/a", None, "/b"), "RESOURCE_EXHAUSTED: /a and /b: No space left"),
        (OSError(errno.EIO, "Input/output error"), "UNAVAILABLE: Input/output error"),
        (MemoryError(), "RESOURCE_EXHAUSTED: There is not enough memory."),
        (ModuleNotFoundError("No module named 'ray'"), ("FAILED_PRECONDITION: No module named 'ray'. The installation is "
         "not complete: install the package again.")),
        (ValueError("Invalid address format: x"), ("INVALID_ARGUMENT: Invalid address format: x. --ray_address is "
         "HOST:PORT, or auto.")),
        (RuntimeError("Version mismatch: The cluster was started with:\n Ray: 1"), ("FAILED_PRECONDITION: Version "
         "mismatch: The cluster was started with:\n Ray: 1. Run this server with the Ray and the Python of the cluster.")),
        (KeyError("x"), "INTERNAL: KeyError: 'x' (RAY_MODEL_SERVER_TRACEBACK=1 shows where it came from.)"),
    ],
)  # fmt: skip
def test_every_error_has_a_code_and_a_text(error: Exception, text: str) -> None:
    """Ours as they are, the system's with the file, Ray's with advice, and defects with their class."""
    assert failure_text(error) == text


def test_a_long_foreign_text_is_cut() -> None:
    """Ray's may hold the ends of its log files."""
    assert len(failure_text(RuntimeError("x" * 5000))) < LONGEST_TEXT + 200


def test_the_systems_own_error_names_the_file() -> None:
    """As raised by a call, and not as made by hand."""
    with pytest.raises(OSError, match="nowhere") as raised:
        os.scandir("/nowhere/at/all")

    assert failure_text(raised.value) == "NOT_FOUND: /nowhere/at/all: No such file or directory"


def test_the_last_line_of_a_trace_is_its_cause() -> None:
    """A replica's failure arrives as the text of all its traces; a text without one is shown whole."""
    assert last_cause(SERVE_TEXT) == "Port 8500 (gRPC) is taken by nginx (process 9) on this machine."
    assert last_cause("two\nlines") == "two\nlines"
