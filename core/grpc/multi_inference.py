"""MultiInference: several classifications and regressions of the same examples in one session run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from core.errors import InvalidArgument, Unimplemented
from core.grpc.examples import serialized_examples
from core.grpc.examples_response import classification_result, regression_result
from core.grpc.model_spec import answer_spec, require_name
from core.inference.classification import classification
from core.inference.examples_plan import check_fetched, example_tensor
from core.inference.protobuf_wire import length_delimited, parse_message, tag
from core.inference.regression import regression
from core.inference.run_plan import RunPlan
from core.inference.signature import CLASSIFY_METHOD, DEFAULT_SIGNATURE, REGRESS_METHOD, ServedModel, Signature
from core.protos import serving_pb2

_RESULTS_TAG: Final = tag(1)
_MODEL_SPEC_TAG: Final = tag(1)
_CLASSIFICATION_TAG: Final = tag(2)
_REGRESSION_TAG: Final = tag(3)

Tasks = Sequence[serving_pb2.InferenceTask]


@dataclass(frozen=True, slots=True)
class _Task:
    """One task, ready to run; `write` makes the result field from the arrays that the task fetched."""

    tensor: str
    fetches: tuple[str, ...]
    write: Callable[[Sequence[np.ndarray], int], bytes]
    model_spec: bytes

    def result(self, fetched: dict[str, np.ndarray], count: int) -> bytes:
        written = self.write([fetched[tensor] for tensor in self.fetches], count)
        return length_delimited(_RESULTS_TAG, length_delimited(_MODEL_SPEC_TAG, self.model_spec) + written)


def plan_multi_inference(model: ServedModel, body: bytes, *, check_method: bool = False) -> RunPlan:
    """Plan a serialized MultiInferenceRequest; the method name of a task, not of its signature, decides its kind."""
    request = parse_message(serving_pb2.SerializedMultiInferenceRequest, body)
    require_name(request.tasks[0].model_spec.name if request.tasks else "")
    tasks = _tasks(model, request.tasks, check_method=check_method)
    tensor = example_tensor(serialized_examples(request.input))
    fetches = tuple(dict.fromkeys(name for task in tasks for name in task.fetches))

    def encode(arrays: Sequence[np.ndarray]) -> bytes:
        check_fetched(arrays, len(fetches))
        fetched = dict(zip(fetches, arrays, strict=True))
        return b"".join(task.result(fetched, tensor.size) for task in tasks)

    first = request.tasks[0].model_spec.signature_name or DEFAULT_SIGNATURE
    return RunPlan(dict.fromkeys((task.tensor for task in tasks), tensor), fetches, encode, first)


def _tasks(model: ServedModel, requested: Tasks, *, check_method: bool) -> list[_Task]:
    planned: dict[str, _Task] = {}
    for task in requested:
        key = task.model_spec.signature_name or DEFAULT_SIGNATURE
        _check_model_name(task.model_spec.name, requested[0].model_spec.name)
        if key in planned:
            raise InvalidArgument(f"Duplicate evaluation of signature: {key}")
        planned[key] = _task(model, key, task.method_name, check_method=check_method)
    return list(planned.values())


def _check_model_name(name: str, first: str) -> None:
    if not name:
        raise InvalidArgument("Found ModelSpec with an empty model name.")
    if name != first:
        raise InvalidArgument("All ModelSpecs in a MultiInferenceRequest must access the same model name.")


def _task(model: ServedModel, key: str, method_name: str, *, check_method: bool) -> _Task:
    signature = model.signatures.get(key)
    if signature is None:
        raise InvalidArgument(f"Requested signature not found in model graph: {key}")
    model_spec = answer_spec(model.name, model.version, key)
    if method_name == CLASSIFY_METHOD:
        return _classification(signature, model_spec, check_method=check_method)
    if method_name == REGRESS_METHOD:
        return _regression(signature, model_spec, check_method=check_method)
    raise Unimplemented(f"Unsupported signature method_name: {method_name}")


def _classification(signature: Signature, model_spec: bytes, *, check_method: bool) -> _Task:
    method = classification(signature, check_method=check_method)

    def write(arrays: Sequence[np.ndarray], count: int) -> bytes:
        return length_delimited(_CLASSIFICATION_TAG, classification_result(method.decode(arrays, count)))

    return _Task(method.tensor, method.fetches, write, model_spec)


def _regression(signature: Signature, model_spec: bytes, *, check_method: bool) -> _Task:
    method = regression(signature, check_method=check_method)

    def write(arrays: Sequence[np.ndarray], count: int) -> bytes:
        return length_delimited(_REGRESSION_TAG, regression_result(method.decode(arrays, count)))

    return _Task(method.tensor, method.fetches, write, model_spec)
