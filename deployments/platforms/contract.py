"""The contract of platforms as checks that any platform can run; for the tests of those who write one.

    CASE = PlatformCase(PLATFORM, "folder/1", (Request({"x": x}, {"y": y}), Request(...)))

    @pytest.mark.parametrize("check", CHECKS)
    def test_contract(check):
        check(CASE)

A check raises ContractBroken with what was expected and what came instead.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from core.config.server_settings import ServerSettings
from core.errors import ServingError, Unavailable
from core.inference.dtypes import NUMPY_DTYPE
from core.inference.signature import DEFAULT_SIGNATURE, Signature, TensorSpec
from core.platforms.platform import Estimate, Loaded, Platform
from core.protos import serving_pb2
from core.versions.servable import ServableId
from core.versions.servable_spec import ServableSpec

THREADS: Final = 4
ROUNDS: Final = 8
LONG_MS: Final = 60_000
GARBAGE: Final = b"\x00\xff not a model \x08" * 64
NO_NAME: Final = "a name that no model has"

Arrays = Mapping[str, np.ndarray]


class ContractBroken(Exception):
    """A platform does not keep to the contract."""


@dataclass(frozen=True, slots=True)
class Request:
    """A call of a signature by its own names, and the expected answer; strings are arrays of `bytes` objects."""

    inputs: Arrays
    outputs: Arrays


@dataclass(frozen=True, slots=True)
class PlatformCase:
    """A platform with a version of its kind; two requests with different answers show more than one."""

    platform: Platform
    path: str
    requests: tuple[Request, ...]
    signature: str = DEFAULT_SIGNATURE
    tolerance: float = 1e-5
    settings: ServerSettings = field(default_factory=ServerSettings)

    def load(self, path: str | Path | None = None) -> Loaded:
        """Load the version, or what another folder holds."""
        spec = ServableSpec(ServableId("contract", 1), str(self.path if path is None else path), self.settings)
        return self.platform.load(spec)


@contextmanager
def _open(case: PlatformCase) -> Iterator[tuple[Loaded, Signature]]:
    loaded = case.load()
    try:
        signature = loaded.served.signatures.get(case.signature)
        _expect(signature is not None, f"the version has no signature {case.signature}: {[*loaded.served.signatures]}")
        assert signature is not None  # noqa: S101 -- for type checkers
        yield loaded, signature
    finally:
        loaded.close()


def signatures_have_usable_names(case: PlatformCase) -> None:
    """Every input and output has a name and a tensor, and metadata shows just these signatures."""
    with _open(case) as (loaded, signature):
        _expect(loaded.served.name == "contract" and loaded.served.version == 1, "ServedModel has another name")
        for kind, specs in (("input", signature.inputs), ("output", signature.outputs)):
            _expect(bool(specs), f"the signature has no {kind}s")
            for alias, spec in specs.items():
                _expect(bool(alias), f"the signature has an {kind} without a name")
                _expect(bool(spec.tensor) or bool(spec.composite), f'{kind} "{alias}" has no tensor')
        _expect(signature.defaults.keys() <= signature.inputs.keys(), "a default belongs to none of the inputs")
        shown = serving_pb2.SignatureDefMap.FromString(loaded.served.signature_def_map).signature_def
        for key, one in loaded.served.signatures.items():
            fits = key in shown and {*shown[key].inputs} == {*one.inputs} and {*shown[key].outputs} == {*one.outputs}
            _expect(fits, f"signature_def_map does not show the inputs and outputs of signature {key}")


def answers_are_as_expected(case: PlatformCase) -> None:
    """Values, types and shapes are those of the expected answer, and fit what the signature declares."""
    with _open(case) as (loaded, signature):
        for request in case.requests:
            _expect(request.outputs.keys() <= signature.outputs.keys(), "the signature lacks expected outputs")
            answer = _call(loaded, signature, request)
            _expect_equal(case, answer, request.outputs, "a run")
            for alias, array in answer.items():
                _expect_declared(alias, array, signature.outputs[alias])


def answers_come_in_the_order_of_fetches(case: PlatformCase) -> None:
    """Whichever outputs are asked for, in whichever order, and inputs in whichever order."""
    request = case.requests[0]
    with _open(case) as (loaded, signature):
        aliases = [*request.outputs]
        for some in (aliases, aliases[::-1], *([one] for one in aliases)):
            reordered = Request(dict(reversed([*request.inputs.items()])), {one: request.outputs[one] for one in some})
            _expect_equal(case, _call(loaded, signature, reordered), reordered.outputs, f"a run for {some}")


def concurrent_runs_get_their_own_answers(case: PlatformCase) -> None:
    """From several threads at once."""
    with _open(case) as (loaded, signature), ThreadPoolExecutor(THREADS) as threads:
        requests = [*case.requests] * (THREADS * ROUNDS)
        for request, answer in zip(
            requests, threads.map(lambda one: _call(loaded, signature, one), requests), strict=True
        ):
            _expect_equal(case, answer, request.outputs, "one of several concurrent runs")


def arrays_belong_to_the_caller(case: PlatformCase) -> None:
    """Inputs are only read, also from memory that cannot be written; answers stay as they are when others run."""
    with _open(case) as (loaded, signature):
        first = Request({name: _read_only(one) for name, one in case.requests[0].inputs.items()}, {})
        sent = {name: one.copy() for name, one in first.inputs.items()}
        answer = _call(loaded, signature, Request(first.inputs, case.requests[0].outputs))
        _expect_equal(case, first.inputs, sent, "the input, after a run,")
        for _ in range(ROUNDS):
            for request in case.requests:
                _call(loaded, signature, request)
        _expect_equal(case, answer, case.requests[0].outputs, "an answer, after later runs,")


def wrong_calls_are_refused(case: PlatformCase) -> None:
    """Names that are not there, inputs that are missing, and types are ServingErrors; the version stays usable."""
    request = case.requests[0]
    with _open(case) as (loaded, signature):
        feeds, fetches = _wired(signature, request)
        needed = [one for one in request.inputs if one not in signature.defaults]
        with _refused("an output that is not there"):
            loaded.run(feeds, [NO_NAME])
        with _refused("an input that is not there"):
            loaded.run({**feeds, NO_NAME: np.zeros(1)}, fetches)
        for alias in needed:
            tensor = signature.inputs[alias].tensor
            with _refused(f'a run without input "{alias}"'):
                loaded.run({name: array for name, array in feeds.items() if name != tensor}, fetches)
            with _refused(f'input "{alias}" of another type'):
                loaded.run({**feeds, tensor: _of_another_type(feeds[tensor])}, fetches)
        _expect_equal(case, _call(loaded, signature, request), request.outputs, "a run after refused ones")


def wrong_shapes_raise_nothing_else(case: PlatformCase) -> None:
    """A shape that does not fit is a ServingError; a platform may answer where its model can."""
    request = case.requests[0]
    with _open(case) as (loaded, signature):
        feeds, fetches = _wired(signature, request)
        for alias in request.inputs:
            tensor = signature.inputs[alias].tensor
            for array in _other_shapes(feeds[tensor]):
                with _only_serving_errors(f'input "{alias}" of shape {array.shape}'):
                    loaded.run({**feeds, tensor: array}, fetches)
        _expect_equal(case, _call(loaded, signature, request), request.outputs, "a run after those of other shapes")


def times_and_threads_are_accepted(case: PlatformCase) -> None:
    """A run may have a time limit, and may be asked to stay in its caller's thread."""
    request = case.requests[0]
    with _open(case) as (loaded, signature):
        feeds, fetches = _wired(signature, request)
        for timeout_ms in (None, LONG_MS):
            for in_caller_thread in (False, True):
                arrays = loaded.run(feeds, fetches, timeout_ms=timeout_ms, in_caller_thread=in_caller_thread)
                answer = dict(zip(request.outputs, arrays, strict=True))
                _expect_equal(case, answer, request.outputs, f"a run with timeout_ms={timeout_ms}")


