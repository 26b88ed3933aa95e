"""Tests of the texts by which REST predict refuses bodies."""

from __future__ import annotations

import pytest

from core.errors import InvalidArgument
from core.inference.dtypes import DataType
from core.inference.signature import Signature
from core.rest import predict as rest_predict
from tests.support.served_models import spec, with_signature

pytestmark = pytest.mark.usefixtures("lists_cut")

F, N, S = DataType.FLOAT, DataType.INT32, DataType.STRING
DEEP = b"[" * 255 + b"]" * 255
PRETTY_NAME = "not formatted correctly. 'signature_name' key must be a string value."
MANY_STRINGS = {"int_tensor": N, "str_tensor": S}
IA = "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    ("inputs", "body", "message"),
    [
        pytest.param({"default": N}, b"", "JSON Parse error: The document is empty", id="case_B18"),
        pytest.param(
            {"default": N},
            b'{"signature_name":5,"instances":[[1,2]]}',
            f'JSON Value: {{\n    "signature_name": 5,\n    "instances": [[1, 2]]\n}} {PRETTY_NAME}',
            id="case_B19",
        ),
        pytest.param(
            {"default": N},
            b'{"instances":[[1,2],[3,4],[[5,6]]]}',
            f"Failed to process element: 2 of 'instances' list. Error: {IA}: Expecting shape [2] but got: [1,2]",
            id="case_B22",
        ),
        pytest.param(
            MANY_STRINGS,
            b'{"instances":[{"int_tensor":[[1,2],[3,4],[5,6]],"str_tensor":["foo"]},'
            b'{"int_tensor":[[[7,8],[9,0],[1,2]]],"str_tensor":["bar"]}]}',
            f"Failed to process element: 1 key: int_tensor of 'instances' list. Error: {IA}: "
            "Expecting shape [3,2] but got: [1,3,2]",
            id="case_B25",
        ),
        pytest.param(
            MANY_STRINGS,
            b'{"instances":[{"int_tensor":[1,2,3],"str_tensor":["foo"]},[1,20,30],{"int_tensor":[1],"str_tensor":[]}]}',
            "Expecting object but got list at item 1 of input list",
            id="case_B27",
        ),
        pytest.param(
            {"a": F, "b": F},
            b'{"instances":[[1,2]]}',
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map",
            id="case_B29",
        ),
        pytest.param(
            {"a": F, "b": F}, b'{"inputs":{"a":[1]}}', "Missing named input: b in 'inputs' object.", id="case_B31"
        ),
        pytest.param(
            {"a": F},
            b'{"instances":[{"a":1,"c":2}]}',
            f"Failed to process element: 0 key: c of 'instances' list. Error: {IA}: "
            "JSON object: does not have named input: c",
            id="case_B34",
        ),
        pytest.param(
            {"a": F},
            b'{"instances":[]}',
            "JSON Value: {\n    \"instances\": []\n} No values in 'instances' array",
            id="case_B35",
        ),
        pytest.param(
            {"a": F},
            b'{"instances":5}',
            "JSON Value: {\n    \"instances\": 5\n} Expecting 'instances' to be an list/array",
            id="case_B36",
        ),
        pytest.param({"a": F}, b"{}", "Missing 'inputs' or 'instances' key", id="case_B37"),
        pytest.param({"a": F}, b"[1,2]", "JSON Value: [1, 2] Is not object", id="case_B38"),
        pytest.param(
            {"a": N},
            b'{"inputs":[1.0]}',
            "JSON Value: 1.0 Type: Number is not of expected type: int32",
            id="case_B41",
        ),
        pytest.param(
            {"a": N},
            b'{"inputs":[3000000000]}',
            "JSON Value: 3000000000 Type: Number is not of expected type: int32",
            id="case_B42",
        ),
        pytest.param(
            {"a": F}, b'{"inputs":[null]}', "JSON Value: null Type: Null is not of expected type: float", id="case_B45"
        ),
        pytest.param(
            {"a": F}, b'{"inputs":[true]}', "JSON Value: true Type: True is not of expected type: float", id="case_B46"
        ),
        pytest.param(
            {"a": S}, b'{"inputs":[5]}', "JSON Value: 5 Type: Number is not of expected type: string", id="case_B47"
        ),
        pytest.param(
            {"a": F},
            b'{"inputs":[[1,2],[3]]}',
            "Encountered list at unexpected size: 1 at level: 1 expected size: 2",
            id="case_B50",
        ),
        pytest.param(
            {"a": F},
            b'{"inputs":[[1],2]}',
            "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2",
            id="case_B51",
        ),
        pytest.param(
            {"a": DataType.HALF},
            b'{"instances":[1]}',
            "Failed to process element: 0 of 'instances' list. Error: UNIMPLEMENTED: "
            "Conversion of JSON Value: 1 to type: half",
            id="case_B54",
        ),
        pytest.param(
            {"a": F}, b'{"inputs":[1,[2]]}', "Encountered list at unexpected level: 1 expected < 1", id="deep"
        ),
        pytest.param(
            {"a": F},
            b'{"inputs":[1],"instances":[1]}',
            'JSON Value: {\n    "inputs": [1],\n    "instances": [1]\n} Not formatted correctly expecting only one of '
            "'inputs' or 'instances' keys to exist ",
            id="both keys",
        ),
        pytest.param(
            {"a": F, "b": F},
            b'{"inputs":[1]}',
            "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
            "tensorinfo_map",
            id="columns without names",
        ),
        pytest.param(
            {"a": F, "b": F},
            b'{"instances":[{"a":1}]}',
            "Failed to process element: 0 of 'instances' list. "
            'JSON object: {\n    "a": 1\n} keys must be equal to: a,b',
            id="missing key",
        ),
        pytest.param(
            {"a": F},
            b'{"instances":[1,{"a":1}]}',
            "Expecting value/list but got object at item 1 of input list",
            id="mix",
        ),
        pytest.param(
            {"a": F},
            b'{"instances":[[1],[2,3]]}',
            f"Failed to process element: 1 of 'instances' list. Error: {IA}: Expecting tensor size: 1 but got: 2",
            id="size",
        ),
        pytest.param(
            {"a": S},
            b'{"inputs":[{"c64":"x"}]}',
            'JSON Value: {\n    "c64": "x"\n} not formatted correctly for base64 data',
            id="not b64",
        ),
        pytest.param(
            {"a": F}, b'{"inputs":["x"]}', 'JSON Value: "x" Type: String is not of expected type: float', id="string"
        ),
        pytest.param(
            {"a": DataType.BOOL},
            b'{"inputs":[false,0]}',
            "JSON Value: 0 Type: Number is not of expected type: bool",
            id="number as bool",
        ),
        pytest.param({"a": S}, b'{"inputs":[{"b64":"*"}]}', "Unable to base64 decode", id="bad b64"),
        pytest.param(
            {"a": F, "b": F},
            b'{"instances":[{"b64":""}]}',
            f"Failed to process element: 0 of 'instances' list. Error: {IA}: "
            'JSON Value: {\n    "b64": ""\n} Type: Object is not of expected type: float',
            id="binary row of a float",
        ),
        pytest.param(
            {"a": S, "b": S},
            b'{"instances":[{"b64":""}]}',
            "input size does not match signature: 1!=2 len({a}) != len({a,b}). Sent extra: {}. "
            "Missing but required: {b}.",
            id="binary rows for two inputs",
        ),
        pytest.param(
            {"a": F}, b'{"inputs":' + b"[" * 70 + b"]" * 70 + b"}", "tensor parsing error: a", id="rank beyond numpy"
        ),
        pytest.param({"a": F}, b'{"inputs":' + DEEP + b"}", "tensor parsing error: a", id="rank beyond reason"),
        pytest.param({"a": F}, b'{"inputs":[1e400]}', parse_error := "JSON Parse error: Number too big", id="too big"),
    ],
)
def test_bad_bodies_are_explained_as_tensorflow_serving_does(
    inputs: dict[str, DataType], body: bytes, message: str
) -> None:
    """Texts are part of the interface: client tests compare them."""
    specs = {name: spec(f"{name}:0", dtype) for name, dtype in inputs.items()}
    model = with_signature(Signature(specs, {"y": spec("y:0")}))

    with pytest.raises(InvalidArgument) as caught:
        rest_predict.plan_predict(model, body)

    found = str(caught.value)
    assert found.startswith(parse_error) if message == parse_error else found == message
