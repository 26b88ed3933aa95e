"""REST predict: a JSON body to a session run (TensorFlow Serving, predict).

The checks come in TensorFlow Serving's order. Which model answers is decided by the router, so `check_predict_body`
makes the checks that come before the model is looked up.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from core.errors import InvalidArgument
from core.inference.error_texts import braced
from core.inference.run_plan import RunPlan
from core.inference.signature import DEFAULT_SIGNATURE, ServedModel, Signature, check_carried, check_predictable
from core.json.document import PredictBody, check_signature_name, read_predict_body
from core.rest.predict_answer import write_columns, write_rows


def plan_predict(model: ServedModel, body: bytes, *, check_method: bool = False) -> RunPlan:
    """Turn a body into a session run of the model; all of the body is judged before the method of its signature."""
    request = read_predict_body(body, partial(_readable_signature, model))
    if not request.signature.is_carried:
        check_carried(request.name or DEFAULT_SIGNATURE, request.signature, request.signature.outputs)
    if check_method:
        check_predictable(request.signature)
    return _run_plan(request)


def _readable_signature(model: ServedModel, key: str) -> Signature | None:
    """Return a signature whose inputs can be in a body; raises RuntimeFailure for others, None if it is not there."""
    signature = model.signatures.get(key)
    if signature is not None and not signature.is_carried:
        check_carried(key, signature, ())
    return signature


def check_predict_body(body: bytes | bytearray) -> None:
    """Make the checks of a body that come before its model is looked up; raises ServingError."""
    check_signature_name(body)


def _run_plan(request: PredictBody) -> RunPlan:
    signature = request.signature
    _check_complete(request)
    feeds = {spec.tensor: _feed(request, name) for name, spec in signature.inputs.items()}
    write = partial(write_rows if request.by_row else write_columns, signature.places)
    return RunPlan(feeds, signature.fetches, write, request.name or DEFAULT_SIGNATURE)


def _feed(request: PredictBody, name: str) -> np.ndarray:
    array = request.inputs.get(name)
    return request.signature.defaults[name] if array is None else array


def _check_complete(request: PredictBody) -> None:
    """Refuse missing inputs; only binary rows for several inputs, which fill one of them, get this far without."""
    declared, sent = request.signature.inputs, request.inputs
    if len(sent) < len(declared) and not set(declared) <= set(sent) | set(request.signature.defaults):
        raise InvalidArgument(
            f"input size does not match signature: {len(sent)}!={len(declared)} "
            f"len({braced(sent)}) != len({braced(declared)}). "
            f"Sent extra: {braced(())}. "
            f"Missing but required: {braced(set(declared) - set(sent))}."
        )