def a_closed_version_is_unavailable(case: PlatformCase) -> None:
    """A run after `close` raises Unavailable; closing again does nothing; the version can be loaded again."""
    request = case.requests[0]
    with _open(case) as (loaded, signature):
        loaded.close()
        try:
            _call(loaded, signature, request)
        except Unavailable:
            pass
        except Exception as error:
            raise ContractBroken(f"a run after close raised {error!r}, not Unavailable") from error
        else:
            raise ContractBroken("a run after close was answered")
    with _open(case) as (loaded, signature):
        _expect_equal(case, _call(loaded, signature, request), request.outputs, "a run of a version loaded again")


def broken_folders_are_failed_loads(case: PlatformCase) -> None:
    """An empty folder, one that is not there, and files of garbage are ServingErrors with a text."""
    for what, folder in _broken_folders(case.platform.kind.files):
        with _refused(f"a load of {what}"):
            case.load(folder)


def estimates_never_fail(case: PlatformCase) -> None:
    """Whatever the folder holds."""
    broken = _broken_folders(case.platform.kind.files)
    for what, path in itertools.chain([("the version", Path(case.path))], broken):
        try:
            estimate = case.platform.estimate(str(path))
        except Exception as error:
            raise ContractBroken(f"the estimate of {what} raised {error!r}") from error
        _expect(
            isinstance(estimate, Estimate) and estimate.resident_bytes >= 0, f"the estimate of {what} is {estimate}"
        )


