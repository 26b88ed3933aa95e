"""Opens libraries of TensorFlow operations, each once in a process: by path, or those of an installed package.

A library registers its operations and kernels when it is opened, and stays open as long as the process. It gets
TensorFlow's symbols and not its own copies of them, as `core.platforms.library_scope` says. No Python of a package is
run: that would import Python TensorFlow.
"""

from __future__ import annotations

import importlib.util
import logging
import mmap
import os
import sys
import threading
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path
from typing import Any, Final, TypeVar

from core.errors import FailedPrecondition, RuntimeFailure
from core.platforms.library_scope import elf_machine, is_cut_short, scope_library
from core.platforms.op_libraries import (
    OpPackage,
    install_advice,
    known_package,
    missing_operation,
    package_with,
    unfit_library,
    unregistered_operation,
    wanted_files,
)
from deployments.runtime.library import c_text, check, ffi, library, library_path, new_status
from deployments.runtime.session import new_buffer
from deployments.runtime.signature_file import graph_operations

log = logging.getLogger(__name__)

ENDINGS: Final = (".so", ".dylib")
EXTENSION_MODULE_MARKS: Final = (".cpython-", ".abi3.")
FRAMEWORK: Final = b"libtensorflow_framework"
SEARCHED: Final = (b"libtensorflow_framework.so.2", b"libtensorflow_cc.so.2")
HEAD_BYTES: Final = 64 * 1024

_opening = threading.Lock()
_opened: set[str] = set()

Model = TypeVar("Model")


def open_named(entries: Iterable[str]) -> None:
    """Open the entries of `op_libraries`; raises FailedPrecondition with the library, the reason and what to do."""
    for entry in entries:
        if entry.startswith("/"):
            _open(entry, may_be_empty=False)
        else:
            for path in _libraries_of(entry):
                _open(path, may_be_empty=True)


def load_with_known(load: Callable[[], Model], folder: Path) -> Model:
    """Load the version in a folder; operations that are not registered come from installed packages that hold them.

    Where the file of the graph does not show them, a load ends at the first one, and is tried again until no library
    adds any. Raises what `load` raises; its text for an operation that is missing says where it can come from.
    """
    _open_for(graph_operations(folder))
    while True:
        try:
            return load()
        except RuntimeFailure as error:
            operation = unregistered_operation(str(error))
            if operation is None:
                raise
            if not _open_for((operation,)):
                package = package_with(operation)
                is_installed = package is not None and _folder_of(package) is not None
                raise RuntimeFailure(
                    error.code, missing_operation(str(error), operation, is_installed=is_installed)
                ) from error


def _open_for(operations: Iterable[str]) -> bool:
    """Open the libraries of operations that known packages hold and nobody registered; returns whether any was new."""
    known = sorted(one for one in operations if package_with(one) is not None)
    missing = [one for one in known if not _is_registered(one)]
    added = [_open_of(package, file) for package, file in wanted_files(missing)]
    return any(added)


def _is_registered(operation: str) -> bool:
    lib, status = library(), new_status(library())
    graph = ffi.gc(lib.TF_NewGraph(), lib.TF_DeleteGraph)
    lib.TF_GraphGetOpDef(graph, operation.encode(), new_buffer(), status)
    return not lib.TF_GetCode(status)


def _open_of(package: OpPackage, file: str) -> bool:
    place = _folder_of(package)
    if place is None or not (place / file).exists():
        return False
    try:
        return _open(str(place / file), may_be_empty=True)
    except FailedPrecondition as error:
        release = metadata.version(package.name)
        raise FailedPrecondition(
            f"{error}. It is of package {package.name} {release}; {install_advice(package)} installs what fits"
        ) from error


