"""Packages with entry points, as an installer leaves them in a folder: the example's, and ones that tests make up."""

from __future__ import annotations

import shutil
import sys
import textwrap
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from deployments.system.entry_points import registered
from tests.support.project import ROOT

EXAMPLE = ROOT / "examples" / "extension"
EXAMPLE_MODULE = "example_extension"


def install(
    folder: Path, name: str, points: Mapping[str, Mapping[str, str]], modules: Mapping[str, str] | None = None
) -> None:
    """Install a package of modules (name to text) that registers objects (`module:attribute`) by point and name."""
    information = folder / f"{name}-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = (
        f"[ray_model_server.{point}]\n" + "".join(f"{one} = {value}\n" for one, value in entries.items())
        for point, entries in points.items()
    )
    (information / "entry_points.txt").write_text("\n".join(lines))
    for module, text in (modules or {}).items():
        (folder / f"{module}.py").write_text(textwrap.dedent(text))


def install_example(folder: Path) -> None:
    """Install the example of the documents, with the entry points of its pyproject.toml."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    points = {group.removeprefix("ray_model_server."): entries for group, entries in project["entry-points"].items()}
    install(folder, project["name"], points)
    shutil.copytree(EXAMPLE / EXAMPLE_MODULE, folder / EXAMPLE_MODULE, ignore=shutil.ignore_patterns("__pycache__"))


@contextmanager
def on_path(folder: Path) -> Iterator[None]:
    """Let this process see what is installed in a folder, and forget it and its modules afterwards."""
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    registered.cache_clear()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        registered.cache_clear()
        for name in set(sys.modules) - before:
            file = getattr(sys.modules[name], "__file__", None) or ""
            if file.startswith(f"{folder}/"):
                del sys.modules[name]
