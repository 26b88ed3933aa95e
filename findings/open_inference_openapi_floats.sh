#!/usr/bin/env bash
# Versions: open-inference-openapi 2.0.0.1, pydantic 2.14.4, httpx 0.28.1.
# Behaviour: the generated client sends integers and booleans as floats, also where the datatype of the tensor is INT64 or
#   BOOL, so that an INT64 beyond 2 ** 53 arrives as another number, and servers that refuse 1.0 as a BOOL refuse it all.
# Output seen:
#   INT64 [1, 9007199254740993] is sent as [1.0, 9007199254740992.0]
#   BOOL [True, False] is sent as [1.0, 0.0]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet open-inference-openapi==2.0.0.1 pydantic==2.14.4 httpx==0.28.1
"$folder/venv/bin/python" - <<'PROGRAM'
import json

import httpx
from open_inference.openapi.client import OpenInferenceClient
from open_inference.openapi.types import InferenceRequest, RequestInput

bodies = []


def answer(request):
    bodies.append(json.loads(request.content))
    return httpx.Response(200, json={"model_name": "m", "outputs": []})


client = OpenInferenceClient(
    base_url="http://server", httpx_client=httpx.Client(transport=httpx.MockTransport(answer))
)
for datatype, data in (("INT64", [1, 2**53 + 1]), ("BOOL", [True, False])):
    tensor = RequestInput(name="x", shape=[2], datatype=datatype, data=data)
    client.model_infer("m", request=InferenceRequest(inputs=[tensor]))
    print(f"{datatype} {data} is sent as {bodies[-1]['inputs'][0]['data']}")
sent = [body["inputs"][0]["data"] for body in bodies]
assert sent == [[1.0, 2.0**53], [1.0, 0.0]]
assert {type(one) for data in sent for one in data} == {float}
PROGRAM