def _libraries_of(name: str) -> list[str]:
    """Return the paths of the libraries of operations in an installed package; raises FailedPrecondition for none."""
    known = known_package(name)
    try:
        found = metadata.distribution(name)
    except (metadata.PackageNotFoundError, ValueError):
        advice = install_advice(known) if known is not None else f"pip install {name}"
        text = f"op_libraries names package {name}, which is not installed in the model server's environment: {advice}"
        raise FailedPrecondition(text) from None
    if known is not None:
        place = _folder_of(known)
        paths = [] if place is None else [place / file for file in known.libraries if (place / file).exists()]
    else:
        paths = [Path(str(one.locate())) for one in found.files or () if _is_plain_library(one.name)]
        paths = [path for path in paths if path.exists() and _is_of_tensorflow(path)]
    if not paths:
        text = (
            f"op_libraries names package {name}, which holds no library of TensorFlow operations: name it by its path"
        )
        raise FailedPrecondition(text)
    return [str(path) for path in paths]


def _folder_of(package: OpPackage) -> Path | None:
    """Return the folder of an installed package; None where it is not installed."""
    try:
        metadata.distribution(package.name)
    except metadata.PackageNotFoundError:
        return None
    spec = importlib.util.find_spec(package.module)
    places = (spec.submodule_search_locations if spec else None) or []
    return next((Path(place) for place in places), None)


def _is_plain_library(name: str) -> bool:
    """Whether a file is a shared library, and not an extension module of Python."""
    return name.endswith(ENDINGS) and not any(mark in name for mark in EXTENSION_MODULE_MARKS)


def _is_of_tensorflow(path: Path) -> bool:
    """Whether a library names TensorFlow's, as every one does that registers operations."""
    if path.stat().st_size == 0:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(FRAMEWORK) >= 0


def _open(path: str, *, may_be_empty: bool) -> bool:
    """Open a library unless it is open; returns whether it was not. Raises FailedPrecondition."""
    with _opening:
        place = os.path.realpath(path)
        if place in _opened:
            return False
        _expect_whole(path)
        log.info("op_library_opening path=%s", path)
        if not _registers(path, may_be_empty=may_be_empty):
            raise FailedPrecondition(unfit_library(path, "it registers neither operations nor kernels"))
        _opened.add(place)
        return True


def _expect_whole(path: str) -> None:
    """Refuse what the loader would not survive: a file that is cut short ends the process."""
    if not os.path.isfile(path):
        what = "is not a file" if os.path.exists(path) else "is not there on this node"
        raise FailedPrecondition(f"The library of operations {path} {what}; op_libraries names it")
    try:
        with open(path, "rb") as file:
            head, size = file.read(HEAD_BYTES), os.fstat(file.fileno()).st_size
    except OSError as error:
        raise FailedPrecondition(f"The library of operations {path} cannot be read: {error.strerror}") from None
    if is_cut_short(head, size):
        raise FailedPrecondition(unfit_library(path, "it is shorter than its own header says"))


def _registers(path: str, *, may_be_empty: bool) -> bool:
    """Open a library; returns whether it has operations, or kernels for others' operations."""
    lib, status = library(), new_status(library())
    kernels = 0 if may_be_empty else _kernels_bytes(lib)
    handle = lib.TF_LoadLibrary(_scoped(path), status)
    if not handle:
        raise FailedPrecondition(unfit_library(path, c_text(lib.TF_Message(status))))
    has_operations = lib.TF_GetOpList(handle).length > 0
    lib.TF_DeleteLibraryHandle(handle)
    return may_be_empty or has_operations or _kernels_bytes(lib) > kernels


def _scoped(path: str) -> bytes:
    """Return the path to open so that the library at `path` is opened and finds TensorFlow's symbols first."""
    if sys.platform != "linux":
        return os.fsencode(path)
    with library_path().open("rb") as file:
        machine = elf_machine(file.read(HEAD_BYTES))
    content = scope_library((*SEARCHED, os.fsencode(os.path.abspath(path))), machine)
    # TensorFlow knows opened libraries by their paths, so that the number stays taken.
    scope = os.memfd_create("op_library_scope")
    os.write(scope, content)
    return f"/proc/self/fd/{scope}".encode()


def _kernels_bytes(lib: Any) -> int:
    """Return the length of the list of all registered kernels, which takes about 0.1 s."""
    status = new_status(lib)
    kernels = lib.TF_GetAllRegisteredKernels(status)
    check(lib, status)
    length = int(kernels.length)
    lib.TF_DeleteBuffer(kernels)
    return length
