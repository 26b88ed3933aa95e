"""Asks the server of examples/hooks which colour a picture has, over REST and over gRPC.

python examples/hooks/ask.py PICTURE.jpg
"""

from __future__ import annotations

import base64
import json
import sys
import urllib.request
from pathlib import Path
from typing import Any

from ray_model_client import Client


def ask_rest(address: str, *jpegs: bytes) -> list[dict[str, Any]]:
    """Return the labels and scores of each picture; bytes are base64 in JSON."""
    instances = [{"b64": base64.b64encode(one).decode()} for one in jpegs]
    request = urllib.request.Request(
        f"http://{address}/v1/models/colours:predict", json.dumps({"instances": instances}).encode()
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)["predictions"]


def ask_grpc(address: str, *jpegs: bytes) -> list[list[str]]:
    """Return the labels of each picture."""
    with Client(address) as client:
        outputs = client.predict("colours", {"jpeg": list(jpegs)})
    return [[label.decode() for label in row] for row in outputs["labels"]]


if __name__ == "__main__":
    jpeg = Path(sys.argv[1]).read_bytes()
    print(ask_rest("127.0.0.1:8501", jpeg))
    print(ask_grpc("127.0.0.1:8500", jpeg))
