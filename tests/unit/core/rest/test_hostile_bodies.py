"""Bodies that nobody sends by accident: the server refuses them quickly, and with bounded memory."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import HTTP_STATUS, InvalidArgument, ServingError
from core.inference.dtypes import DataType
from core.inference.run_plan import RunPlan
from core.inference.signature import ServedModel, Signature
from core.json import columns as json_columns
from core.json import document as json_document
from core.rest import examples as rest_examples
from core.rest import predict as rest_predict
from tests.support.hostile_bodies import UNITS, hostile
from tests.support.served_models import half_plus_two, spec, with_signature

pytestmark = pytest.mark.usefixtures("lists_cut")

MIB = 2**20
SMALL = 30_000
METHODS: dict[str, Callable[[ServedModel, bytes], RunPlan]] = {
    "predict": rest_predict.plan_predict,
    "classify": rest_examples.plan_classify,
    "regress": rest_examples.plan_regress,
}


def status(method: str, model: ServedModel, body: bytes) -> int:
    """Return the HTTP status that planning comes to; anything but a ServingError would be a defect."""
    try:
        METHODS[method](model, body)
    except ServingError as error:
        return HTTP_STATUS[error.code]
    return 200


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", UNITS)
def test_hostile_bodies_are_answered(kind: str, method: str) -> None:
    """With 200 or 400, whatever is repeated thousands of times."""
    assert status(method, half_plus_two(), hostile(kind, SMALL)) in {200, 400}


ALPHABET = [*'{}[],:"', "instances", "inputs", "examples", "b64", "NaN", "-Infinity", "1e400", "-0", "1.5", "\\ud800"]
PIECES = st.sampled_from(ALPHABET).map(str.encode) | st.binary(max_size=3)


@given(st.lists(PIECES, max_size=40).map(b"".join) | st.binary(max_size=60), st.sampled_from(list(METHODS)))
def test_no_body_is_a_defect_of_the_server(body: bytes, method: str) -> None:
    """Bytes of any kind, with and without the look of JSON."""
    assert status(method, half_plus_two(), body) in {200, 400}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**65), 2**65) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["x", "a", "b64"]), inner, max_size=2),
    max_leaves=6,
)
DTYPES = [dtype for dtype in DataType if dtype is not DataType.INVALID]


@given(VALUES, st.sampled_from(["instances", "inputs"]), st.sampled_from(DTYPES))
def test_no_type_of_an_input_is_a_defect_of_the_server(value: object, key: str, dtype: DataType) -> None:
    """Types that JSON cannot carry are unimplemented, as in TensorFlow Serving."""
    model = with_signature(Signature({"x": spec("x:0", dtype)}, {"y": spec("y:0")}))

    assert status("predict", model, json.dumps({key: value}).encode()) in {200, 400, 501}


def test_what_would_need_a_hundred_times_its_size_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The text says what would have been right; plain numbers are not meant."""
    monkeypatch.setattr(json_document, "LARGEST_DOCUMENT_BYTES", MIB)
    model = half_plus_two()

    with pytest.raises(InvalidArgument, match=r"need 2 MiB of memory, of which a request may have 1 MiB\. Send fewer"):
        rest_predict.plan_predict(model, hostile("empty objects", SMALL))
    assert status("predict", model, hostile("integers", SMALL)) == 200
    assert status("predict", model, hostile("empty objects", SMALL // 100)) == 400


MEASURE = """
    import json, resource, sys
    from tests.unit.core.rest.test_hostile_bodies import MIB, UNITS, half_plus_two, hostile, status

    def peak_mib():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

    model, peaks = half_plus_two(), {"at rest": peak_mib()}
    for kind in UNITS:
        status("predict", model, hostile(kind, MIB // 4))
        peaks[kind] = peak_mib()
    for kind in ("empty objects", "zeros"):
        status("predict", model, hostile(kind, 64 * MIB))
        peaks["64 MiB of " + kind] = peak_mib()
    print(json.dumps(peaks))
"""


def test_memory_is_bounded() -> None:
    """The worst bodies need two hundred times their size, and large ones are not read before that is known."""
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(MEASURE)], check=True, capture_output=True, text=True)

    peaks = json.loads(run.stdout)
    assert peaks["examples"] - peaks["at rest"] < 200 // 4, peaks
    assert peaks["64 MiB of zeros"] - peaks["examples"] < 64 * 12, peaks


def test_very_many_rows_are_weighed_before_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fast lane takes no more rows than cost nothing worth mentioning; the answer is the same."""
    body = b'{"instances":[{"x":1},{"x":2},{"x":3}]}'
    quick = rest_predict.plan_predict(half_plus_two(), body).feeds
    monkeypatch.setattr(json_columns, "MOST_ROWS", 2)
    monkeypatch.setattr(json_document, "LARGEST_DOCUMENT_BYTES", 2000)

    assert rest_predict.plan_predict(half_plus_two(), body).feeds["x:0"].tolist() == quick["x:0"].tolist()
    monkeypatch.setattr(json_document, "LARGEST_DOCUMENT_BYTES", 100)
    with pytest.raises(InvalidArgument, match="Send fewer examples"):
        rest_predict.plan_predict(half_plus_two(), body)
