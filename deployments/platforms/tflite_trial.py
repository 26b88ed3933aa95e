"""Tries a TensorFlow Lite file in a process of its own, for the interpreter checks files only in part.

It refuses what is not a FlatBuffer; but a file that is damaged inside can end the process, when it is opened or when it
runs. A trial takes both steps with empty inputs, and finds out whether the number of rows is free.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import numpy as np

from core.errors import Code, DeadlineExceeded, InvalidArgument, ResourceExhausted, RuntimeFailure, ServingError
from core.inference.dtypes import NUMPY_DTYPE, DataType
from core.platforms.tflite_signatures import LiteFile, LiteTensor, takes_any_rows
from deployments.platforms.tflite_runtime import NOT_A_MODEL, LiteInterpreter, read_file

TRIAL_TIMEOUT_S: Final = 300.0


def tried_rows(path: str, timeout_s: float = TRIAL_TIMEOUT_S) -> bool:
    """Whether the model takes any number of rows; raises ServingError for a file that cannot be served."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(one or os.getcwd() for one in sys.path)}
    command = [sys.executable, "-P", "-m", "deployments.platforms.tflite_trial", path]
    try:
        ended = subprocess.run(  # noqa: S603 - our own module, with the path of a file
            command, env=environment, capture_output=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        raise DeadlineExceeded(f"Trying the TensorFlow Lite model took more than {timeout_s:.0f} s") from None
    if ended.returncode < 0:
        raise _killed(-ended.returncode)
    if ended.returncode:
        lines = ended.stderr.decode(errors="replace").strip().splitlines()
        raise InvalidArgument(f"{NOT_A_MODEL} {lines[-1] if lines else ended.returncode}")
    code, text, any_rows = json.loads(ended.stdout)
    if code != Code.OK:
        raise RuntimeFailure(Code(code), text)
    return bool(any_rows)


def _killed(number: int) -> ServingError:
    if number == signal.SIGKILL:
        return ResourceExhausted("The trial of the TensorFlow Lite model was killed, as happens when memory is short")
    return InvalidArgument(f"{NOT_A_MODEL} It is damaged: the interpreter crashed on it ({signal.strsignal(number)})")


def main() -> None:
    """Try the file named on the command line; prints code, text, and whether the number of rows is free."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    content = Path(sys.argv[1]).read_bytes()
    try:
        print(json.dumps((Code.OK, "", _any_rows(content))))  # noqa: T201 - the answer to the parent
    except ServingError as error:
        print(json.dumps((error.code, str(error), False)))  # noqa: T201 - the answer to the parent


def _any_rows(content: bytes) -> bool:
    interpreter = LiteInterpreter(content)
    file = read_file(content)
    _run_once(interpreter, file)
    decided = takes_any_rows(file.graphs[0])
    return interpreter.takes_any_rows() if decided is None else decided


def _run_once(interpreter: LiteInterpreter, file: LiteFile) -> None:
    """Run on zeros; a model may refuse them, but should not end the process."""
    graph = file.graphs[0]
    zeros = {index: _zeros(tensor) for index, tensor in graph.inputs}
    try:
        interpreter.run(zeros, [index for index, _ in graph.outputs])
    except RuntimeFailure as error:
        print(error, file=sys.stderr)  # noqa: T201 - for whoever tries a file by hand


def _zeros(tensor: LiteTensor) -> np.ndarray:
    if tensor.dtype is DataType.STRING:
        return np.full(tensor.shape, b"", dtype=object)
    return np.zeros(tensor.shape, NUMPY_DTYPE[tensor.dtype])


if __name__ == "__main__":
    main()
