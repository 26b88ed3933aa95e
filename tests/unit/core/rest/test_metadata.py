"""Tests of status and metadata bodies."""

from __future__ import annotations

import json

import pytest

from core.errors import Code
from core.inference.signature import ServedModel
from core.protos import serving_pb2, tensor_pb2
from core.rest.metadata import metadata_body, status_body
from core.versions.lifecycle import State, VersionStatus
from core.versions.status_message import status_response

AVAILABLE_123 = VersionStatus(123, State.AVAILABLE)
STATUS_123 = b"""{
 "model_version_status": [
  {
   "version": "123",
   "state": "AVAILABLE",
   "status": {
    "error_code": "OK",
    "error_message": ""
   }
  }
 ]
}
"""


@pytest.mark.parametrize(
    "entries", [pytest.param((AVAILABLE_123,), id="case_E1"), pytest.param([AVAILABLE_123], id="case_E3")]
)
def test_a_status_is_printed_as_protobuf_prints_it(entries) -> None:
    """Indentation, strings for integers and the newline at the end are part of the format."""
    assert status_body(entries) == STATUS_123


def test_case_E8_versions_are_listed_newest_first() -> None:
    """Whatever order the caller has them in."""
    entries = [AVAILABLE_123, VersionStatus(124, State.AVAILABLE)]

    listed = json.loads(status_body(entries))["model_version_status"]
    parsed = serving_pb2.GetModelStatusResponse.FromString(status_response(entries)).model_version_status

    assert [one["version"] for one in listed] == ["124", "123"]
    assert [one.version for one in parsed] == [124, 123]
    assert all(one.status.error_code == 0 and not one.status.error_message for one in parsed)


def test_case_E9_one_version_is_one_entry() -> None:
    """The status message is present even when all is well."""
    (only,) = serving_pb2.GetModelStatusResponse.FromString(status_response([AVAILABLE_123])).model_version_status

    assert (only.version, only.state) == (123, 30)
    assert only.HasField("status")


@pytest.mark.parametrize("state", list(State))
def test_every_state_has_its_name_and_number(state) -> None:
    """The numbers are those of the wire."""
    entry = VersionStatus(1, state)

    assert json.loads(status_body([entry]))["model_version_status"][0]["state"] == state.name
    (only,) = serving_pb2.GetModelStatusResponse.FromString(status_response([entry])).model_version_status
    assert only.state == state


def test_an_error_is_told_with_code_and_text() -> None:
    """Characters that JSON printers of protobuf escape are escaped, others are not."""
    body = status_body([VersionStatus(1, State.END, Code.NOT_FOUND, "no <dir> für\n\x7f")])

    assert '"error_code": "NOT_FOUND"' in body.decode()
    assert '"error_message": "no \\u003cdir\\u003e für\\n\\u007f"' in body.decode()


@pytest.mark.parametrize(("is_ready", "printed"), [(True, b"true"), (False, b"false")])
def test_the_readiness_of_a_model_comes_after_what_tensorflow_serving_says(*, is_ready: bool, printed: bytes) -> None:
    """All before it is the same to the byte."""
    body = status_body([AVAILABLE_123], is_ready=is_ready)

    assert body == STATUS_123.removesuffix(b"\n}\n") + b',\n "ready": ' + printed + b"\n}\n"


def test_no_versions_are_an_empty_list() -> None:
    """The list itself is always there."""
    assert status_body([]) == b'{\n "model_version_status": []\n}\n'


def test_metadata_shows_all_signatures_with_their_defaults() -> None:
    """Everything is printed, also what has its default value; a label never is."""
    info = tensor_pb2.TensorInfo(name="x:0", dtype="DT_FLOAT")
    info.tensor_shape.dim.add(size=-1)
    unknown = tensor_pb2.TensorInfo(name="y:0", dtype="DT_STRING", tensor_shape={"unknown_rank": True})
    definition = tensor_pb2.SignatureDef(
        inputs={"x": info}, outputs={"y": unknown}, method_name="tensorflow/serving/predict"
    )
    signatures = serving_pb2.SignatureDefMap(signature_def={"serving_default": definition})

    body = metadata_body(ServedModel("m", 123, {}, signatures.SerializeToString()))

    assert body.endswith(b"}\n")
    assert b'{\n "model_spec": {\n  "name": "m",' in body
    assert json.loads(body) == {
        "model_spec": {"name": "m", "signature_name": "", "version": "123"},
        "metadata": {
            "signature_def": {
                "signature_def": {
                    "serving_default": {
                        "inputs": {
                            "x": {
                                "dtype": "DT_FLOAT",
                                "tensor_shape": {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False},
                                "name": "x:0",
                            }
                        },
                        "outputs": {
                            "y": {
                                "dtype": "DT_STRING",
                                "tensor_shape": {"dim": [], "unknown_rank": True},
                                "name": "y:0",
                            }
                        },
                        "method_name": "tensorflow/serving/predict",
                        "defaults": {},
                    }
                }
            }
        },
    }


def test_metadata_names_references_to_variables() -> None:
    """Models of TensorFlow 1 declare them, and the number alone would tell nobody anything."""
    info = tensor_pb2.TensorInfo.FromString(b"\x0a\x03w:0\x10\x65")
    definition = tensor_pb2.SignatureDef(outputs={"w": info})
    signatures = serving_pb2.SignatureDefMap(signature_def={"read": definition})

    document = json.loads(metadata_body(ServedModel("m", 1, {}, signatures.SerializeToString())))

    assert document["metadata"]["signature_def"]["signature_def"]["read"]["outputs"]["w"]["dtype"] == "DT_FLOAT_REF"
