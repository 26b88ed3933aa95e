"""The sections of docs/architecture.md about rooms, made of the docstrings: `make docs` writes them, a test compares them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.support.project import ROOT

DOCUMENT = ROOT / "docs" / "architecture.md"
BEGIN, END = "## `core/`\n", "## Other folders\n"
ROOMS = {
    "core": "container formats events evidence delivery rollouts config http2 telemetry exposition storage versions routing inference platforms access delivery_status profiling json admin grpc rest oip pages openapi recording inspection comparison replay",
    "deployments": "system container telemetry config storage runtime platforms recording division comparison inference routing pages access rest grpc oip exposition hosting delivery versions workers launch inspection commands delivery_commands replay",
}
"""The rooms of each package, those that know least first."""


def sections() -> str:
    """Return the sections of both packages: each room with the words of its `__init__`, each module with its summary."""
    return "\n".join(line for package in ROOMS for line in _package(package))


def _package(package: str) -> Iterator[str]:
    yield from _room(package, "##")
    for room in ROOMS[package].split():
        yield from _room(f"{package}/{room}", "###")


def _room(folder: str, level: str) -> Iterator[str]:
    yield from (f"{level} `{folder}/`", "", docstring(ROOT / folder / "__init__.py"), "", "| module | |", "|---|---|")
    for path in sorted((ROOT / folder).glob("*.py")):
        if path.name != "__init__.py":
            yield f"| `{path.name}` | {docstring(path).splitlines()[0].rstrip('.')} |"
    yield ""


def docstring(path: Path) -> str:
    """Return the docstring of a module."""
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


def written() -> str:
    """Return the same sections as they stand in the document."""
    text = DOCUMENT.read_text(encoding="utf-8")
    return text[text.index(BEGIN) : text.index(END)].rstrip("\n") + "\n"


def write() -> None:
    """Write the sections into the document."""
    text = DOCUMENT.read_text(encoding="utf-8")
    DOCUMENT.write_text(text[: text.index(BEGIN)] + sections() + "\n" + text[text.index(END) :], encoding="utf-8")


if __name__ == "__main__":
    write()
