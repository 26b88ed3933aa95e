#!/usr/bin/env bash
# Versions: kserve 0.21.0, numpy 2.4.6.
# Behaviour: the REST client decodes BYTES of a binary answer as UTF-8 and raises an InferenceError for other ones, with the
#   advice to use the binary form, in which they came. Those that are UTF-8 become texts. The gRPC client gives bytes.
# Output seen:
#   b'\xc3\xa4' over REST: 'ä'
#   b'\xff' over REST: InferenceError
#   b'\xff' over gRPC: b'\xff'
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet kserve==0.21.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PROGRAM'
import json
import struct

from kserve import InferResponse
from kserve.errors import InferenceError
from kserve.protocol.grpc.grpc_predict_v2_pb2 import ModelInferResponse


def raw(element):
    return struct.pack("<I", len(element)) + element


def over_rest(element):
    output = {"name": "y", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(raw(element))}}
    head = json.dumps({"model_name": "m", "outputs": [output]}).encode()
    try:
        return InferResponse.from_bytes(head + raw(element), len(head)).outputs[0].as_numpy()[0]
    except InferenceError as error:
        return type(error).__name__


def over_grpc(element):
    answer = ModelInferResponse(model_name="m", raw_output_contents=[raw(element)])
    answer.outputs.add(name="y", datatype="BYTES", shape=[1])
    return InferResponse.from_grpc(answer).outputs[0].as_numpy()[0]


seen = [over_rest("ä".encode()), over_rest(b"\xff"), over_grpc(b"\xff")]
print(f"b'\\xc3\\xa4' over REST: {seen[0]!r}\nb'\\xff' over REST: {seen[1]}\nb'\\xff' over gRPC: {seen[2]!r}")
assert seen == ["ä", "InferenceError", b"\xff"]
PROGRAM
