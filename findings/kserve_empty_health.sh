#!/usr/bin/env bash
# Versions: kserve 0.21.0, httpx 0.28.1.
# Behaviour: InferenceRESTClient asks a server of the Open Inference Protocol whether it is live and ready, and raises a
#   JSONDecodeError when the answer is 200 with an empty body, as that of a server is that tells it by the status alone.
# Output seen:
#   200 with {"live": true}: True
#   200 with an empty body: JSONDecodeError
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet kserve==0.21.0 httpx==0.28.1
"$folder/venv/bin/python" - <<'PROGRAM'
import asyncio
import json

import httpx
from kserve import InferenceRESTClient, RESTConfig


async def live(body):
    transport = httpx.MockTransport(lambda request: httpx.Response(200, content=body))
    async with InferenceRESTClient(RESTConfig(protocol="v2", transport=transport)) as client:
        try:
            return await client.is_server_live("http://server")
        except json.JSONDecodeError as error:
            return type(error).__name__


seen = [asyncio.run(live(body)) for body in (b'{"live": true}', b"")]
print(f'200 with {{"live": true}}: {seen[0]}\n200 with an empty body: {seen[1]}')
assert seen == [True, "JSONDecodeError"]
PROGRAM
