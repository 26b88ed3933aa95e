"""What is installed is known, what makes a server slow in it is said, and `make` takes the better Python."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from deployments.system.installed import server_version
from tests.support.project import ROOT
from tests.support.wheels import write_wheel

WARNINGS = "from deployments.system.installed import interpreter_warnings; print(*interpreter_warnings())"
BYTECODE = "has no bytecode"


def test_the_version_is_that_of_the_project() -> None:
    """The status page, traces and `--version` show it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert server_version() == project["version"]


def warnings_with(ray: Path, *options: str, **variables: str) -> str:
    """Return the warnings of a process that would import Ray from this folder."""
    (ray / "ray").mkdir(parents=True, exist_ok=True)
    (ray / "ray" / "__init__.py").touch()
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join([str(ray), str(ROOT)]), **variables}
    command = [sys.executable, *options, "-c", WARNINGS]
    return subprocess.run(command, env=environment, cwd=ray, capture_output=True, text=True, check=True).stdout


def test_bytecode_that_nobody_writes_is_missed(tmp_path: Path) -> None:
    """An image with PYTHONDONTWRITEBYTECODE compiles Ray in each process, unless that was done at the installation."""
    assert BYTECODE not in warnings_with(tmp_path), "the first process writes it"
    assert BYTECODE in warnings_with(tmp_path, PYTHONDONTWRITEBYTECODE="1")

    subprocess.run([sys.executable, "-m", "compileall", "-q", tmp_path / "ray"], check=True)

    assert BYTECODE not in warnings_with(tmp_path, PYTHONDONTWRITEBYTECODE="1")


def test_bytecode_is_looked_for_where_it_is_kept(tmp_path: Path) -> None:
    """PYTHONPYCACHEPREFIX names another folder, which need not be there yet."""
    kept = str(tmp_path / "kept")

    assert BYTECODE in warnings_with(tmp_path, PYTHONDONTWRITEBYTECODE="1", PYTHONPYCACHEPREFIX=kept)
    assert BYTECODE not in warnings_with(tmp_path, PYTHONPYCACHEPREFIX=kept)


def test_the_environment_of_this_project_has_bytecode() -> None:
    """`make setup` compiles all packages, whatever the environment says, and the project itself."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    ended = subprocess.run(
        [sys.executable, "-c", WARNINGS], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    rule = subprocess.run(
        ["make", "--always-make", "--dry-run", "setup"], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert BYTECODE not in ended.stdout
    assert "--compile-bytecode --requirement requirements-dev.lock" in rule.stdout
    assert "-m compileall -q core deployments" in rule.stdout


PIP = ("-m", "pip", "install", "--disable-pip-version-check", "--no-cache-dir")
UV = ("-m", "uv", "pip", "install", "--no-cache")


@pytest.mark.parametrize(
    ("installer", "variables", "compiles"),
    [
        (PIP, {}, True),
        ((*UV, "--compile-bytecode"), {}, True),
        (UV, {"UV_COMPILE_BYTECODE": "1"}, True),
        (UV, {}, False),
    ],
    ids=["pip", "uv, flag", "uv, variable", "uv"],
)
def test_an_image_gets_bytecode_as_the_guide_says(
    tmp_path: Path, installer: tuple[str, ...], variables: dict[str, str], *, compiles: bool
) -> None:
    """Also where PYTHONDONTWRITEBYTECODE is set, as in many images."""
    wheel = write_wheel(tmp_path / "wheels", "some_model_code", "1.0", "X = 1\n")
    options = ["--quiet", "--no-deps", "--no-index", "--target", tmp_path / "site", wheel]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **variables}
    subprocess.run([sys.executable, *installer, *options], env=environment, capture_output=True, check=True)

    assert bool(list((tmp_path / "site").rglob("some_model_code.*.pyc"))) is compiles


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Copy what the choice needs."""
    for name in ("configs/choose_python.sh", "deployments/__init__.py", "deployments/system", "core/__init__.py"):
        target = tmp_path / "project" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, target)
    shutil.copytree(ROOT / "core" / "admin", tmp_path / "project" / "core" / "admin")
    return tmp_path / "project"


