"""BentoML with one worker. The models come as NAME=DIRECTORY in the variable MODELS."""

from __future__ import annotations

import os
from typing import Any

import bentoml
from peer_models import folders
from tensorflow_model import Model


@bentoml.service(workers=1, traffic={"timeout": 60})
class Models:
    def __init__(self) -> None:
        self.models = {name: Model(folder) for name, folder in folders(os.environ["MODELS"].split()).items()}

    def answer(self, name: str, instances: Any) -> dict[str, Any]:
        return {"predictions": self.models[name].predict(instances).tolist()}

    @bentoml.api(route="/v1/models/mlp:predict")
    def mlp(self, instances: list) -> dict:
        return self.answer("mlp", instances)

    @bentoml.api(route="/v1/models/image:predict")
    def image(self, instances: list) -> dict:
        return self.answer("image", instances)
