"""Finds the outcome of a change in status documents.

The documents are of the generation of the change or later, so a model that is missing there was removed again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ChangeOutcome:
    """The outcome of a change, in words; one that is not final came too late to be known.

    Of a change that was overtaken nothing is in force any more: another change, or a file, took its place.
    """

    is_good: bool
    text: str
    is_final: bool = True
    is_overtaken: bool = False


Look = Callable[[Json], ChangeOutcome | None]
"""Returns the outcome that a document shows; None while there is none yet."""


def loaded(name: str, version: int | None) -> Look:
    """Return a look for a version (any version when none is named) that answers, has failed once, or is not found."""

    def look(document: Json) -> ChangeOutcome | None:
        model = _find(document, name)
        if model is None or not model["configured"]:
            return _overtaken(name)
        seen = [one for one in model["versions"] if version is None or one["version"] == str(version)]
        return _answering(name, seen) or _failed(name, seen) or _missing(model, version, seen)

    return look


def unloaded(name: str, version: int | None) -> Look:
    """Return a look for the end of a version, or of every version."""

    def look(document: Json) -> ChangeOutcome | None:
        model = _find(document, name)
        seen = model["versions"] if model is not None else []
        alive = [one for one in seen if version in (None, int(one["version"])) and one["state"] != "END"]
        what = f"{name} version {version}" if version is not None else name
        return None if alive else ChangeOutcome(is_good=True, text=f"{what}: unloaded")

    return look


def labelled(name: str, label: str) -> Look:
    """Return a look that says at once whether a label answers, or for which version it waits."""

    def look(document: Json) -> ChangeOutcome | None:
        model = _find(document, name)
        found = next((one for one in model["labels"] if one["name"] == label), None) if model is not None else None
        if found is None:
            return _overtaken(name)
        version, meanwhile = found["version"], found["meanwhile"]
        if not found["pending"]:
            return ChangeOutcome(is_good=True, text=f"{name}: label {label} names version {version}")
        until = f"until then it names version {meanwhile}" if meanwhile else "until then requests by it are not found"
        return ChangeOutcome(is_good=True, text=f"{name}: label {label} waits for version {version}; {until}")

    return look


def label_removed(name: str, label: str) -> Look:
    """Return a look for the removal of a label."""

    def look(document: Json) -> ChangeOutcome | None:
        model = _find(document, name)
        is_there = model is not None and any(one["name"] == label for one in model["labels"])
        return None if is_there else ChangeOutcome(is_good=True, text=f"{name}: label {label} is removed")

    return look


def _find(document: Json, name: str) -> Json | None:
    models = (one for one in document["models"] if one["name"] == name)
    return next(models, None)


def _overtaken(name: str) -> ChangeOutcome:
    text = f"{name}: the change was replaced by another one, or by a configuration file that changed"
    return ChangeOutcome(is_good=False, text=text, is_overtaken=True)


def _answering(name: str, seen: list[Json]) -> ChangeOutcome | None:
    for one in seen:
        if one["state"] == "AVAILABLE" and one["aspired"]:
            took = f" after {one['load_s']:.1f} s" if one["load_s"] is not None else ""
            return ChangeOutcome(is_good=True, text=f"{name} version {one['version']}: AVAILABLE{took}")
    return None


def _failed(name: str, seen: list[Json]) -> ChangeOutcome | None:
    for one in seen:
        if one["error"] is not None and one["aspired"]:
            again = f"; tried again at {one['next_attempt']}" if one["next_attempt"] else ""
            error = f"{one['error']['code']}: {one['error']['message']}"
            return ChangeOutcome(
                is_good=False, text=f"{name} version {one['version']}: could not be loaded: {error}{again}"
            )
    return None


def _missing(model: Json, version: int | None, seen: list[Json]) -> ChangeOutcome | None:
    name, waiting = model["name"], {one["version"]: one["reason"] for one in model["waiting"]}
    if model["problem"]:
        return ChangeOutcome(is_good=False, text=f"{name}: {model['problem']}")
    if seen or version is None or str(version) in waiting or not (model["versions"] or waiting):
        return None
    text = f"{name} version {version}: not found below {model['base_path']}; it is loaded when it appears there"
    return ChangeOutcome(is_good=False, text=text)


def unfinished(document: Json, name: str) -> str:
    """Return a text about the versions of a model, and why those that are not finished are not."""
    model = _find(document, name)
    if model is None:
        return f"{name}: the server does not know it yet"
    states = [_state(one) for one in model["versions"] if one["state"] != "END"]
    states += [f"version {one['version']} {one['reason']}" for one in model["waiting"]]
    return f"{name}: {'; '.join(states) or 'nothing was found yet'}"


def _state(version: Json) -> str:
    text = f"version {version['version']} is {version['state']}"
    if version["error"] is None:
        return text
    again = f", tried again at {version['next_attempt']}" if version["next_attempt"] else ""
    return f"{text} after {version['failed_attempts']} failed attempts{again}: {version['error']['message']}"


def what_stays(changes: Iterable[str], *, has_undo: bool) -> str:
    """Return what a change that has failed left behind, given as the lines of its differences."""
    hint = " With --undo it would have been taken back." if has_undo else ""
    return f"The change stays, although it has failed: {'; '.join(changes)}.{hint}"


def what_may_come(changes: Iterable[str]) -> str:
    """Return what a change whose outcome nobody waited for left behind, given as the lines of its differences."""
    return f"The change stays: {'; '.join(changes)}; it may still come."


def what_was_taken_back(name: str, changes: Iterable[str]) -> str:
    """Return what became of taking back a change of a model; without differences, others had changed it again."""
    lines = "; ".join(changes)
    if lines:
        return f"The change was taken back: {lines}"
    return f"The change was not taken back: {name} was changed again meanwhile, and is left as it is."
