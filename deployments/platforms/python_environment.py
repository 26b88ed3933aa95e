"""The packages of a version's `requirements.txt`: installed once on each node by uv, and shared.

Ray's own environments are not used: for a server in a virtual environment Ray copies all of it, TensorFlow included,
for each set of requirements, and a failure reaches nobody in the words of the installer. Here the packages go to a
folder of their own, in front of the server's. What the server itself runs on keeps its version: a requirement that
needs another one is refused by uv, which names both.

    python/KEY/              the packages for one set of requirements, whole
    python/KEY.lock          shared by every process that uses them
    python/KEY.installing    held by the one process that installs them; the others wait
"""

from __future__ import annotations

import importlib
import logging
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Final

from core.errors import DeadlineExceeded, FailedPrecondition
from core.platforms.python_requirements import (
    constraints_text,
    environment_key,
    install_failure,
    is_empty,
    required_names,
    requirements_text,
)
from core.versions.servable_spec import ServableSpec
from deployments.storage.version_files import default_folder
from deployments.system.file_lock import FileLock

log = logging.getLogger(__name__)

REQUIREMENTS_FILE: Final = "requirements.txt"
OWN_DISTRIBUTION: Final = "ray-model-server"
UNUSED_S: Final = 30 * 24 * 3600.0
"""Packages that nobody used for so long are deleted when others are installed."""

_in_use: list[FileLock] = []
"""The locks that this process holds until it ends."""


def add_requirements(spec: ServableSpec) -> None:
    """Make what a version requires importable in this process, installing it first if it is not on this node.

    Raises ServingError with uv's text, or DeadlineExceeded.
    """
    file = Path(spec.path) / REQUIREMENTS_FILE
    try:
        text = requirements_text(file.read_bytes(), str(file))
    except FileNotFoundError:
        return
    if is_empty(text):
        return
    constraints = constraints_text(_own_versions())
    version = f"{spec.path} {spec.fingerprint}"
    key = environment_key(text, constraints, f"{sys.implementation.cache_tag} {platform.platform()}", version)
    settings = spec.settings
    parent = Path(settings.model_cache.folder) if settings.model_cache.folder else default_folder(os.environ).parent
    target = parent / "python" / key
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = FileLock.take(target.with_suffix(".lock"), shared=True)
    lock.touch()
    try:
        _make_sure(target, file, constraints, settings.platforms.python_setup_timeout_s)
    except BaseException:
        lock.release()
        raise
    _in_use.append(lock)
    sys.path.insert(0, str(target))
    importlib.invalidate_caches()


def _make_sure(target: Path, file: Path, constraints: str, timeout_s: float) -> None:
    """Install unless it was done before; one process does it, and the others wait."""
    if target.exists():
        return
    installing = FileLock.take(target.with_suffix(".installing"))
    try:
        if not target.exists():
            _install(file, constraints, target, timeout_s)
    finally:
        installing.remove()


def _install(file: Path, constraints: str, target: Path, timeout_s: float) -> None:
    """Install into a folder beside `target`, which then becomes `target` in one step."""
    uv = _uv(file)
    _delete_unused(target.parent)
    began = time.monotonic()
    prefix = f"installing-{target.name}-"
    for left in target.parent.glob(f"{prefix}*"):  # by a process that was killed: the lock lets one in at a time
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=target.parent) as name:
        folder = Path(name)
        (folder / "constraints.txt").write_text(constraints, encoding="utf-8")
        command = [uv, "pip", "install", "--python", sys.executable, "--target", folder / "packages"]
        command += ["--requirement", file, "--constraint", folder / "constraints.txt", "--compile-bytecode"]
        _run([*map(str, command), "--no-progress", "--color", "never"], file, timeout_s)
        (folder / "packages").mkdir(exist_ok=True)
        (folder / "packages").rename(target)
    log.info("requirements_installed file=%s folder=%s took_s=%.1f", file, target, time.monotonic() - began)


def _run(command: Sequence[str], file: Path, timeout_s: float) -> None:
    log.info("requirements_installing file=%s", file)
    process = subprocess.Popen(  # noqa: S603 -- requirements are code, and allowed like the model's
        command,
        cwd=file.parent,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        text=True,
        errors="replace",
    )
    try:
        output, _ = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        text = f"The requirements of {file} were not installed within {timeout_s:g} s"
        raise DeadlineExceeded(f"{text}; the flag python_setup_timeout_s sets how long that may take") from None
    finally:
        with suppress(ProcessLookupError):  # with what builds a package for it
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.returncode:
        log.error("requirements_failed file=%s output=%s", file, output)
        raise install_failure(str(file), output)


def _uv(file: Path) -> str:
    found = shutil.which("uv", path=os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")]))
    if found is None:
        text = f"{file} needs uv, which is not installed on this node"
        raise FailedPrecondition(f"{text}: install ray-model-server[python], or delete {REQUIREMENTS_FILE}")
    return found


def _own_versions() -> dict[str, str]:
    """Return the versions of all distributions that this server needs, directly or through others."""
    versions: dict[str, str] = {}
    names = [OWN_DISTRIBUTION]
    while names:
        name = names.pop()
        with suppress(metadata.PackageNotFoundError):
            found = metadata.distribution(name)
            further = [one for one in required_names(found.requires or ()) if one not in versions]
            names += further
            versions |= dict.fromkeys(further, "")
            versions[name] = found.version
    return {name: version for name, version in versions.items() if version and name != OWN_DISTRIBUTION}


def _delete_unused(folder: Path) -> None:
    for lock_file in folder.glob("*.lock"):
        if time.time() - lock_file.stat().st_mtime < UNUSED_S:
            continue
        lock = FileLock.take_if_free(lock_file)
        if lock is not None:
            shutil.rmtree(lock_file.with_suffix(""), ignore_errors=True)
            lock.remove()
