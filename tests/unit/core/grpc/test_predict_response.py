"""The wire form of a PredictResponse: every output under its name, with its declared type."""

from __future__ import annotations

import numpy as np
import pytest

from core.errors import ServingError
from core.grpc.predict_response import ResponseWriter, declared_type
from core.inference.dtypes import DataType
from core.inference.tensor_proto import to_array
from core.protos import serving_pb2
from tests.support.served_models import spec

Y = np.array([[1.5]], np.float32)
SPEC = serving_pb2.ModelSpec(name="m").SerializeToString()


@pytest.mark.parametrize("as_content", [False, True])
def test_the_bytes_are_a_response_of_all_outputs(as_content) -> None:
    """Two names may stand for one tensor."""
    outputs = (("a", spec("y:0")), ("b", spec("z:0", DataType.INT64)), ("ä", spec("y:0")))
    writer = ResponseWriter(outputs, ("y:0", "z:0"), SPEC, as_content)

    response = serving_pb2.PredictResponse.FromString(writer.encode([Y, np.array(3)]))

    assert {name: to_array(value).tolist() for name, value in response.outputs.items()} == {
        "a": [[1.5]],
        "b": 3,
        "ä": [[1.5]],
    }
    assert bool(response.outputs["a"].tensor_content) is as_content
    assert response.model_spec.name == "m"


def test_arrays_that_do_not_fit_the_fetches_are_an_internal_error() -> None:
    """The runtime gave too few."""
    with pytest.raises(ServingError, match=r"^Predict internal error$"):
        ResponseWriter((("a", spec("y:0")),), ("y:0",), SPEC, as_content=False).encode([])


@pytest.mark.parametrize(
    ("declared", "dtype", "expected"),
    [
        (DataType.QINT8, np.int8, DataType.QINT8),
        (DataType.INT8, np.int8, DataType.INT8),
        (DataType.FLOAT, np.float64, None),
        (DataType.RESOURCE, np.float32, None),
    ],
)
def test_a_signature_is_believed_where_its_array_does_not_contradict(declared, dtype, expected) -> None:
    """Quantized types share their arrays with plain ones."""
    assert declared_type(spec("y:0", declared), np.zeros(1, dtype)) is expected
