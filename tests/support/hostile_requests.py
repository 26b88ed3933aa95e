"""gRPC requests that nobody would send by mistake: monsters by name, and random bytes without end."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np

from core.inference.protobuf_wire import length_delimited, tag, varint
from core.inference.tensor_proto import to_proto
from core.protos import serving_pb2
from tests.support.infer_bodies import named, raw_grpc_infer

PREDICTION = "/tensorflow.serving.PredictionService/"
STATUS = "/tensorflow.serving.ModelService/GetModelStatus"
RELOAD = "/tensorflow.serving.ModelService/HandleReloadConfigRequest"
SESSION_RUN = "/tensorflow.serving.SessionService/SessionRun"
INFER = "/inference.GRPCInferenceService/ModelInfer"
METHODS = (
    *(f"{PREDICTION}{name}" for name in ("Predict", "Classify", "Regress", "MultiInference")),
    STATUS,
    SESSION_RUN,
    INFER,
)
MODEL = "half_plus_two"
EXAMPLES_MODEL = "tf1_half_plus_two"
REGRESS = "tensorflow/serving/regress"
MILLION = 1_000_000


def field(number: int, payload: bytes) -> bytes:
    return length_delimited(tag(number), payload)


def spec(model: str = MODEL, signature: str = "") -> bytes:
    return field(1, field(1, model.encode()) + field(3, signature.encode()))


def tensor(*dims: int, rest: bytes = b"", kind: int = 1) -> bytes:
    shape = field(2, b"".join(field(2, b"\x08" + varint(size)) for size in dims))
    return b"\x08" + bytes([kind]) + shape + rest


def entry(key: bytes, value: bytes) -> bytes:
    return field(2, field(1, key) + field(2, value))


X = entry(b"x", tensor(rest=b"\x2d\0\0\0\x40"))
REGRESSION = spec(EXAMPLES_MODEL, "regress_x_to_y")


def monsters() -> Iterator[tuple[str, str, bytes, str]]:
    """Yield name, method, body, and the code that is the right answer."""
    invalid = "INVALID_ARGUMENT"
    predict, regress = f"{PREDICTION}Predict", f"{PREDICTION}Regress"
    keys = (entry(b"k%d" % number, b"") for number in range(MILLION))
    yield "a million inputs", predict, spec() + b"".join(keys), invalid
    yield "one input a million times", predict, spec() + X * MILLION, "OK"
    yield "a million outputs", predict, spec() + X + field(3, b"y") * MILLION, invalid
    yield "a million model specs", predict, spec() * MILLION + X, "OK"
    yield "a million dimensions", predict, spec() + entry(b"x", tensor(*[1] * MILLION)), invalid
    yield "millions of empty strings", predict, spec() + entry(b"x", b"\x08\x07" + b"\x42\0" * (4 * MILLION)), invalid
    yield "a huge shape", predict, spec() + entry(b"x", tensor(2**62)), invalid
    yield "huge dimensions", predict, spec() + entry(b"x", tensor(2**31, 2**31)), invalid
    yield "a huge list of one value", predict, spec() + entry(b"x", tensor(2**28, rest=b"\x2d\0\0\0\x40")), invalid
    yield "a huge list of strings", predict, spec() + entry(b"x", tensor(2**26, kind=7)), invalid
    yield "a claimed length of 2 GiB", predict, spec() + b"\x12\xff\xff\xff\xff\x07", invalid
    yield "a claimed length of 4 GiB", predict, b"\x0a\xff\xff\xff\xff\x0f", invalid
    yield "a length without end", predict, b"\x0a" + b"\xff" * MILLION, invalid
    yield "deep groups", predict, spec() + b"\x7b" * MILLION, invalid
    yield "deep messages", predict, spec() + _nested(10_000), invalid
    yield "a long name", predict, spec("m" * MILLION) + X, "NOT_FOUND"
    yield "a long signature", predict, spec(MODEL, "s" * 10 * MILLION) + X, "FAILED_PRECONDITION"
    yield (
        "a repeated context",
        regress,
        REGRESSION + field(2, field(2, b"\x0a\0" * 20_000 + field(2, bytes(MILLION)))),
        invalid,
    )
    yield "a million empty examples", regress, REGRESSION + field(2, field(1, b"\x0a\0" * MILLION)), invalid
    tasks = field(1, spec(EXAMPLES_MODEL) + field(2, REGRESS.encode())) * MILLION
    yield "a million tasks", f"{PREDICTION}MultiInference", tasks, invalid
    yield "a million metadata fields", f"{PREDICTION}GetModelMetadata", spec() + field(2, b"?") * MILLION, invalid
    yield "a reload that is none", RELOAD, b"\xff" * 1000, invalid
    for name, body, code in _infer_monsters():
        yield f"{name} of version 2", INFER, body, code


def _infer_monsters() -> Iterator[tuple[str, bytes, str]]:
    """Yield name, body, and the right code of requests of the Open Inference Protocol."""
    invalid, model = "INVALID_ARGUMENT", field(1, MODEL.encode())
    x, one = field(1, b"x") + field(2, b"FP32") + field(3, varint(1)), field(7, b"\0\0\0\x40")
    keys = b"".join(field(4, field(1, b"k%d" % number)) for number in range(MILLION))
    yield "an input with a million parameters", model + field(5, x + keys) + one, "OK"
    yield "a million parameters", model + keys + field(5, x) + one, invalid
    yield "one parameter a million times", model + field(4, field(1, b"k")) * MILLION + field(5, x) + one, invalid
    yield "millions of empty inputs", model + field(5, b"") * (4 * MILLION), invalid
    yield "a million inputs", model + field(5, x) * MILLION + one * MILLION, invalid
    yield "millions of outputs", model + field(5, x) + field(6, b"") * (4 * MILLION) + one, invalid
    yield "millions of raw contents", model + field(5, x) + field(7, b"") * (4 * MILLION), invalid
    yield "a million versions", model + field(2, b"1") * MILLION + field(5, x) + one, "OK"
    yield (
        "a million dimensions",
        model + field(5, field(1, b"x") + field(2, b"FP32") + b"\x18\x01" * MILLION) + one,
        invalid,
    )
    yield "a huge shape", model + field(5, field(1, b"x") + field(2, b"FP32") + field(3, varint(2**62))) + one, invalid
    strings = field(5, field(8, b"") * (4 * MILLION))
    yield "millions of empty strings", model + field(5, field(1, b"x") + field(2, b"BYTES") + strings), invalid
    yield "a million contents", model + field(5, x + field(5, b"") * MILLION) + one, "OK"
    yield "a claimed length of 2 GiB", model + b"\x3a\xff\xff\xff\xff\x07", invalid
    yield "a long name", field(1, b"m" * MILLION) + field(5, x) + one, "NOT_FOUND"
    yield "deep groups", model + b"\x7b" * MILLION, invalid


def _nested(depth: int) -> bytes:
    """Return a message in a message in a message."""
    nested = b""
    for _ in range(depth):
        nested = field(2, nested)
    return nested


def _valid() -> list[bytes]:
    predict = serving_pb2.PredictRequest(output_filter=["y"])
    predict.model_spec.name = MODEL
    predict.model_spec.version.value = 1
    predict.inputs["x"].CopyFrom(to_proto(np.array([1.0, 2.0], np.float32)))
    regress = serving_pb2.RegressionRequest()
    regress.model_spec.name, regress.model_spec.signature_name = EXAMPLES_MODEL, "regress_x_to_y"
    regress.input.example_list.examples.add().features.feature["x"].float_list.value.append(1.0)
    several = serving_pb2.MultiInferenceRequest(input=regress.input)
    several.tasks.add(model_spec=regress.model_spec, method_name=REGRESS)
    infer = named(raw_grpc_infer({"x": np.array([1.0, 2.0], np.float32)}, ["y"], {"signature_name": ""}), MODEL, "1")
    return [*(one.SerializeToString() for one in (predict, regress, several)), infer]


def random_requests(seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """Yield method and body: noise, valid requests that are cut, changed or doubled, and fields of wrong types."""
    dice = random.Random(seed)
    valid = _valid()
    for _ in range(count):
        body = bytearray(dice.choice(valid))
        kind = dice.randrange(5)
        if kind == 0:
            body = bytearray(dice.randbytes(dice.randrange(200)))
        elif kind == 1:
            del body[dice.randrange(len(body)) :]
        elif kind == 2:
            for _ in range(dice.randrange(1, 6)):
                body[dice.randrange(len(body))] = dice.randrange(256)
        elif kind == 3:
            at = dice.randrange(len(body))
            body[at:at] = dice.randbytes(dice.randrange(1, 12))
        else:
            at = dice.randrange(len(body))
            body[at] ^= dice.randrange(1, 8)
        yield dice.choice(METHODS), bytes(body)
