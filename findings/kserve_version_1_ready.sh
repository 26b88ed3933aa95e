#!/usr/bin/env bash
# Versions: kserve 0.21.0, httpx 0.28.1.
# Behaviour: with the protocol "v1", InferenceRESTClient asks TensorFlow Serving's own path whether a model is ready, and reads a
#   field that TensorFlow Serving does not have: a model that is AVAILABLE is never ready, without an error. A transformer with
#   the health check of its predictor switched on therefore never gets ready in front of TensorFlow Serving.
# Output seen:
#   TensorFlow Serving, AVAILABLE: None
#   the same with "ready": true: True
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet kserve==0.21.0 httpx==0.28.1
"$folder/venv/bin/python" - <<'PROGRAM'
import asyncio

import httpx
from kserve import InferenceRESTClient, RESTConfig

OK = {"error_code": "OK", "error_message": ""}
AVAILABLE = {"model_version_status": [{"version": "1", "state": "AVAILABLE", "status": OK}]}


async def ready(body):
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json=body))
    async with InferenceRESTClient(RESTConfig(protocol="v1", transport=transport)) as client:
        return await client.is_model_ready("http://server", "m")


seen = [asyncio.run(ready(body)) for body in (AVAILABLE, AVAILABLE | {"ready": True})]
print(f'TensorFlow Serving, AVAILABLE: {seen[0]}\nthe same with "ready": true: {seen[1]}')
assert seen == [None, True]
PROGRAM
