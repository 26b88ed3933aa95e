"""Which operations of a graph this server cannot run, and what would mend that."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from core.platforms.op_libraries import install_advice, package_with

LOCAL_DEVICES: Final = frozenset({"CPU", "GPU", "DEFAULT", "XLA_CPU_JIT", "XLA_GPU_JIT"})
"""Kinds of devices that this server uses, as TensorFlow's kernels name them; XLA compiles its own for both."""


PYTHON_CALLS: Final = frozenset({"PyFunc", "PyFuncStateless", "EagerPyFunc"})
"""Operations that call functions of the Python process that exported a model."""


@dataclass(frozen=True, slots=True)
class RuntimeOperations:
    """The operations that the runtime has registered, and the kinds of devices for which it has code of each."""

    registered: frozenset[str]
    devices: Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class UnrunnableOperation:
    """An operation of a graph, how many nodes need it, and why this server cannot run it."""

    name: str
    count: int
    reason: str


def unrunnable_operations(
    operations: Mapping[str, int], runtime: RuntimeOperations, installed: Collection[str]
) -> Iterator[UnrunnableOperation]:
    """Yield the operations that cannot run; `installed` names the packages of operations that are installed."""
    for name, count in operations.items():
        reason = _reason(name, runtime, installed)
        if reason:
            yield UnrunnableOperation(name, count, reason)


def library_packages(operations: Mapping[str, int], runtime: RuntimeOperations) -> tuple[str, ...]:
    """Return the packages whose libraries of operations a load opens, if they are installed."""
    found = (package_with(one) for one in operations if one not in runtime.registered)
    return tuple(sorted({package.name for package in found if package is not None}))


def _reason(name: str, runtime: RuntimeOperations, installed: Collection[str]) -> str:
    if name in PYTHON_CALLS:
        return "it calls Python of the process that exported the model, which a SavedModel does not contain"
    if name in runtime.registered:
        devices = runtime.devices.get(name, frozenset())
        # Without any code an operation is replaced before a run, as placeholders of control flow are.
        if not devices or devices & LOCAL_DEVICES:
            return ""
        return f"TensorFlow has code of it for {', '.join(sorted(devices))} only"
    package = package_with(name)
    if package is None:
        return "no package that this server knows holds it; name the library that does in op_libraries"
    if package.name in installed:
        return ""
    return f"it is in package {package.name}, which is not installed here: {install_advice(package)}"