Check = Callable[[PlatformCase], None]

CHECKS: Final[tuple[Check, ...]] = (
    signatures_have_usable_names,
    answers_are_as_expected,
    answers_come_in_the_order_of_fetches,
    concurrent_runs_get_their_own_answers,
    arrays_belong_to_the_caller,
    wrong_calls_are_refused,
    wrong_shapes_raise_nothing_else,
    times_and_threads_are_accepted,
    a_closed_version_is_unavailable,
    broken_folders_are_failed_loads,
    estimates_never_fail,
)


def _expect(holds: bool, text: str) -> None:  # noqa: FBT001
    if not holds:
        raise ContractBroken(text)


def _wired(signature: Signature, request: Request) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return a request by the names of tensors, as callers of `run` know them; defaults fill what it leaves out."""
    inputs = {**signature.defaults, **request.inputs}
    _expect(inputs.keys() == signature.inputs.keys(), f"the signature has other inputs: {[*signature.inputs]}")
    feeds = {signature.inputs[alias].tensor: array for alias, array in inputs.items()}
    return feeds, [signature.outputs[alias].tensor for alias in request.outputs]


def _call(loaded: Loaded, signature: Signature, request: Request) -> dict[str, np.ndarray]:
    feeds, fetches = _wired(signature, request)
    arrays = loaded.run(feeds, fetches)
    _expect(len(arrays) == len(fetches), f"a run for {len(fetches)} outputs answered {len(arrays)}")
    return dict(zip(request.outputs, arrays, strict=True))


def _expect_equal(case: PlatformCase, answer: Arrays, expected: Arrays, what: str) -> None:
    for alias, wanted in expected.items():
        came = answer[alias]
        _expect(isinstance(came, np.ndarray), f'{what} gave "{alias}" as {type(came).__name__}, not as an array')
        text = f'{what} gave "{alias}" as {came.dtype}{[*came.shape]} {came!r}, not {wanted!r}'
        _expect(came.dtype == wanted.dtype and came.shape == wanted.shape, text)
        _expect(_is_close(came, wanted, case.tolerance), text)


def _is_close(came: np.ndarray, wanted: np.ndarray, tolerance: float) -> bool:
    if wanted.dtype.kind in "OSb":
        return bool(came.tolist() == wanted.tolist())
    return bool(np.allclose(came.astype(complex), wanted.astype(complex), tolerance, tolerance, equal_nan=True))


def _expect_declared(alias: str, array: np.ndarray, spec: TensorSpec) -> None:
    declared = NUMPY_DTYPE.get(spec.dtype)
    _expect(array.dtype == declared, f'output "{alias}" is declared as {spec.dtype.label}, and is {array.dtype}')
    shape = array.shape if spec.shape is None else spec.shape
    fits = len(shape) == array.ndim and all(size in (-1, came) for size, came in zip(shape, array.shape, strict=True))
    _expect(fits, f'output "{alias}" is declared with shape {spec.shape}, and has {array.shape}')


def _read_only(array: np.ndarray) -> np.ndarray:
    made = array.copy()
    made.flags.writeable = False
    return made


def _of_another_type(array: np.ndarray) -> np.ndarray:
    if array.dtype.hasobject:
        return np.zeros(array.shape, np.float32)
    made = np.empty(array.shape, object)
    made[...] = b"a text"
    return made


def _other_shapes(array: np.ndarray) -> Iterator[np.ndarray]:
    """Yield an array with one dimension more, one less, longer ones, and an empty one."""
    yield array[None]
    yield array.ravel()[:1].reshape(())
    if array.ndim:
        yield np.concatenate([array, array], axis=-1)
        yield array[:0]


@contextmanager
def _refused(what: str) -> Iterator[None]:
    with _only_serving_errors(what) as refusals:
        yield
    _expect(bool(refusals), f"{what} was not refused")
    _expect(bool(str(refusals[0]).strip()), f"{what} was refused without a text")


@contextmanager
def _only_serving_errors(what: str) -> Iterator[Sequence[ServingError]]:
    refusals: list[ServingError] = []
    try:
        yield refusals
    except ServingError as error:
        refusals.append(error)
    except Exception as error:
        raise ContractBroken(f"{what} raised {error!r}, which is not a ServingError") from error


def _broken_folders(files: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """Yield folders without a model, each while it is there."""
    with tempfile.TemporaryDirectory() as name:
        yield "an empty folder", Path(name)
        yield "a folder that is not there", Path(name) / "missing"
        for content, what in ((GARBAGE, "garbage"), (b"", "nothing")):
            for file in files:
                folder = Path(name) / f"{what}-{file}"
                folder.mkdir()
                (folder / file).write_bytes(content)
                yield f"a {file} of {what}", folder
