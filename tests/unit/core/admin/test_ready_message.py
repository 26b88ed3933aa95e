"""What the server prints when it is ready."""

from __future__ import annotations

import base64
import io
import json
import shlex

import pytest
from PIL import Image

from core.admin.ready_message import TINY_PNG, curl, doors, example_body, rest_url
from core.config.server_settings import FrontDoorSettings


def metadata(method: str = "tensorflow/serving/predict", name: str = "serving_default", **inputs: object) -> bytes:
    """Write what `/metadata` answers for one signature, whose inputs are given as (dtype, *sizes)."""
    tensors = {
        key: {"dtype": dtype, "tensor_shape": {"dim": [{"size": str(size)} for size in sizes]}}
        for key, (dtype, *sizes) in inputs.items()
    }
    signature = {name: {"method_name": method, "inputs": tensors}}
    return json.dumps({"metadata": {"signature_def": {"signature_def": signature}}}).encode()


@pytest.mark.parametrize(
    ("inputs", "body"),
    [
        ({"x": ("DT_FLOAT", -1)}, {"instances": [1.0]}),
        ({"x": ("DT_INT64", -1, 2)}, {"instances": [[1, 1]]}),
        ({"x": ("DT_FLOAT", -1, -1, 3)}, {"instances": [[[1.0, 1.0, 1.0]]]}),
        ({"x": ("DT_FLOAT", 2, 2)}, {"inputs": [[1.0, 1.0], [1.0, 1.0]]}),
        ({"x": ("DT_UINT8",)}, {"inputs": 1}),
        ({"a": ("DT_STRING", -1), "b": ("DT_BOOL", -1, 1)}, {"instances": [{"a": "text", "b": [True]}]}),
        ({"a": ("DT_HALF", -1), "b": ("DT_DOUBLE",)}, {"inputs": {"a": [1.0], "b": 1.0}}),
        ({"audio_bytes": ("DT_STRING", -1)}, {"instances": [{"b64": "dGV4dA=="}]}),
        ({"image_bytes": ("DT_STRING", -1)}, {"instances": [{"b64": TINY_PNG}]}),
        ({"encoded_image_string_tensor": ("DT_STRING", -1)}, {"instances": [{"b64": TINY_PNG}]}),
    ],
)
def test_an_example_fits_the_signature(inputs: dict, body: dict) -> None:
    """Rows where each input has rows, whole tensors otherwise; the right type and shape."""
    assert json.loads(example_body(metadata(**inputs)) or "") == body


def test_another_signature_is_named() -> None:
    """A model without the default one can still be tried."""
    body = example_body(metadata(name="twice", x=("DT_FLOAT", -1)))

    assert json.loads(body or "") == {"signature_name": "twice", "instances": [1.0]}


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"nonsense",
        b"{}",
        b"[]",
        b'{"metadata": null}',
        metadata(),
        metadata(method="tensorflow/serving/classify", inputs=("DT_STRING", -1)),
        metadata(x=("DT_COMPLEX64", -1)),
        metadata(x=("DT_FLOAT", -1, 224, 224, 3)),
    ],
)
def test_no_example_is_better_than_a_wrong_or_a_long_one(answer: bytes) -> None:
    """The terminal then shows how to ask for the model's state."""
    assert example_body(answer) is None


@pytest.mark.parametrize(
    ("door", "url"),
    [
        (FrontDoorSettings(rest_port=8501), "http://127.0.0.1:8501"),
        (FrontDoorSettings(rest_port=8501, host="0.0.0.0"), "http://127.0.0.1:8501"),
        (FrontDoorSettings(rest_port=8501, host="10.0.0.7"), "http://10.0.0.7:8501"),
        (FrontDoorSettings(rest_port=8501, host="::1"), "http://[::1]:8501"),
        (FrontDoorSettings(rest_port=8501, rest_ssl_config_file="f"), "https://127.0.0.1:8501"),
        (FrontDoorSettings(), ""),
    ],
)
def test_an_address_can_be_opened_on_this_machine(door: FrontDoorSettings, url: str) -> None:
    """A server that listens everywhere is found at the loopback address."""
    assert rest_url(door) == url


def test_every_way_in_is_named() -> None:
    """Ports and sockets, with TLS where it is on, and none that is closed."""
    everything = FrontDoorSettings(rest_port=8501, rest_socket_path="/r", grpc_socket_path="/g", ssl_config_file="f")

    assert doors(everything) == [
        "gRPC is open: 127.0.0.1:8500 (TLS)",
        "gRPC is open: unix:/g (TLS)",
        "REST is open: http://127.0.0.1:8501/v1/models",
        "REST is open: unix:/r",
    ]
    assert doors(FrontDoorSettings(grpc_port=0)) == []


@pytest.mark.parametrize(
    ("door", "body", "words"),
    [
        (
            FrontDoorSettings(rest_port=1),
            """{"inputs": {"it's": 1}}""",
            ["curl", "-d", """{"inputs": {"it's": 1}}""", "http://127.0.0.1:1/v1/models/a%20b:predict"],
        ),
        (FrontDoorSettings(rest_port=1), None, ["curl", "http://127.0.0.1:1/v1/models/a%20b"]),
        (
            FrontDoorSettings(rest_port=1, rest_ssl_config_file="f"),
            None,
            ["curl", "-k", "https://127.0.0.1:1/v1/models/a%20b"],
        ),
        (
            FrontDoorSettings(rest_socket_path="/tmp/a b"),
            "{}",
            ["curl", "-d", "{}", "--unix-socket", "/tmp/a b", "http://localhost/v1/models/a%20b:predict"],
        ),
        (FrontDoorSettings(), "{}", []),
    ],
)
def test_a_command_can_be_pasted_into_a_shell(door: FrontDoorSettings, body: str | None, words: list[str]) -> None:
    """Whatever characters the model's name and inputs have."""
    assert shlex.split(curl(door, "a b", body)) == words


def test_the_picture_of_an_example_can_be_decoded() -> None:
    """A model of pictures must be able to answer it."""
    with Image.open(io.BytesIO(base64.b64decode(TINY_PNG))) as picture:
        assert (picture.size, picture.convert("RGB").getpixel((0, 0))) == ((1, 1), (128, 128, 128))
