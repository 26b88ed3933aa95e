"""JSON bodies that nobody sends by accident: refused quickly, with bounded memory, and never by a defect."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import HTTP_STATUS, InvalidArgument, ServingError
from core.inference.dtypes import DataType
from core.inference.giving_up import GivenUp, giving_up_after
from core.inference.signature import ServedModel
from core.json import document as json_document
from core.oip.datatypes import NUMPY_OF
from core.oip.json_request import plan_json_infer
from core.oip.rest_body import footer
from tests.support.hostile_bodies import UNITS, hostile
from tests.support.oip_bodies import LANES, echo, forwarded, identity, request, tensor

pytestmark = pytest.mark.usefixtures("lists_cut")

MIB = 2**20
SMALL = 30_000
FEW_SECONDS = 5.0
MODELS = {
    "FP32": identity(),
    "INT8": identity(DataType.INT8),
    "BOOL": identity(DataType.BOOL),
    "BYTES": identity(DataType.STRING),
    "BF16": identity(DataType.BFLOAT16),
}
AROUND = {
    "in data": (b'{"inputs":[{"name":"x","shape":[1],"datatype":"%b","data":[', b"]}]}"),
    "in a shape": (b'{"inputs":[{"name":"x","datatype":"%b","data":[1],"shape":[', b"]}]}"),
    "in inputs": (b'{"inputs":[{"name":"x","datatype":"%b","data":[1],"shape":[1]},', b"]}"),
    "in parameters": (b'{"inputs":[{"name":"x","datatype":"%b","data":[1],"shape":[1]}],"parameters":{"a":[', b"]}}"),
    "nowhere": (b"", b""),
}


def status(model: ServedModel, body: bytes) -> int:
    """Return the HTTP status that planning and answering come to; anything but a ServingError would be a defect."""
    began_s = time.process_time()
    try:
        echo(plan_json_infer(model, body))
    except ServingError as error:
        return HTTP_STATUS[error.code]
    finally:
        assert time.process_time() - began_s < FEW_SECONDS
    return 200


@pytest.mark.parametrize("place", AROUND)
@pytest.mark.parametrize("kind", UNITS)
def test_hostile_json_is_answered(kind: str, place: str) -> None:
    """With 200 or 400, whatever is repeated thousands of times, wherever it stands."""
    for datatype in ("FP32", "INT8", "BYTES"):
        begin, end = AROUND[place]
        begin = begin % datatype.encode() if begin else begin
        for size in (SMALL // 10, SMALL):
            assert status(MODELS[datatype], forwarded(begin + hostile(kind, size) + end)) in {200, 400}


def test_repeated_units_are_read_where_they_are_data() -> None:
    """The bodies above get far enough to matter."""
    begin, end = AROUND["in data"]
    ones = begin.replace(b"[1]", b"[20000]") % b"INT8" + b"1," * 19_999 + b"1" + end

    assert status(MODELS["INT8"], forwarded(ones)) == 200


ALPHABET = [
    *'{}[],:"',
    *('"inputs":[{', '"name":"x",', '"shape":[1],', '"datatype":"FP32",', '"data":[1]', '"data":', '"parameters":{'),
    *(
        '"binary_data_size":4',
        '"outputs":[',
        "NaN",
        "-Infinity",
        "1e400",
        "-0",
        "1.5",
        "\\ud800",
        "\\udc00",
        '"id":"',
        "null",
        "true",
    ),
]
PIECES = st.sampled_from(ALPHABET).map(str.encode) | st.binary(max_size=3)
TEXTS = st.lists(PIECES, max_size=40).map(b"".join) | st.binary(max_size=60)


@given(TEXTS, st.binary(max_size=9), st.integers(-1, 70), st.sampled_from(list(MODELS)))
def test_no_bytes_are_a_defect_of_the_server(text: bytes, raw: bytes, length: int, datatype: str) -> None:
    """Of any kind, with and without the look of JSON, cut anywhere."""
    body = text + raw
    assert status(MODELS[datatype], body + footer(min(length, len(body)))) in {200, 400}


LEAVES = st.none() | st.booleans() | st.integers(-(2**65), 2**65) | st.floats() | st.text(max_size=3)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=1), inner, max_size=2),
    max_leaves=6,
)
SHAPES = st.lists(st.integers(0, 3) | st.sampled_from([-1, 2**31, 2**62, 1.0, 0.5, None]), max_size=3)
PARAMETERS = st.dictionaries(
    st.sampled_from(
        ["binary_data_size", "binary_data", "binary_data_output", "content_type", "timeout", "classification", "a"]
    ),
    VALUES | st.sampled_from([0, 4, 8, True, "base64"]),
    max_size=3,
)
INPUTS = st.fixed_dictionaries(
    {"name": st.just("x") | VALUES, "datatype": st.sampled_from(list(NUMPY_OF)) | VALUES, "shape": SHAPES | VALUES},
    optional={"data": VALUES, "parameters": PARAMETERS | VALUES},
)
OUTPUTS = st.fixed_dictionaries({"name": st.just("y") | VALUES}, optional={"parameters": PARAMETERS | VALUES})
REQUESTS = st.fixed_dictionaries(
    {"inputs": st.lists(INPUTS, min_size=1, max_size=1) | st.lists(INPUTS | VALUES, max_size=3) | VALUES},
    optional={
        "id": st.text(max_size=3) | VALUES,
        "outputs": st.lists(OUTPUTS, max_size=2) | VALUES,
        "parameters": PARAMETERS | VALUES,
    },
)


@settings(max_examples=300)
@given(REQUESTS, st.binary(max_size=9), st.sampled_from(list(LANES)), st.sampled_from(list(MODELS)))
def test_no_structure_is_a_defect_of_the_server(sent: dict, raw: bytes, lane: str, datatype: str) -> None:
    """Every member with every value, by each parser."""
    text = LANES[lane](json.dumps(sent).encode())

    assert status(MODELS[datatype], forwarded(text, raw)) in {200, 400}


@given(VALUES, SHAPES, st.sampled_from(list(MODELS)))
def test_all_parsers_agree(value: object, shape: list, datatype: str) -> None:
    """What one reads, all read; what one refuses, all refuse with the same words."""
    text = request(tensor(value, shape, datatype))

    def outcome(lane: str) -> object:
        try:
            array = plan_json_infer(MODELS[datatype], forwarded(LANES[lane](text))).feeds["x:0"]
        except ServingError as error:
            return str(error)
        return array.shape, array.tolist() if array.dtype == object else array.tobytes()

    assert outcome("short") == outcome("long") == outcome("exact")


def test_what_would_need_a_hundred_times_its_size_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The text says what would have been right; plain numbers are not meant, as they need no objects."""
    monkeypatch.setattr(json_document, "LARGEST_DOCUMENT_BYTES", MIB)
    begin, end = AROUND["in data"]

    for middle in (b"[]," * SMALL + b"[]", b'"",' * SMALL + b'""', b"NaN," * SMALL + b"1"):
        with pytest.raises(InvalidArgument, match=r"MiB of memory, of which a request may have 1 MiB\. Send fewer"):
            plan_json_infer(MODELS["BYTES"], forwarded(begin % b"BYTES" + middle + end))
    numbers = begin.replace(b"[1]", b"[30001]") % b"FP32" + b"1," * SMALL + b"1" + end
    assert status(MODELS["FP32"], forwarded(numbers)) == 200


