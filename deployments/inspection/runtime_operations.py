"""Asks TensorFlow's runtime for its operations and their code, in a process of its own that ends afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from types import TracebackType
from typing import Any, Final, Self

from core.errors import Code, RuntimeFailure
from core.inspection.unrunnable import RuntimeOperations
from core.protos import saved_model_pb2

TIMEOUT_S: Final = 120.0
MODULE: Final = "deployments.inspection.runtime_operations"


class AskedRuntime:
    """A process that lists the operations while this one reads files; a context manager."""

    def __init__(self) -> None:
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(one or os.getcwd() for one in sys.path),
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        command = [sys.executable, "-P", "-m", MODULE]
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def answer(self) -> RuntimeOperations:
        """Wait for the list; raises RuntimeFailure where the runtime cannot be asked."""
        try:
            written, said = self._process.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise RuntimeFailure(Code.UNAVAILABLE, f"TensorFlow's runtime did not answer in {TIMEOUT_S:g} s") from None
        if self._process.returncode:
            last = said.decode("utf-8", "replace").strip().rpartition("\n")[2]
            raise RuntimeFailure(
                Code.UNAVAILABLE, f"TensorFlow's runtime could not be asked for its operations: {last}"
            )
        found = json.loads(written)
        devices = {name: frozenset(kinds) for name, kinds in found["devices"].items()}
        return RuntimeOperations(frozenset(found["registered"]), devices)


def main() -> None:
    """List the operations on standard output."""
    from deployments.runtime.library import ffi, library, new_status  # noqa: PLC0415 - in this process alone

    lib = library()
    registered = saved_model_pb2.OperationNames.FromString(_taken(ffi, lib, lib.TF_GetAllOpList()))
    status = new_status(lib)
    kernels = saved_model_pb2.KernelNames.FromString(_taken(ffi, lib, lib.TF_GetAllRegisteredKernels(status)))
    devices: defaultdict[str, set[str]] = defaultdict(set)
    for one in kernels.kernel:
        devices[one.op].add(one.device_type)
    listed = {name: sorted(kinds) for name, kinds in devices.items()}
    sys.stdout.write(json.dumps({"registered": [one.name for one in registered.op], "devices": listed}))


def _taken(ffi: Any, lib: Any, buffer: Any) -> bytes:
    content: bytes = ffi.buffer(buffer.data, buffer.length)[:]
    lib.TF_DeleteBuffer(buffer)
    return content


if __name__ == "__main__":
    main()