def chosen(project: Path, *folders: Path, home: Path | None = None) -> str:
    """Return the Python that is chosen where only these folders have any."""
    tools = project.parent / "tools"
    tools.mkdir(exist_ok=True)
    for name in ("sh", "dirname", "ls"):
        if not (tools / name).exists():
            (tools / name).symlink_to(str(shutil.which(name)))
    path = os.pathsep.join(map(str, (*folders, tools)))
    environment = {"PATH": path, "HOME": str(home or project.parent)}
    command = [str(shutil.which("sh")), "configs/choose_python.sh"]
    ended = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=True)
    return ended.stdout.strip()


def interpreter(
    folder: Path, build: str, *, venv: bool = True, name: str = "python3.11", version: str = "3.11.9"
) -> Path:
    """Write a command that answers as an interpreter of such a build would; returns its folder."""
    folder.mkdir(parents=True)
    of_code = f"{{ echo {folder}; exit {0 if venv else 1}; }}"
    (folder / name).write_text(f'#!/bin/sh\n[ "$1" = -c ] && {of_code}\necho {version} {build}\n')
    (folder / name).chmod(0o755)
    return folder


def with_headers(folder: Path) -> Path:
    """Add what C is compiled against to an interpreter."""
    (folder / "Python.h").touch()
    return folder


def test_an_optimized_python_is_taken_before_others(project: Path, tmp_path: Path) -> None:
    """Wherever it stands on the path, and also where uv keeps those that it has installed."""
    plain, good = interpreter(tmp_path / "plain", "plain"), interpreter(tmp_path / "good", "optimized")

    assert chosen(project, plain, good) == f"{good}/python3.11"

    managed = interpreter(tmp_path / "home/.local/share/uv/python/cpython-3.11.9-linux-x86_64-gnu/bin", "optimized")
    assert chosen(project, plain, home=tmp_path / "home") == f"{managed}/python3.11"


def test_a_python_of_a_distribution_is_taken_before_a_plain_one(project: Path, tmp_path: Path) -> None:
    """Its build is optimized and does not show it; without headers it would cost the compiled parts."""
    plain, bare = with_headers(interpreter(tmp_path / "a", "plain")), interpreter(tmp_path / "b", "unknown")
    whole, other = (with_headers(interpreter(tmp_path / name, "unknown")) for name in ("c", "d"))
    good = interpreter(tmp_path / "e", "optimized")

    assert chosen(project, plain, bare) == f"{plain}/python3.11"
    assert chosen(project, plain, bare, whole, other) == f"{whole}/python3.11"
    assert chosen(project, plain, whole, good) == f"{good}/python3.11"


def test_an_only_python_is_good_enough(project: Path, tmp_path: Path) -> None:
    """Of several that show no optimization, the first on the path; any of 3.11 before others."""
    plain, hidden = interpreter(tmp_path / "a", "plain"), interpreter(tmp_path / "b", "unknown")
    other = interpreter(tmp_path / "c", "plain", name="python3")

    assert chosen(project, plain, hidden) == f"{plain}/python3.11"
    assert chosen(project, other) == f"{other}/python3"
    assert chosen(project, other, hidden) == f"{hidden}/python3.11"


def test_another_version_is_not_taken_for_its_build(project: Path, tmp_path: Path) -> None:
    """The lock file and the tests are for 3.11; a `python3` that is one counts as one."""
    plain = interpreter(tmp_path / "a", "plain")
    newer = interpreter(tmp_path / "b", "optimized", name="python3", version="3.12.1")
    good = interpreter(tmp_path / "c", "optimized", name="python3")

    assert chosen(project, newer, plain) == f"{plain}/python3.11"
    assert chosen(project, plain, good) == f"{good}/python3"


def test_a_python_without_venv_is_passed_over(project: Path, tmp_path: Path) -> None:
    """As Debian's is without a package of its own; an optimized one, too."""
    bare, plain = interpreter(tmp_path / "a", "optimized", venv=False), interpreter(tmp_path / "b", "plain")

    assert chosen(project, bare, plain) == f"{plain}/python3.11"


def test_the_choice_works_with_a_real_python(project: Path, tmp_path: Path) -> None:
    """Nothing of the project is installed in it yet."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "python3.11").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (tmp_path / "real" / "python3.11").chmod(0o755)

    assert chosen(project, tmp_path / "real") == f"{tmp_path}/real/python3.11"


def test_the_choice_can_be_overridden() -> None:
    """`make PYTHON=…` looks for none."""
    command = ["make", "--always-make", "--dry-run", "setup", "PYTHON=/opt/python"]
    rule = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)

    assert "/opt/python -m venv" in rule.stdout
