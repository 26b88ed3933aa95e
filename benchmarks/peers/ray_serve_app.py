"""Ray Serve as its documentation leads one to write it: a router in front of one deployment a model.

PORT NAME=DIRECTORY...
"""

from __future__ import annotations

import signal
from typing import Any

import ray
from peer_models import port_and_folders
from ray import serve
from starlette.requests import Request
from tensorflow_model import Model


@serve.deployment(ray_actor_options={"num_cpus": 0.1})  # so that all fit on a small machine
class Predictor:
    def __init__(self, folder: str) -> None:
        self._model = Model(folder)

    def __call__(self, instances: list[Any]) -> list[Any]:
        return self._model.predict(instances).tolist()


@serve.deployment(ray_actor_options={"num_cpus": 0.1})  # so that all fit on a small machine
class Router:
    def __init__(self, predictors: dict[str, Any]) -> None:
        self._predictors = predictors

    async def __call__(self, request: Request) -> dict[str, Any]:
        name = request.url.path.removeprefix("/v1/models/").removesuffix(":predict")
        instances = (await request.json())["instances"]
        return {"predictions": await self._predictors[name].remote(instances)}


def main() -> None:
    port, folders = port_and_folders()
    ray.init(address="local", include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    predictors = {name: Predictor.options(name=name).bind(folder) for name, folder in folders.items()}
    serve.run(Router.bind(predictors))
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main()
