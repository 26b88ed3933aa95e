"""The lines that `ray_model_server` prints when it is ready: its addresses, and an example request to paste."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from core.config.server_settings import FrontDoorSettings

MOST_VALUES: Final = 64
"""Most values in an example request; a longer one is of no use at a terminal."""
EVERYWHERE: Final = frozenset({"", "0.0.0.0", "::"})
PREDICT: Final = "tensorflow/serving/predict"
DEFAULT_SIGNATURE: Final = "serving_default"

TINY_PNG: Final = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mNoaGgAAAMEAYF1LgG8AAAAAElFTkSuQmCC"
"""A picture of one grey pixel, in base64."""

_PICTURES: Final = ("image", "img", "jpeg", "jpg", "png", "photo", "picture")
"""Parts of the names of inputs that are encoded pictures."""

_FLOATS: Final = frozenset({"DT_FLOAT", "DT_DOUBLE", "DT_HALF", "DT_BFLOAT16"})
_INTEGERS: Final = frozenset(f"DT_{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64))


def shown_host(door: FrontDoorSettings) -> str:
    """Return the host that a client on this machine would write."""
    host = "127.0.0.1" if door.host in EVERYWHERE else door.host
    return f"[{host}]" if ":" in host else host


def rest_url(door: FrontDoorSettings) -> str:
    """Return the beginning of every REST address; empty when there is no REST port."""
    if not door.rest_port:
        return ""
    scheme = "https" if door.rest_ssl_config_file else "http"
    return f"{scheme}://{shown_host(door)}:{door.rest_port}"


def doors(door: FrontDoorSettings) -> list[str]:
    """Return a line for each address that the server listens on."""
    tls = " (TLS)" if door.ssl_config_file else ""
    lines = []
    if door.grpc_port:
        lines.append(f"gRPC is open: {shown_host(door)}:{door.grpc_port}{tls}")
    if door.grpc_socket_path:
        lines.append(f"gRPC is open: unix:{door.grpc_socket_path}{tls}")
    if door.rest_port:
        lines.append(f"REST is open: {rest_url(door)}/v1/models")
    if door.rest_socket_path:
        lines.append(f"REST is open: unix:{door.rest_socket_path}")
    return lines


def curl(door: FrontDoorSettings, model: str, body: str | None) -> str:
    """Return a command that sends a body to a model, or requests its status without a body; empty without REST.

    With an access file, it sends the token in the variable TOKEN.
    """
    target = f"/v1/models/{quote(model, safe='')}"
    if door.rest_port:
        insecure = "-k " if door.rest_ssl_config_file else ""
        where = f"{insecure}{shlex.quote(rest_url(door) + target + (':predict' if body else ''))}"
    elif door.rest_socket_path:
        where = f"--unix-socket {shlex.quote(door.rest_socket_path)} {shlex.quote('http://localhost' + target)}"
        where += ":predict" if body else ""
    else:
        return ""
    token = '-H "Authorization: Bearer $TOKEN" ' if door.access_file else ""
    return f"curl {token}-d {shlex.quote(body)} {where}" if body else f"curl {token}{where}"


def example_body(metadata: bytes) -> str | None:
    """Return a predict request for the signatures in an answer of `/metadata`; None when no small one is possible."""
    try:
        signatures = json.loads(metadata)["metadata"]["signature_def"]["signature_def"]
    except (ValueError, KeyError, TypeError):
        return None
    names = sorted(signatures, key=lambda name: (name != DEFAULT_SIGNATURE, name))
    for name in names:
        if signatures[name].get("method_name") == PREDICT:
            inputs = _inputs(signatures[name].get("inputs", {}))
            if inputs is not None:
                chosen = {} if name == DEFAULT_SIGNATURE else {"signature_name": name}
                return json.dumps({**chosen, **inputs})
    return None


def _inputs(tensors: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return `instances` where every input has rows, `inputs` otherwise."""
    shapes = {name: _shape(tensor) for name, tensor in tensors.items()}
    samples = {name: _sample(name, tensor.get("dtype", "")) for name, tensor in tensors.items()}
    has_rows = all(shape[:1] == [-1] for shape in shapes.values())
    size = sum(_size(shape) for shape in shapes.values())
    if not tensors or size > MOST_VALUES or None in samples.values():
        return None
    values = {name: _nested(samples[name], shape[1:] if has_rows else shape) for name, shape in shapes.items()}
    one = next(iter(values.values())) if len(values) == 1 else values
    return {"instances": [one]} if has_rows else {"inputs": one}


def _shape(tensor: Mapping[str, Any]) -> list[int]:
    return [int(dim["size"]) for dim in tensor.get("tensor_shape", {}).get("dim", [])]


def _size(shape: list[int]) -> int:
    size = 1
    for length in shape:
        size *= max(length, 1) if length else 0
    return size


def _sample(name: str, dtype: str) -> Any:
    if dtype in _FLOATS:
        return 1.0
    if dtype in _INTEGERS:
        return 1
    if dtype == "DT_STRING":
        return _text_sample(name.lower())
    return True if dtype == "DT_BOOL" else None


def _text_sample(name: str) -> Any:
    """Return bytes where TensorFlow's convention for names says so, a picture where the name does, or a text."""
    if any(word in name for word in _PICTURES):
        return {"b64": TINY_PNG}
    return {"b64": "dGV4dA=="} if name.endswith("_bytes") else "text"


def _nested(sample: Any, shape: list[int]) -> Any:
    for length in reversed(shape):
        sample = [sample] * (1 if length < 0 else length)
    return sample
