"""onnxruntime's errors as clients and operators see them."""

from __future__ import annotations

import numpy as np
import pytest

from core.errors import (
    Code,
    DataLoss,
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    RuntimeFailure,
    Unimplemented,
)
from core.inference.dtypes import DataType
from core.platforms.onnx_errors import byte_strings_of, onnx_load_error, onnx_run_error, texts_of, wrong_types

NODE = "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running {} node. Name:'' Status Message: {}"


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("InvalidProtobuf", DataLoss),
        ("InvalidArgument", InvalidArgument),
        ("InvalidGraph", InvalidArgument),
        ("NotImplemented", Unimplemented),
        ("NoSuchFile", NotFound),
        ("Fail", FailedPrecondition),
        ("RuntimeException", FailedPrecondition),
        ("ValueError", FailedPrecondition),
    ],
)
def test_a_failed_load_has_a_code_and_names_the_file(kind, error) -> None:
    """A file that is wrong is not tried again; what may come of the node is."""
    made = onnx_load_error(
        kind, "[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : Protobuf\n parsing failed.", "/m/1/model.onnx"
    )

    assert type(made) is error
    assert str(made).startswith("onnxruntime cannot load /m/1/model.onnx: Protobuf parsing failed.")
    assert ("export it again" in str(made)) is (kind == "InvalidProtobuf")


@pytest.mark.parametrize(
    ("kind", "text", "error", "code"),
    [
        ("InvalidArgument", "[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Invalid rank", InvalidArgument, None),
        ("Fail", NODE.format("Reshape", "the input tensor cannot be reshaped"), InvalidArgument, None),
        ("RuntimeException", NODE.format("Add", "Attempting to broadcast an axis"), InvalidArgument, None),
        ("Fail", NODE.format("Gather", "indices element out of data bounds"), InvalidArgument, None),
        ("Fail", NODE.format("Div", "it went wrong"), Internal, None),
        ("ValueError", "no reason", Internal, None),
        ("Fail", NODE.format("Loop", "Exiting due to terminate flag being set to true."), DeadlineExceeded, None),
        ("MemoryError", "", ResourceExhausted, None),
        ("RuntimeException", NODE.format("Expand", "Failed to allocate memory for requested buffer of size 9"), ResourceExhausted, None),
        ("RuntimeException", "std::bad_alloc", ResourceExhausted, None),
        ("NotImplemented", "[ONNXRuntimeError] : 9 : NOT_IMPLEMENTED : x", RuntimeFailure, Code.UNIMPLEMENTED),
        ("EPFail", "[ONNXRuntimeError] : 11 : EP_FAIL : x", RuntimeFailure, Code.INTERNAL),
        ("Fail", NODE.format("Conv", "CUDNN failure 4: CUDNN_STATUS_INTERNAL_ERROR"), RuntimeFailure, Code.INTERNAL),
    ],
)  # fmt: skip
def test_a_failed_run_has_a_code_and_onnxruntimes_words(kind, text, error, code) -> None:
    """What may come of a request never counts against the version, as a RuntimeFailure would."""
    made = onnx_run_error(kind, text)

    assert type(made) is error
    assert code in (None, made.code)
    assert "[ONNXRuntimeError]" not in str(made)
    assert str(made)


def test_inputs_of_other_types_are_named() -> None:
    """The runtime says only which type came."""
    types = {"x": DataType.FLOAT, "s": DataType.STRING, "n": DataType.INT64}
    feeds = {"x": np.zeros(1), "s": np.array([b""], object), "n": np.zeros(1, np.int32), "other": np.zeros(1)}

    assert wrong_types(feeds, types) == (
        'Input "x" has type double, and the model takes float. Input "n" has type int32, and the model takes int64.'
    )
    assert wrong_types({"x": np.zeros(1, np.float32)}, types) == ""


@pytest.mark.parametrize("shape", [(), (0,), (2, 3), (1, 0)])
def test_strings_keep_their_shape_both_ways(shape) -> None:
    """As texts for onnxruntime, as bytes for clients; zero bytes are characters like others."""
    strings = np.empty(shape, object)
    strings.fill("Köln\0".encode())

    texts = texts_of("x", strings)

    assert texts.shape == shape
    assert all(one == "Köln\0" for one in texts.ravel())
    assert byte_strings_of(texts).tolist() == strings.tolist()


@pytest.mark.parametrize(
    ("value", "text"),
    [(b"\xff", 'Input "x" has a string that is not UTF-8'), ("text", 'Input "x" does not consist of byte strings'), (1, "byte")],
)  # fmt: skip
def test_strings_that_onnx_cannot_hold_are_refused(value, text: str) -> None:
    """With the name of the input."""
    with pytest.raises(InvalidArgument, match=text):
        texts_of("x", np.array([b"good", value], object))
