"""FastAPI and TensorFlow in one uvicorn process, as a careful user writes it: PORT NAME=DIRECTORY..."""

from __future__ import annotations

import orjson
import uvicorn
from fastapi import FastAPI, Request, Response
from peer_models import port_and_folders
from tensorflow_model import Model

port, folders = port_and_folders()
models = {name: Model(folder) for name, folder in folders.items()}
app = FastAPI()


@app.post("/v1/models/{name}:predict")
async def predict(name: str, request: Request) -> Response:
    body = orjson.loads(await request.body())
    scores = models[name].predict(body["instances"])
    answer = orjson.dumps({"predictions": scores}, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(answer, media_type="application/json")


uvicorn.run(app, host="127.0.0.1", port=port, loop="uvloop", http="httptools", access_log=False, log_level="warning")
