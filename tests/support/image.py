"""The image as its Dockerfile describes it: what a container of a target begins with."""

from __future__ import annotations

import json
import re
import shlex
import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from tests.support.project import ROOT

DOCKERFILE = ROOT / "Dockerfile"
BASE_PATH = "/usr/local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""What `PATH` is in the images of Python."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A `COPY`: from a stage, or from the project where that is empty; paths as they are written there."""

    stage: str
    sources: tuple[str, ...]
    target: str
    mode: int | None = None

    def pairs(self) -> Iterator[tuple[str, PurePosixPath]]:
        """Yield each source with its place in the image."""
        for source in self.sources:
            into = self.target.endswith("/")
            yield (
                source,
                PurePosixPath(self.target) / PurePosixPath(source).name if into else PurePosixPath(self.target),
            )


@dataclass(frozen=True, slots=True)
class Stage:
    """What a stage has, with what it has from those that it begins with."""

    base: str
    environment: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({"PATH": BASE_PATH}))
    ports: tuple[int, ...] = ()
    folders: tuple[str, ...] = ()
    copies: tuple[Copy, ...] = ()
    commands: tuple[str, ...] = ()
    entry_point: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    """Instructions that are not named above, such as USER."""


def instructions() -> Iterator[tuple[str, str]]:
    """Yield the instructions of the Dockerfile with their arguments, without comments and line ends."""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for line in filter(None, text.replace("\\\n", " ").splitlines()):
        name, _, arguments = line.partition(" ")
        yield name, arguments.strip()


def stages() -> dict[str, Stage]:
    """Return the stages by name; the last one is the image that is built without a target."""
    found: dict[str, Stage] = {}
    name = ""
    for instruction, arguments in instructions():
        if instruction == "FROM":
            base, _, name = arguments.partition(" AS ")
            found[name] = replace(found[base]) if base in found else Stage(base)
        elif name:
            found[name] = _with(found[name], instruction, arguments)
    return found


def _with(stage: Stage, instruction: str, arguments: str) -> Stage:
    if instruction == "ENV":
        given = dict(one.split("=", 1) for one in shlex.split(arguments))
        values = {key: string.Template(value).substitute(stage.environment) for key, value in given.items()}
        return replace(stage, environment=MappingProxyType({**stage.environment, **values}))
    if instruction == "EXPOSE":
        return replace(stage, ports=(*stage.ports, *map(int, arguments.split())))
    if instruction == "WORKDIR":
        return replace(stage, folders=(*stage.folders, arguments))
    if instruction == "COPY":
        return replace(stage, copies=(*stage.copies, _copy(arguments)))
    if instruction == "RUN":
        return replace(stage, commands=(*stage.commands, arguments))
    if instruction == "ENTRYPOINT":
        return replace(stage, entry_point=tuple(json.loads(arguments)))
    return replace(stage, others=(*stage.others, instruction))


def _copy(arguments: str) -> Copy:
    words = arguments.split()
    options = dict(one.removeprefix("--").split("=") for one in words if one.startswith("--"))
    *sources, target = (one for one in words if not one.startswith("--"))
    mode = options.get("chmod")
    return Copy(options.get("from", ""), tuple(sources), target, int(mode, 8) if mode else None)


def files_of(source: str) -> list[Path]:
    """Return the files of the project below what a `COPY` names."""
    path = ROOT / source
    return [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
