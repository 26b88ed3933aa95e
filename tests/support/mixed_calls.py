"""Requests of every protocol and method for the test models, good ones and bad ones, as a client would mix them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import numpy as np

from core.inference.signature import CLASSIFY_METHOD, REGRESS_METHOD
from core.inference.tensor_proto import to_proto
from core.protos import serving_pb2
from core.routing.transport import Call, Method
from tests.support.infer_bodies import FORMS, infer_call
from tests.support.served_models import example, model_spec

Random = np.random.Generator


def rest(method: Method, **body: object) -> Call:
    """Make a REST request."""
    return Call(method, json.dumps(body).encode())


def predict(model: str, key: str, array: np.ndarray) -> Call:
    """Make a gRPC Predict with one input."""
    request = serving_pb2.PredictRequest(model_spec=model_spec(model))
    request.inputs[key].CopyFrom(to_proto(array))
    return Call(Method.PREDICT, request.SerializeToString())


def examples(method: Method, signature: str, *values: float | None) -> Call:
    """Make a gRPC Classify or Regress; an example of None lacks the feature, and spoils the run that it is in."""
    request = serving_pb2.ClassificationRequest(model_spec=model_spec("tf1_half_plus_two", signature_name=signature))
    request.input.example_list.examples.extend(example() if one is None else example(x=one) for one in values)
    return Call(method, request.SerializeToString())


def both(*values: float) -> Call:
    """Make a MultiInference that asks a regression and a classification."""
    request = serving_pb2.MultiInferenceRequest()
    for signature, method in (("regress_x_to_y2", REGRESS_METHOD), ("classify_x_to_y", CLASSIFY_METHOD)):
        request.tasks.add(model_spec=model_spec("tf1_half_plus_two", signature_name=signature), method_name=method)
    request.input.example_list.examples.extend(example(x=one) for one in values)
    return Call(Method.MULTI_INFERENCE, request.SerializeToString())


def session_run(*values: float) -> Call:
    """Make a SessionRun that fetches what no signature declares together."""
    request = serving_pb2.SessionRunRequest(model_spec=model_spec("tf1_half_plus_two"), fetch=["y2:0", "y:0"])
    request.feed.add(name="x:0", tensor=to_proto(np.array(values, np.float32).reshape(-1, 1)))
    return Call(Method.SESSION_RUN, request.SerializeToString())


def infer(random: Random, arrays: dict[str, np.ndarray], **parameters: str) -> Call:
    """Make an inference request of the Open Inference Protocol in one of its forms."""
    form = list(FORMS)[random.integers(len(FORMS))]
    return infer_call(form, arrays, parameters=parameters)


def numbers(random: Random) -> list[float]:
    """Return one to three values that floats hold exactly."""
    return [float(value) / 4 for value in random.integers(-99, 99, size=random.integers(1, 4))]


def classic(random: Random) -> Call:
    """Ask the classic model in one of its many ways."""
    values = numbers(random)
    instances = [{"x": value} for value in values]
    ways: list[Callable[[], Call]] = [
        lambda: rest(Method.REST_PREDICT, instances=[[value] for value in values]),
        lambda: rest(Method.REST_PREDICT, inputs=[[value] for value in values]),
        lambda: rest(Method.REST_CLASSIFY, signature_name="classify_x_to_y", examples=instances),
        lambda: rest(Method.REST_REGRESS, signature_name="regress_x_to_y", examples=instances),
        lambda: rest(Method.REST_REGRESS, signature_name="regress_x_to_y", examples=[{"z": 1.0}]),
        lambda: rest(Method.REST_PREDICT, instances="nonsense"),
        lambda: predict("tf1_half_plus_two", "x", np.array(values, np.float32).reshape(-1, 1)),
        lambda: predict("tf1_half_plus_two", "x", np.array(values, np.float64).reshape(-1, 1)),
        lambda: examples(Method.CLASSIFY, "classify_with_labels", *values),
        lambda: examples(Method.REGRESS, "regress_x_to_y", *values),
        lambda: examples(Method.REGRESS, "regress_x_to_y", *values, None),
        lambda: infer(random, {"x": np.array(values, np.float32).reshape(-1, 1)}),
        lambda: infer(random, {"x": np.array(values, np.float64).reshape(-1, 1)}),
        lambda: infer(random, {"inputs": np.array([b"no example"], object)}, signature_name="regress_x_to_y"),
        lambda: both(*values),
        lambda: session_run(*values),
    ]
    return ways[random.integers(len(ways))]()


def halved(random: Random) -> Call:
    """Ask half_plus_two, in rows of different width."""
    rows = np.array(numbers(random), np.float32)
    shape = [(-1,), (-1, 1), (-1, 1, 1)][random.integers(3)]
    if random.random() < 0.5:
        return predict("half_plus_two", "x", rows.reshape(shape))
    if random.random() < 0.5:
        return infer(random, {"x": rows.reshape(shape)})
    return rest(Method.REST_PREDICT, instances=rows.reshape(shape).tolist())


def shouted(random: Random) -> Call:
    """Ask text_upper."""
    words = [["straße", "三", "", "a longer text " * 9][index] for index in random.integers(4, size=3)]
    if random.random() < 0.5:
        return infer(random, {"text": np.array([word.encode() for word in words], object)})
    return rest(Method.REST_PREDICT, instances=words)


def summed(random: Random) -> Call:
    """Ask for a number that is no row of anything: with batching, every such request fails."""
    return rest(Method.REST_PREDICT, instances=numbers(random))


MAKERS: dict[str, Callable[[Random], Call]] = {
    "tf1_half_plus_two": classic,
    "half_plus_two": halved,
    "text_upper": shouted,
}


def mixed_calls(model: str, count: int, seed: int) -> Iterator[Call]:
    """Yield requests for one model, the same ones for the same seed."""
    random = np.random.default_rng(seed)
    return (MAKERS[model](random) for _ in range(count))
