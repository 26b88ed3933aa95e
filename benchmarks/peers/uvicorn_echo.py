"""The least that a Python HTTP server can do: uvicorn sends the body back: PORT"""

from __future__ import annotations

import sys
from typing import Any

import uvicorn


async def app(_: Any, receive: Any, send: Any) -> None:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            break
    body = b"".join(parts)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    options = {"loop": "uvloop", "http": "httptools", "lifespan": "off", "access_log": False, "log_level": "warning"}
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), **options)
