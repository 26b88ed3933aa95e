"""The batching that Python code asks for: a mapping with fields of BatchingParameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

from core.config.model_config import BatchingParameters
from core.config.parameter_files import batching_problems
from core.errors import InvalidArgument


def declared_batching(declared: object, where: str) -> BatchingParameters | None:
    """Read a declaration; None declares none. Raises InvalidArgument with a text that begins with `where`."""
    if declared is None:
        return None
    if not isinstance(declared, Mapping):
        raise InvalidArgument(f"{where}: batch is of type {type(declared).__name__}, and not a mapping")
    known = {field.name: field.type for field in fields(BatchingParameters)}
    for name, value in declared.items():
        if name not in known:
            raise InvalidArgument(f"{where}: batch has {name!r}; its fields are {', '.join(known)}")
        if not _is_of(value, str(known[name])):
            raise InvalidArgument(f"{where}: batch has {value!r} for {name}, which takes {known[name]}")
    sizes = tuple(declared.get("allowed_batch_sizes", ()))
    parameters = BatchingParameters(**{**declared, "allowed_batch_sizes": sizes})
    problems = [text for _, text in batching_problems(parameters)]
    if problems:
        raise InvalidArgument(f"{where}: batch: {'; '.join(problems)}")
    return parameters


def _is_of(value: object, kind: str) -> bool:
    if kind.startswith("tuple"):
        return isinstance(value, (list, tuple)) and all(type(one) is int for one in value)
    if value is None:
        return "None" in kind
    return type(value).__name__ == kind.partition(" ")[0]
