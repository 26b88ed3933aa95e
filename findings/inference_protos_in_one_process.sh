#!/usr/bin/env bash
# Versions: tritonclient 2.73.0, open-inference-grpc 2.0.0, protobuf 6.33.6, grpcio 1.85.3, numpy 2.4.6.
# Behaviour: the two clients of one protocol cannot be imported in one process: both register messages of the package
#   `inference`, in files of different names, and protobuf refuses the second. Each alone works. open-inference-grpc
#   needs protobuf besides, which it does not require.
# Output seen:
#   tritonclient.grpc: imported
#   open_inference.grpc.service: imported
#   both: TypeError
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tritonclient[grpc]==2.73.0 protobuf==6.33.6 grpcio==1.85.3 numpy==2.4.6
"$folder/venv/bin/pip" install --quiet open-inference-grpc==2.0.0
cat > "$folder/imports.py" <<'PROGRAM'
import importlib
import sys

try:
    for name in sys.argv[1:]:
        importlib.import_module(name)
    print("imported")
except TypeError as error:
    print(type(error).__name__)
PROGRAM
triton=$("$folder/venv/bin/python" "$folder/imports.py" tritonclient.grpc)
pure=$("$folder/venv/bin/python" "$folder/imports.py" open_inference.grpc.service)
both=$("$folder/venv/bin/python" "$folder/imports.py" tritonclient.grpc open_inference.grpc.service)
printf 'tritonclient.grpc: %s\nopen_inference.grpc.service: %s\nboth: %s\n' "$triton" "$pure" "$both"
[ "$triton $pure $both" = "imported imported TypeError" ]
