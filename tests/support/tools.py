"""Prometheus and Chromium for their tests: those on the PATH, or the system's packages, unpacked into `.tools`.

`python -m tests.support.tools` (`make tools`) fetches what is missing. A test run does so, too, beside the other tests;
a test that needs a program waits for it, and is skipped where it cannot be had.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.project import ROOT

TOOLS = ROOT / ".tools"
PROGRAMS = ("prometheus", "promtool", "chromium")
PLACES = os.pathsep.join(str(TOOLS / "usr" / place) for place in ("lib/chromium", "bin"))
TRIED_AGAIN_AFTER_S = 600.0
FETCH_TIMEOUT_S = 300.0
APT = (
    "apt-get", "--quiet", "--option=APT::Sandbox::User=", "--option=Acquire::Retries=1",
    "--option=Acquire::http::Timeout=20", "--option=Acquire::https::Timeout=20",
)  # fmt: skip


def found(name: str) -> str | None:
    """Return a program's path; None where it is not there yet."""
    return shutil.which(name) or shutil.which(name, path=PLACES)


def program(name: str) -> str:
    """Return a program's path, fetched now if it is missing; skips the test where it cannot be had."""
    path = found(name)
    if path is None:
        reason = fetch()
        path = found(name)
        if path is None:
            pytest.skip(f"{name} is not on the PATH, and {reason or 'its package has no such file'}")
    return path


def libraries() -> str:
    """Return the folders of libraries that were unpacked with the programs."""
    folders = (TOOLS / "usr" / "lib").glob("*-linux-gnu")
    return os.pathsep.join(str(one) for folder in folders for one in (folder, folder / "pulseaudio"))


def fetch_beside() -> None:
    """Begin to fetch what is missing, without waiting for it."""
    if not all(map(found, PROGRAMS)):
        threading.Thread(target=fetch, name="tools", daemon=True).start()


def fetch() -> str:
    """Fetch what is missing; returns why that failed, empty if it did not. A second run waits for the first one."""
    TOOLS.mkdir(exist_ok=True)
    failed = TOOLS / "failed"
    with _locked(TOOLS / "lock"):
        if all(map(found, PROGRAMS)):
            return ""
        if failed.exists() and time.time() - failed.stat().st_mtime < TRIED_AGAIN_AFTER_S:
            return failed.read_text()
        failed.write_text("an earlier attempt to fetch it was cut short")
        reason = _fetched()
        if reason:
            failed.write_text(reason)
        else:
            failed.unlink()
    return reason


def _fetched() -> str:
    if shutil.which("apt-get") is None:
        return "there is no apt-get to fetch it"
    folder = TOOLS / "packages"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        _download(folder)
        for package in folder.glob("*.deb"):
            _output(["dpkg-deb", "--extract", str(package), str(TOOLS)], folder)
    except (subprocess.SubprocessError, OSError) as error:
        said = getattr(error, "stderr", "") or str(error)
        return f"it could not be fetched: {said.strip().splitlines()[-1] if said.strip() else error!r}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return ""


def _download(folder: Path) -> None:
    """Download the two packages, and those of Chromium's that this system lacks, into a folder.

    Without the system's package lists, lists of our own are used: that needs no rights, and changes nothing outside.
    """
    try:
        _download_with(APT, folder)
    except subprocess.CalledProcessError:
        own = TOOLS / "apt"
        (own / "lists").mkdir(parents=True, exist_ok=True)
        apt = (*APT, f"--option=Dir::State::Lists={own / 'lists'}", f"--option=Dir::Cache={own / 'cache'}")
        _output([*apt, "update"], folder)
        _download_with(apt, folder)


def _download_with(apt: tuple[str, ...], folder: Path) -> None:
    plan = _output([*apt, "--simulate", "--no-install-recommends", "install", "chromium"], folder)
    missing = [line.split()[1] for line in plan.splitlines() if line.startswith("Inst ")]
    _output([*apt, "download", "prometheus", *missing], folder)


def _output(command: list[str] | tuple[str, ...], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=FETCH_TIMEOUT_S)
    return done.stdout


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main() -> int:
    """Fetch, and print where each program is."""
    (TOOLS / "failed").unlink(missing_ok=True)
    reason = fetch()
    for name in PROGRAMS:
        print(f"{name}: {found(name) or f'not here, {reason}'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
