"""A container without Docker: the files of the image over those of this machine, and the limits of a guarded cluster.

The root is read-only, `/tmp` an empty file system in memory, `/dev/shm` as small as Docker makes it; the user is one that
nobody has heard of, without capabilities and without a home, and may have half of a CPU.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.support.clients import wait_until
from tests.support.image import Stage
from tests.support.project import ROOT

USER = 4242
INSTALLED = Path("/opt/ray_model_server")
"""Where the image has its environment. Here that of the tests stands in for it."""

TOOLS = ("unshare", "nsenter", "mount", "chroot", "setpriv", "ip")
AS_USER = ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--bounding-set=-all", "--no-new-privs")
APART = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--ipc", "--uts", "--net")

PREPARE = f"""
set -e
layer=$1 models=$2 work=$3; shift 3
ip link set lo up
ip link add eth0 type veth peer name switch
ip address add 10.88.0.2/24 dev eth0
ip link set switch up
ip link set eth0 up
ip route add default via 10.88.0.1

mount -t tmpfs -o mode=755 base "$work" # a file system cannot lie over another one and be part of it
cp -a "$layer" "$work/layer"
root=$work/root
mkdir "$root"
mount -t overlay -o "lowerdir=$work/layer:/" image "$root"
for one in {shlex.quote(str(ROOT))} {shlex.quote(sys.prefix)}; do
  mount --bind "$one" "$root$one"
  mount -o remount,bind,ro "$root$one"
done
mount --bind "$models" "$root/models"
mount -o remount,bind,ro "$root/models"

mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 dev "$root/dev"
for one in null zero full random urandom tty; do
  touch "$root/dev/$one"
  mount --bind "/dev/$one" "$root/dev/$one"
done
ln -s /proc/self/fd "$root/dev/fd"
mkdir "$root/dev/shm"
mount -o remount,ro "$root/dev"
mount -t tmpfs -o size=64m,mode=1777,noexec,nosuid,nodev shm "$root/dev/shm"
mount -t tmpfs -o mode=1777,noexec,nosuid,nodev tmp "$root/tmp"
mount -t tmpfs -o mode=755 sys "$root/sys"
mkdir -p "$root/sys/fs/cgroup"
echo 50000 100000 > "$root/sys/fs/cgroup/cpu.max"
mount -o remount,ro "$root/sys"
exec chroot "$root" {shlex.join(AS_USER)} env -i "$@"
"""
"""Makes the machine that the container's first process sees, and becomes that process; takes `env`'s arguments last."""


def why_no_container(folder: Path) -> str:
    """Return why this machine runs no such container; empty where it does. The folder is for trying."""
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        return f"not installed: {', '.join(missing)}"
    if os.geteuid():
        return "only root may mount"
    for path in (ROOT, Path(sys.prefix), Path(sys.executable).resolve()):
        for one in (path, *path.parents):
            if not one.stat().st_mode & 1:
                return f"other users may not look into {one}"
    with _started(folder, folder, {}, "true") as tried:
        _, errors = tried.communicate(timeout=60)
    return f"namespaces or mounts are not permitted: {errors.strip()}" if tried.returncode else ""


class Container:
    """A container that runs; its first process is that of the image's entry point."""

    def __init__(self, started: subprocess.Popen[str], first: psutil.Process, environment: Mapping[str, str]) -> None:
        self.started = started
        self.first = first
        self._environment = environment

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a program in the container to its end, as its user: as `docker exec` does."""
        into = ("nsenter", f"--target={self.first.pid}", "--mount", "--pid", "--net", "--ipc", "--root", "--wd=/")
        as_there = (*AS_USER, "env", "-i", *_assigned(self._environment))
        return subprocess.run(
            [*into, *as_there, *command], capture_output=True, text=True, timeout=120, check=False
        )  # fmt: skip


@contextmanager
def container(image: Stage, folder: Path, models: Path, **environment: str) -> Iterator[Container]:
    """Run an image's entry point over a read-only folder of models; the folder is for the image's own files."""
    for copy in image.copies:
        for source, place in copy.pairs():
            _lay(source, folder / "image" / place.relative_to("/"), from_project=not copy.stage, mode=copy.mode)
    for place in image.folders:
        (folder / "image" / place.lstrip("/")).mkdir(parents=True, exist_ok=True)
    variables = {**image.environment, **environment}
    with _started(folder, models, variables, *image.entry_point) as started:
        try:
            wait_until(lambda: bool(psutil.Process(started.pid).children()), "it has its namespaces", 30)
            (first,) = psutil.Process(started.pid).children()
            yield Container(started, first, variables)
        finally:
            started.kill()  # and with it all of the container


def _started(
    folder: Path, models: Path, environment: Mapping[str, str], *command: str
) -> subprocess.Popen[str]:  # fmt: skip
    for one in ("image/models", "work"):
        (folder / one).mkdir(parents=True, exist_ok=True)
    prepare = ("sh", "-c", PREPARE, "prepare", str(folder / "image"), str(models), str(folder / "work"))
    return subprocess.Popen(
        [*APART, *prepare, *_assigned(environment), *command],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def _assigned(environment: Mapping[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in environment.items()]


def _lay(source: str, place: Path, *, from_project: bool, mode: int | None) -> None:
    """Put one file or folder of a `COPY` into the image."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if from_project:
        shutil.copy(ROOT / source, place)
    elif Path(source) == INSTALLED:
        _lay_environment(place)
    else:
        _lay_script(Path(source).name, place)
    if mode is not None:
        place.chmod(mode)


def _lay_environment(place: Path) -> None:
    """Make a virtual environment of the tests' interpreter and packages."""
    python = Path(sys.executable).resolve()
    packages = Path(sysconfig.get_path("purelib"))
    folder = place / packages.relative_to(sys.prefix).parent
    folder.mkdir(parents=True)
    (folder / packages.name).symlink_to(packages)
    (place / "bin").mkdir()
    (place / "bin" / "python").symlink_to(python)
    (place / "pyvenv.cfg").write_text(f"home = {python.parent}\ninclude-system-site-packages = false\n")
    for name in ("ray_model_server", "tensorflow_model_server"):
        _lay_script(name, place / "bin" / name)


def _lay_script(name: str, place: Path) -> None:
    """Copy a console script, which names the interpreter of its environment in its first line."""
    _, _, rest = Path(sys.executable).with_name(name).read_text().partition("\n")
    place.write_text(f"#!{INSTALLED}/bin/python\n{rest}")
    place.chmod(0o755)
