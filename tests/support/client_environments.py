"""Environments of their own for clients: each is made once for its pinned packages, and kept in the tests' cache."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SUPPORT = Path(__file__).parent
FINISHED = ".finished"


@dataclass(frozen=True, slots=True)
class ClientEnvironment(ABC):
    """Packages that need not agree with ours, nor with another client's."""

    name: str
    mark: str
    """The mark of the tests that need it."""

    pins: tuple[Path, ...]
    """The files that fix every version."""

    def made(self, cache: Path) -> Path:
        """Return the program that runs clients' programs there, made now if the cache does not have it."""
        key = hashlib.sha256(b"".join(one.read_bytes() for one in self.pins)).hexdigest()[:12]
        folder = cache / f"{self.name}-{key}"
        cache.mkdir(parents=True, exist_ok=True)
        with (cache / f"{folder.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (folder / FINISHED).exists():
                self._make(folder)
                (folder / FINISHED).touch()
        return self._interpreter(folder)

    def lacks(self) -> str:
        """Return what this machine lacks to make it, or an empty text."""
        return ""

    @abstractmethod
    def _make(self, folder: Path) -> None:
        """Install the packages."""

    @abstractmethod
    def _interpreter(self, folder: Path) -> Path:
        """Return the program that runs others."""


class PythonEnvironment(ClientEnvironment):
    """A virtual environment of our own Python; the pins are one file of requirements."""

    def _make(self, folder: Path) -> None:
        uv = str(Path(sys.executable).with_name("uv"))
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, folder], check=True)
        install = [uv, "pip", "install", "--quiet", "--python", self._interpreter(folder)]
        subprocess.run([*install, "--requirement", self.pins[0]], check=True)

    def _interpreter(self, folder: Path) -> Path:
        return folder / "bin" / "python"


class NodeEnvironment(ClientEnvironment):
    """Node's packages, and a program that finds them; the pins are package.json and its lock."""

    def lacks(self) -> str:
        return "" if shutil.which("npm") else "Node.js with npm"

    def _make(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for one in self.pins:
            shutil.copy(one, folder)
        install = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        subprocess.run(install, cwd=folder, check=True)
        interpreter = self._interpreter(folder)
        interpreter.write_text('#!/bin/sh\nNODE_PATH="$(dirname "$0")/node_modules" exec node "$@"\n', encoding="utf-8")
        interpreter.chmod(0o755)

    def _interpreter(self, folder: Path) -> Path:
        return folder / "node"


STOCK_CLIENT = PythonEnvironment("stock-client", "stock_client", (SUPPORT / "stock_client_requirements.txt",))
OIP_CLIENTS: tuple[ClientEnvironment, ...] = (
    *(
        PythonEnvironment(name, "oip_clients", (SUPPORT / "oip_clients" / f"{name}_requirements.txt",))
        for name in ("triton", "kserve", "open_inference_grpc", "open_inference_openapi")
    ),
    NodeEnvironment(
        "node",
        "oip_clients",
        tuple(SUPPORT / "oip_clients" / "node" / name for name in ("package.json", "package-lock.json")),
    ),
)


def make_beside(cache: Path, marks: Collection[str]) -> None:
    """Begin to make the environments of marked tests that the cache does not have, without waiting for them."""
    wanted = [one for one in (STOCK_CLIENT, *OIP_CLIENTS) if one.mark in marks and not one.lacks()]

    def make() -> None:
        for environment in wanted:
            environment.made(cache)

    if wanted:
        threading.Thread(target=make, name="client-environments", daemon=True).start()


def run_client(interpreter: Path, program: Path, arguments: Iterable[str | Path]) -> dict[str, Any]:
    """Run a client's program in its environment; gives its last line, which is JSON."""
    variables = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    command = [interpreter, program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=variables, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    told: dict[str, Any] = json.loads(done.stdout.strip().rpartition("\n")[2])
    return told


def compared(cache: Path, address: str, versions: Mapping[str, Path]) -> dict[str, Any]:
    """Let TensorFlow Serving's own client ask for versions; gives what was compared and what differed."""
    arguments = [address, *(f"{name}={path}" for name, path in versions.items())]
    return run_client(STOCK_CLIENT.made(cache), SUPPORT / "stock_client.py", arguments)
