"""Versions of each platform with requests, for the contract of platforms; and a platform that a package registers."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from core.config.server_settings import ServerSettings
from deployments.platforms.contract import PlatformCase, Request
from deployments.platforms.registry import platform_named
from deployments.system.entry_points import registered
from tests.support.project import ROOT
from tests.support.zoo_models import MODELS, zoo_calls

PAGE = ROOT / "docs" / "platforms.md"
_BLOCK = re.compile(r"^```(?:python|text|toml|bash)? ?([\w./-]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def zoo_case(platform: str, model: str, settings: ServerSettings | None = None) -> PlatformCase:
    """Return a case of a model of the zoo: its first call, and the same with its rows in the opposite order."""
    call = next(one for one in zoo_calls() if one.model == model)
    requests = tuple(
        Request(
            {name: array[::step].copy() for name, array in call.inputs.items()},
            {name: array[::step].copy() for name, array in call.outputs.items()},
        )
        for step in (1, -1)
    )
    path = str(MODELS / model / str(call.version))
    return PlatformCase(
        platform_named(platform), path, requests, call.signature, call.tolerance, settings or ServerSettings()
    )


def half_plus_two_case(platform: str, path: str) -> PlatformCase:
    """Return a case of a version that answers `y` with half of `x` plus two, for rows of one float."""
    columns = (np.array([[1.0], [3.0]], np.float32), np.array([[5.0], [7.0]], np.float32))
    return PlatformCase(platform_named(platform), path, tuple(Request({"x": x}, {"y": x / 2 + 2}) for x in columns))


def page_block(name: str) -> str:
    """Return the block of docs/platforms.md that is headed with the name of a file."""
    return dict(_BLOCK.findall(PAGE.read_text(encoding="utf-8")))[name]


def write_package(folder: Path) -> None:
    """Write what an installed package of the page's example looks like: its module, and its entry points."""
    (folder / "matrix_platform.py").write_text(page_block("matrix_platform.py"), encoding="utf-8")
    about = folder / "matrix_platform-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: matrix-platform\nVersion: 1.0\n", encoding="utf-8")
    entry = re.search(r'\[project.entry-points."(\S+)"\]\n(\w+) = "(\S+)"', page_block("pyproject.toml"))
    assert entry is not None
    (about / "entry_points.txt").write_text(f"[{entry[1]}]\n{entry[2]} = {entry[3]}\n", encoding="utf-8")


@contextmanager
def installed(folder: Path) -> Iterator[None]:
    """Make a folder's packages known to this process, as if they were installed."""
    sys.path.insert(0, str(folder))
    registered.cache_clear()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop("matrix_platform", None)
        registered.cache_clear()
