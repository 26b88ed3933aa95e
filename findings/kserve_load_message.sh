#!/usr/bin/env bash
# Versions: kserve 0.21.0, tritonclient 2.73.0, protobuf 6.33.6, grpcio 1.85.3.
# Behaviour: RepositoryModelLoadRequest of the service inference.GRPCInferenceService has the model's name in field 1 for
#   KServe, and in field 2 for Triton, whose field 1 is the name of a repository. What one client sends to load a model,
#   the other one's server reads as a request without a model.
# Output seen:
#   tritonclient: 1 repository_name, 2 model_name, 3 parameters
#   kserve: 1 model_name
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tritonclient[grpc]==2.73.0 kserve==0.21.0 protobuf==6.33.6 grpcio==1.85.3
cat > "$folder/fields.py" <<'PROGRAM'
import importlib
import sys

messages = importlib.import_module(sys.argv[1])
fields = messages.RepositoryModelLoadRequest.DESCRIPTOR.fields
print(", ".join(f"{one.number} {one.name}" for one in sorted(fields, key=lambda one: one.number)))
PROGRAM
triton=$("$folder/venv/bin/python" "$folder/fields.py" tritonclient.grpc.service_pb2)
kserve=$("$folder/venv/bin/python" "$folder/fields.py" kserve.protocol.grpc.grpc_predict_v2_pb2)
printf 'tritonclient: %s\nkserve: %s\n' "$triton" "$kserve"
[ "$triton" = "1 repository_name, 2 model_name, 3 parameters" ] && [ "$kserve" = "1 model_name" ]
