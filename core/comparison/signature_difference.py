"""What callers of one version would notice of another one's signatures: names, types and shapes of inputs and outputs.

Exporters name inputs by counters, lose names of outputs and fix sizes without a word, so two versions of one model may
refuse each other's requests. What only adds to what callers may send is no difference.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, TypeAlias

from core.inference.dtypes import DataType
from core.inference.signature import CLASSIFY_METHOD, REGRESS_METHOD, Signature, TensorSpec

MOST_PROBLEMS: Final = 20
"""Differences that are told one by one; exporters that rename do it to hundreds at once."""

_NOT_CALLED: Final = "__saved_model"
"""What the names of signatures begin with that TensorFlow exports for itself."""

_METHODS: Final = {CLASSIFY_METHOD: "Classify", REGRESS_METHOD: "Regress"}
_DIGITS: Final = re.compile(r"(\d+)")

_Specs: TypeAlias = Mapping[str, TensorSpec]


def signature_problems(old: Mapping[str, Signature], new: Mapping[str, Signature]) -> tuple[str, ...]:
    """Return what callers of the old version would notice of the new one, a sentence each; none where nothing."""
    found = list(_problems(_called(old), _called(new)))
    more = len(found) - MOST_PROBLEMS
    return (*found[:MOST_PROBLEMS], f"and {more} more differences") if more > 1 else tuple(found)


def _called(signatures: Mapping[str, Signature]) -> Mapping[str, Signature]:
    return {key: one for key, one in sorted(signatures.items()) if not key.startswith(_NOT_CALLED)}


def _problems(old: Mapping[str, Signature], new: Mapping[str, Signature]) -> Iterator[str]:
    gone = {key: one for key, one in old.items() if key not in new}
    come = {key: one for key, one in new.items() if key not in old}
    for key, one in gone.items():
        same = [name for name, other in come.items() if not list(_differences(one, other))]
        now = f'is now called "{same[0]}"' if len(same) == 1 else "is missing"
        yield f'signature "{key}" {now}'
    for key in sorted(old.keys() & new.keys()):
        yield from (f'signature "{key}": {text}' for text in _differences(old[key], new[key]))


def _differences(old: Signature, new: Signature) -> Iterator[str]:
    if old.method in _METHODS and new.method != old.method:
        yield f"its method was {old.method} and is {new.method or 'none'}: it does not answer {_METHODS[old.method]}"
    yield from _input_differences(old, new)
    yield from _output_differences(old.outputs, new.outputs)


def _input_differences(old: Signature, new: Signature) -> Iterator[str]:
    gone = {name: spec for name, spec in old.inputs.items() if name not in new.inputs}
    needed = {n: spec for n, spec in new.inputs.items() if n not in old.inputs and n not in new.defaults}
    renamed = _renamed(gone, {name: spec for name, spec in new.inputs.items() if name not in old.inputs})
    for name in _in_order(gone):
        yield f'input "{name}" ({gone[name]}) {_now(renamed.get(name))}'
    for name in _in_order(needed.keys() - set(renamed.values())):
        yield f'input "{name}" ({needed[name]}) is new, and requests must have it'
    for name in _in_order(old.inputs.keys() & new.inputs.keys()):
        yield from _changed(f'input "{name}"', old.inputs[name], new.inputs[name], taken=True)
        if name in old.defaults and name not in new.defaults:
            yield f'input "{name}" has lost its default, and requests must have it'


def _output_differences(old: _Specs, new: _Specs) -> Iterator[str]:
    gone = {name: spec for name, spec in old.items() if name not in new}
    come = {name: spec for name, spec in new.items() if name not in old}
    renamed = _renamed(gone, come)
    for name in _in_order(gone):
        yield f'output "{name}" ({gone[name]}) {_now(renamed.get(name))}'
    for name in _in_order(old.keys() & new.keys()):
        yield from _changed(f'output "{name}"', old[name], new[name], taken=False)
    if len(old) == 1 < len(new):
        added = ", ".join(f'"{name}"' for name in _in_order(come.keys() - set(renamed.values())))
        yield f"there are more outputs ({added}): REST answers that were lists of values become objects"


def _now(name: str | None) -> str:
    return "is missing" if name is None else f'is now called "{name}"'


def _renamed(gone: _Specs, come: _Specs) -> Mapping[str, str]:
    """Return the new names of what has gone: of those with one type and shape, in their order, if as many came."""
    places: defaultdict[tuple[object, ...], tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
    for side, specs in enumerate((gone, come)):
        for name in _in_order(specs):
            one = specs[name]
            places[one.dtype, one.shape, one.composite][side].append(name)
    return {
        was: now
        for before, after in places.values()
        if len(before) == len(after)
        for was, now in zip(before, after, strict=True)
    }


def _in_order(names: Iterable[str]) -> list[str]:
    """Sort names as their exporter counted them: `args_0_2` before `args_0_10`."""
    return sorted(names, key=lambda name: [(len(one) * one.isdecimal(), one) for one in _DIGITS.split(name)])


def _changed(what: str, old: TensorSpec, new: TensorSpec, *, taken: bool) -> Iterator[str]:
    """Yield what is different of one tensor; `taken` tells inputs, which may allow more, from outputs."""
    if old.dtype is not new.dtype or old.composite != new.composite:
        yield f"{what} was {_type(old)} and is {_type(new)}"
    wide, narrow = (new, old) if taken else (old, new)
    if not _allows(wide.shape, narrow.shape):
        yield f"{what} had shape {_shape(old)} and has {_shape(new)}"


def _allows(wide: tuple[int, ...] | None, narrow: tuple[int, ...] | None) -> bool:
    """Whether every shape that the narrow one allows is allowed by the wide one."""
    if wide is None or narrow is None:
        return wide is None
    return len(wide) == len(narrow) and all(one < 0 or one == other for one, other in zip(wide, narrow, strict=True))


def _type(spec: TensorSpec) -> str:
    kind = "unknown" if spec.dtype is DataType.INVALID else spec.dtype.label
    return f"{kind} ({spec.composite})" if spec.composite else kind


def _shape(spec: TensorSpec) -> str:
    return "any" if spec.shape is None else str(tuple(None if one < 0 else one for one in spec.shape))
