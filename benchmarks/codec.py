"""Prints microseconds per body for the JSON codec and the libraries it is built from.

Run as `python -m benchmarks.codec`. Decoding ends in the array that the model is fed, encoding in the bytes of the
answer.
"""

from __future__ import annotations

import timeit
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import orjson
import simdjson

from core.inference.dtypes import DataType
from core.inference.signature import ServedModel, Signature, TensorSpec
from core.rest import predict as rest_predict
from core.rest.predict_answer import write_rows

RANDOM = np.random.default_rng(7)
PARSER = simdjson.Parser()


def model(dtype: DataType) -> ServedModel:
    signature = Signature({"x": TensorSpec("x:0", dtype, None)}, {"y": TensorSpec("y:0", dtype, None)})
    return ServedModel("m", 1, {"serving_default": signature})


def numbers(*shape: int) -> bytes:
    return orjson.dumps({"instances": RANDOM.random(shape, dtype=np.float32)}, option=orjson.OPT_SERIALIZE_NUMPY)


def named(rows: int, width: int) -> bytes:
    values = RANDOM.random((rows, width)).round(6).tolist()
    return orjson.dumps({"instances": [{"x": row} for row in values]})


def with_orjson(body: bytes) -> np.ndarray:
    instances = orjson.loads(body)["instances"]
    if isinstance(instances[0], dict):
        instances = [row["x"] for row in instances]
    if isinstance(instances[0], str):
        return np.array([text.encode() for text in instances], dtype=object)
    return np.array(instances, dtype=np.float32)


def with_simdjson(body: bytes) -> np.ndarray:
    """The bare library: no look at the structure, so ragged lists would pass."""
    instances: Any = PARSER.parse(body)["instances"]  # type: ignore[index]
    if isinstance(instances[0], simdjson.Object):
        return np.frombuffer(b"".join([row["x"].as_buffer(of_type="d") for row in instances])).astype(np.float32)
    if isinstance(instances[0], str):
        return np.array([text.encode() for text in instances.as_list()], dtype=object)
    return np.frombuffer(instances.as_buffer(of_type="d")).astype(np.float32)


def microseconds(call: Callable[[], object]) -> float:
    timer = timeit.Timer(call)
    count, _ = timer.autorange()
    return min(timer.repeat(5, count)) / count * 1e6


def main() -> None:
    texts = orjson.dumps({"instances": [f"a text of medium length, number {at}" for at in range(100)]})
    bodies = {
        "tiny row": (numbers(1, 32), DataType.FLOAT),
        "64 rows x 32": (numbers(64, 32), DataType.FLOAT),
        "64 named rows x 32": (named(64, 32), DataType.FLOAT),
        "image 224x224x3": (numbers(1, 224, 224, 3), DataType.FLOAT),
        "100 strings": (texts, DataType.STRING),
    }
    print(f"{'decode':20} {'bytes':>9} {'orjson+numpy':>13} {'simdjson':>10} {'ours':>10}  (µs)")
    for name, (body, dtype) in bodies.items():
        served = model(dtype)
        figures = [
            microseconds(partial(with_orjson, body)),
            microseconds(partial(with_simdjson, body)),
            microseconds(partial(rest_predict.plan_predict, served, body)),
        ]
        print(f"{name:20} {len(body):9} {figures[0]:13.1f} {figures[1]:10.1f} {figures[2]:10.1f}")
    print(f"{'encode':20} {'bytes':>9} {'orjson+numpy':>13} {'':>10} {'ours':>10}  (µs)")
    for name, shape in {"1 x 1000 floats": (1, 1000), "64 x 10 floats": (64, 10), "image": (1, 224, 224, 3)}.items():
        array = RANDOM.random(shape, dtype=np.float32)
        text = write_rows({"y": 0}, [array])
        plain = microseconds(partial(orjson.dumps, {"predictions": array}, option=orjson.OPT_SERIALIZE_NUMPY))
        ours = microseconds(partial(write_rows, {"y": 0}, [array]))
        print(f"{name:20} {len(text):9} {plain:13.1f} {'':>10} {ours:10.1f}")


if __name__ == "__main__":
    main()
