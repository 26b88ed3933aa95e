"""Settings of a process that answers requests."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.support.project import ROOT

TUNED = """
import gc, json, sys
from deployments.system.process_tuning import keep_freed_memory, settle
kept = [[one] for one in range(1000)]
settle()
print(json.dumps({
    "switch_s": sys.getswitchinterval(), "thresholds": gc.get_threshold(), "frozen": gc.get_freeze_count(),
    "keeps": keep_freed_memory(),
}))
"""

PAGE_FAULTS = """
import resource, sys
from deployments.system.process_tuning import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
bytearray(4_000_000)
before = faults()
for _ in range(50):
    bytearray(4_000_000)
print(faults() - before)
"""


def output(code: str, *arguments: str) -> str:
    """Return the output of a program in a fresh process."""
    ended = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, check=True, capture_output=True, text=True, timeout=100
    )
    return ended.stdout


def test_a_settled_process_switches_threads_soon_and_collects_rarely() -> None:
    """And never examines again the objects that it keeps."""
    seen = json.loads(output(TUNED))

    assert 0 < seen["switch_s"] <= 0.001
    assert seen["thresholds"][0] >= 10_000
    assert seen["frozen"] > 1000
    assert seen["keeps"]


def test_freed_memory_is_used_again() -> None:
    """Each request with a large body would otherwise pay for fresh pages."""
    fresh, kept = int(output(PAGE_FAULTS, "free")), int(output(PAGE_FAULTS, "keep"))

    assert kept * 10 < fresh
