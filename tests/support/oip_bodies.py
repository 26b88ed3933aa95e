"""REST bodies of the Open Inference Protocol as routers forward them, and models that return what they get."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from core.inference.dtypes import DataType
from core.inference.run_plan import RunPlan
from core.inference.signature import ServedModel, Signature
from core.oip.json_request import LARGEST_SHORT_BYTES, plan_json_infer
from core.oip.rest_body import ALL_JSON, footer, split_body
from tests.support.served_models import spec, with_signature

LANES: Mapping[str, Callable[[bytes], bytes]] = {
    "short": lambda text: text,
    "long": lambda text: b" " * LARGEST_SHORT_BYTES + text,
    "exact": lambda text: b'{"not JSON":NaN,' + text[1:],
}
"""What brings the JSON of a request to each of its parsers, without a change of its meaning."""


def identity(dtype: DataType = DataType.FLOAT, shape: tuple[int, ...] | None = None) -> ServedModel:
    """Declare a model `m` that returns its input `x` as `y`."""
    return with_signature(Signature({"x": spec("x:0", dtype, shape)}, {"y": spec("x:0", dtype, shape)}))


def tensor(
    data: Any, shape: Sequence[float], datatype: str = "FP32", name: str = "x", **members: Any
) -> dict[str, Any]:
    """Describe one input with its data."""
    return {"name": name, "shape": shape, "datatype": datatype, "data": data} | members


def raw_tensor(size: int, shape: Sequence[int], datatype: str = "FP32", name: str = "x") -> dict[str, Any]:
    """Describe one input whose data are behind the JSON."""
    return {"name": name, "shape": shape, "datatype": datatype, "parameters": {"binary_data_size": size}}


def request(*inputs: Mapping[str, Any], **members: Any) -> bytes:
    """Write the JSON of a request."""
    return json.dumps({"inputs": inputs} | members).encode()


def forwarded(text: bytes, *raw: bytes) -> bytes:
    """Put a body together: JSON, raw tensors and the footer."""
    return b"".join([text, *raw, footer(len(text) if raw else ALL_JSON)])


def fed(model: ServedModel, text: bytes, *raw: bytes) -> np.ndarray:
    """Return what a model with one input would be run with."""
    (array,) = plan_json_infer(model, forwarded(text, *raw)).feeds.values()
    return array


def returned(model: ServedModel, text: bytes, *raw: bytes) -> tuple[dict[str, Any], bytes]:
    """Return JSON and raw tensors of the answer of a model that returns its inputs."""
    return parts(echo(plan_json_infer(model, forwarded(text, *raw))))


def echo(plan: RunPlan) -> bytes:
    """Answer a plan with its inputs."""
    return plan.answer([plan.feeds[name] for name in plan.fetches])


def parts(answer: bytes) -> tuple[dict[str, Any], bytes]:
    """Take an answer apart; without raw tensors it has none behind its JSON."""
    body = split_body(answer)
    return json.loads(bytes(body.json)), bytes(body.raw)