def test_what_one_body_needs_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counting takes time, and a body can have a thousand inputs."""
    counted = []
    monkeypatch.setattr("core.json.long_lists.require_affordable", counted.append)
    inputs = [tensor(["a" * 100], [1], "BYTES", f"x{index}") for index in range(500)]

    assert status(MODELS["BYTES"], forwarded(request(*inputs))) == 400
    assert len(counted) == 1


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(request(*[tensor([1], [1], name=f"x{index}") for index in range(20_000)]), id="inputs"),
        pytest.param(request(outputs=[{"name": f"y{index}"} for index in range(20_000)]), id="outputs"),
        pytest.param(request(tensor([[[1.5, None]] * 10] * 10_000, [1])), id="values"),
        pytest.param(request(tensor(["a"] * 100_000, [1], "BYTES")), id="texts"),
        pytest.param(request(tensor([1.0, 2**60] * 50_000, [1], "INT64")), id="integers"),
        pytest.param(request(parameters={str(index): 1 for index in range(50_000)}), id="parameters"),
    ],
)
def test_reading_ends_when_nobody_waits(text: bytes) -> None:
    """Wherever the many things are."""
    with giving_up_after(0.0), pytest.raises(GivenUp):
        plan_json_infer(MODELS["FP32"], forwarded(text))


MEASURE = """
    import json, resource
    from tests.unit.core.oip.test_hostile_json import AROUND, MIB, MODELS, UNITS, forwarded, hostile, status

    def peak_mib():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

    begin, end = AROUND["in data"]
    peaks = {"at rest": peak_mib()}
    for kind in UNITS:
        status(MODELS["BYTES"], forwarded(begin % b"BYTES" + hostile(kind, MIB // 4) + end))
        peaks[kind] = peak_mib()
    print(json.dumps(peaks))
"""


def test_memory_is_bounded() -> None:
    """The worst bodies need two hundred times their size."""
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(MEASURE)], check=True, capture_output=True, text=True)

    peaks = json.loads(run.stdout)
    assert peaks["examples"] - peaks["at rest"] < 200 // 4, peaks
