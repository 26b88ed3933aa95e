"""Inspects a version: reads what its files say, and compares that with what this server has; nothing is served.

Python of the version is never run. A SavedModel is only read; its runtime opens an ONNX or TensorFlow Lite model.
"""

from __future__ import annotations

import importlib.util
import re
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from core.config.extensions import (
    ANY,
    BUILT_IN_KINDS,
    ONNX,
    PYTHON,
    SAVED_MODEL_FILES,
    TENSORFLOW,
    TFLITE,
    PlatformKind,
)
from core.errors import DataLoss, RuntimeFailure, ServingError
from core.inference.light_model import is_light
from core.inspection.document import InspectedVersion, WarmUpRecords
from core.inspection.graph_facts import GraphFacts, graph_facts
from core.inspection.unrunnable import library_packages, unrunnable_operations
from core.platforms.op_libraries import KNOWN_PACKAGES
from core.platforms.platform_choice import chosen_platform
from core.recording import warmup_file
from core.recording.warmup_file import replayed_calls
from core.storage.version_listing import FileEntry, missing
from core.versions.servable import ServableId
from core.versions.servable_spec import ServableSpec
from deployments.inspection.runtime_operations import AskedRuntime
from deployments.inspection.version_folder import SESSION_BUNDLE, VersionFolder, subpath_advice
from deployments.platforms.hook_class import HOOKS_FILE
from deployments.platforms.registry import platform_named
from deployments.runtime.damaged_files import damage_of

GRAPH: Final = SAVED_MODEL_FILES[0]
ACCELERATOR: Final = re.compile(r"(?i)\b(?!CPU:|TASK:)[A-Z_]+:(?:\d+|\*)$")
"""A device that is not a CPU; places that only name a task are not devices."""


def inspected(version: VersionFolder, tags: frozenset[str]) -> InspectedVersion:
    """Inspect a version; `tags` are those of the graph that would be served. What is wrong with it is in the answer."""
    problems = [found] if (found := _damage(version) or _lack(version)) else []
    try:
        kind = chosen_platform(ANY, [one for one in version.sizes if "/" not in one], BUILT_IN_KINDS.values())
    except ServingError as error:
        return _about(version, "unknown", [*problems, str(error)])
    if kind.name == PYTHON.name:
        note = "its signature is in its code, which an inspection does not run"
        return _about(version, kind.name, problems, (note,))
    if kind.name in {ONNX.name, TFLITE.name}:
        return _opened(version, kind, problems)
    return _saved_model(version, tags, problems)


def _lack(version: VersionFolder) -> str:
    """Return what is missing of files, as the watcher judges it before a load, and where else the model may be."""
    if SESSION_BUNDLE in version.sizes:
        return "Session Bundle is deprecated and removed."
    files = frozenset(FileEntry(path, size) for path, size in version.sizes.items())
    lacking = missing(files, files)
    return f"{lacking}{subpath_advice(version.sizes)}" if lacking else ""


def _damage(version: VersionFolder) -> str:
    """Return which file of a SavedModel is damaged, in the loader's words; it is found without a load."""
    with suppress(OSError):
        found = damage_of(str(version.folder), version.sizes)
        return f"{version.path}/{found}" if found else ""
    return ""


def _about(version: VersionFolder, platform: str, problems: list[str], notes: tuple[str, ...] = ()) -> InspectedVersion:
    """Return what is known of a version of any platform."""
    warm_up = _warm_up(version) if warmup_file.FILE in version.sizes else None
    if warm_up is not None and warm_up.problem:
        problems = [*problems, f"warm-up: {warm_up.problem}"]
    hooks = HOOKS_FILE if HOOKS_FILE in version.sizes else ""
    if hooks:
        notes = (*notes, f"{hooks} is Python that is run with --allow_python_servables; without it the load fails")
    return InspectedVersion(
        version.path,
        version.model,
        version.version,
        platform,
        version.sizes,
        warm_up=warm_up,
        hooks=hooks,
        resident_bytes=sum(version.sizes.values()),
        problems=tuple(problems),
        notes=notes,
    )


