#!/usr/bin/env bash
# Versions: tritonclient 2.73.0, protobuf 6.33.6, grpcio 1.85.3, numpy 2.4.6.
# Behaviour: the gRPC client does not read typed contents of an answer, though the protocol lets a server choose that form.
#   It makes an empty array of numbers, which does not have the shape; of BYTES it wants an array without a copy, which
#   numpy 2 cannot make. Raw contents are read.
# Output seen:
#   raw FP32: [1.0, 2.0]
#   typed FP32: ValueError: cannot reshape array of size 0 into shape (2,)
#   typed BYTES: ValueError: Unable to avoid copy while creating an array as requested.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tritonclient[grpc]==2.73.0 protobuf==6.33.6 grpcio==1.85.3 numpy==2.4.6
"$folder/venv/bin/python" - <<'PROGRAM'
import struct

from tritonclient.grpc import InferResult, service_pb2


def read(datatype, raw=(), **contents):
    answer = service_pb2.ModelInferResponse(model_name="m", raw_output_contents=raw)
    output = answer.outputs.add(name="y", datatype=datatype, shape=[2])
    for field, values in contents.items():
        getattr(output.contents, field).extend(values)
    try:
        return InferResult(answer).as_numpy("y").tolist()
    except ValueError as error:
        return f"{type(error).__name__}: {error}".splitlines()[0]


seen = [
    read("FP32", raw=[struct.pack("<2f", 1.0, 2.0)]),
    read("FP32", fp32_contents=[1.0, 2.0]),
    read("BYTES", bytes_contents=[b"a", b"b"]),
]
print(f"raw FP32: {seen[0]}\ntyped FP32: {seen[1]}\ntyped BYTES: {seen[2]}")
assert seen[0] == [1.0, 2.0]
assert [one.partition(":")[0] for one in seen[1:]] == ["ValueError", "ValueError"]
PROGRAM
