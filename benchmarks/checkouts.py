"""Other revisions of this project, installed beside this one below `.peers/`, as their own Makefiles install them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from benchmarks.peers import HOME, ROOT

T = TypeVar("T")

BASE_PYTHON = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
"""The interpreter that this environment was made with: both sides of a comparison run on the same one."""


NOW = "now"
"""This tree, beside a revision."""

THAN = "a revision of this project to compare with"


def in_turn(those: Sequence[T], number: int) -> Sequence[T]:
    """Return who takes part in a round, in an order that changes with each."""
    return [those[(place + number) % len(those)] for place in range(len(those))]


def checkout(revision: str) -> Path:
    """Return the folder of a revision with its environment in `.venv`, made when it is first asked for."""
    commit = _output("git", "rev-parse", "--verify", f"{revision}^{{commit}}")
    folder = HOME / "checkouts" / commit[:12]
    stamp = folder / ".ready"
    if not stamp.exists() or stamp.read_text() != str(BASE_PYTHON):
        print(f"making {folder.relative_to(ROOT)}", file=sys.stderr, flush=True)
        folder.mkdir(parents=True, exist_ok=True)
        archive = subprocess.run(["git", "archive", commit], check=True, cwd=ROOT, stdout=subprocess.PIPE).stdout
        subprocess.run(["tar", "--extract", "--directory", str(folder)], check=True, input=archive)
        made = subprocess.run(
            ["make", "setup", f"PYTHON={BASE_PYTHON}"], check=False, cwd=folder, capture_output=True, text=True
        )
        if made.returncode:
            raise SystemExit(f"{revision} cannot be installed:\n{made.stdout}{made.stderr}")
        stamp.write_text(str(BASE_PYTHON))
    return folder


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True).stdout.strip()