def _warm_up(version: VersionFolder) -> WarmUpRecords:
    """Count the records of the warm-up file, as a load reads them."""
    path = version.folder / warmup_file.FILE
    kinds: Counter[str] = Counter()
    try:
        with path.open("rb") as stream:
            for call in replayed_calls(stream, str(path)):
                kinds["empty" if call is None else call.method.name.lower()] += 1
    except ServingError as error:
        return WarmUpRecords(dict(kinds), str(error))
    return WarmUpRecords(dict(kinds))


def _opened(version: VersionFolder, kind: PlatformKind, problems: list[str]) -> InspectedVersion:
    """Inspect a model that its runtime opens quickly, as a load does."""
    about = _about(version, kind.name, problems)
    platform = platform_named(kind.name)
    try:
        loaded = platform.load(ServableSpec(ServableId(version.model, version.version or 0), str(version.folder)))
    except ServingError as error:
        return replace(about, problems=(*about.problems, str(error)))
    served, estimate = loaded.served, platform.estimate(str(version.folder))
    loaded.close()
    return replace(
        about,
        signatures=served.signatures,
        may_loop=served.may_loop,
        is_light=estimate.is_light,
        resident_bytes=estimate.resident_bytes,
    )


def _saved_model(version: VersionFolder, tags: frozenset[str], problems: list[str]) -> InspectedVersion:
    about = _about(version, TENSORFLOW.name, problems)
    file = version.folder / GRAPH
    if GRAPH not in version.sizes:
        other = next((name for name in SAVED_MODEL_FILES if name in version.sizes), None)
        return about if other is None else replace(about, notes=(*about.notes, f"{other} is not read; {GRAPH} is"))
    with AskedRuntime() as runtime:
        try:
            graphs = graph_facts(file.read_bytes(), f"{version.path}/{GRAPH}")
        except DataLoss as error:
            is_known = any(one.startswith(f"{version.path}/{GRAPH} ") for one in problems)
            return about if is_known else replace(about, problems=(*about.problems, str(error)))
        about = replace(about, graphs=graphs, served_tags=tuple(sorted(tags)))
        served = next((one for one in graphs if frozenset(one.tags) == tags), None)
        if served is None:
            found = " or ".join(",".join(one.tags) or "none" for one in graphs)
            problem = f"there is no graph with the tags {','.join(sorted(tags))}, but with {found}"
            return replace(about, problems=(*about.problems, problem))
        return _judged(replace(about, is_light=_is_light(version.folder, version.sizes)), served, runtime)


def _is_light(folder: Path, sizes: Mapping[str, int]) -> bool:
    """Whether a SavedModel is light; the values of its variables need not be there."""
    weights_bytes = sum(size for path, size in sizes.items() if path.startswith("variables/"))
    return is_light((folder / GRAPH).read_bytes(), weights_bytes)


def _judged(about: InspectedVersion, served: GraphFacts, asked: AskedRuntime) -> InspectedVersion:
    """Judge the graph that is served by the operations that the runtime has."""
    notes = list(about.notes)
    if others := [one for one in served.devices if ACCELERATOR.search(one)]:
        notes.append(f"nodes are pinned to {', '.join(others)}: a replica needs such a device, or allow_soft_placement")
    about = replace(about, signatures=served.signatures, may_loop=bool(served.loops))
    try:
        runtime = asked.answer()
    except RuntimeFailure as error:
        notes.append(f"which operations cannot run is not known: {error}")
        return replace(about, notes=tuple(notes))
    installed = {one.name for one in KNOWN_PACKAGES if importlib.util.find_spec(one.module) is not None}
    unrunnable = tuple(unrunnable_operations(served.operations, runtime, installed))
    lacking = ", ".join(one.name for one in unrunnable)
    problems = (*about.problems, f"operations that this server cannot run: {lacking}") if lacking else about.problems
    return replace(
        about,
        unrunnable=unrunnable,
        op_packages=library_packages(served.operations, runtime),
        problems=problems,
        notes=tuple(notes),
    )
