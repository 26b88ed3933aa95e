"""Calls a SavedModel from some threads of this process, as ordered in JSON on standard input: PORT NAME=DIRECTORY..."""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from peer_models import port_and_folders
from tensorflow_model import Model


def calls(model: Model, array: np.ndarray, ends_s: float) -> list[float]:
    """Call until the time is up; gives each call's seconds."""
    latency_s = []
    while True:
        began_s = time.monotonic()
        model.predict(array)
        now_s = time.monotonic()
        latency_s.append(now_s - began_s)
        if now_s >= ends_s:
            return latency_s


def obey(models: dict[str, Model], order: dict[str, Any]) -> dict[str, Any]:
    array = np.random.default_rng(7).random(order["shape"], dtype=np.float32)
    if order["texts"] is not None:
        array = np.array(order["texts"], dtype=object)
    model, clients = models[order["model"]], order["clients"]
    began_s = time.monotonic()
    with ThreadPoolExecutor(clients) as pool:
        parts = list(pool.map(lambda _: calls(model, array, began_s + order["seconds"]), range(clients)))
    seconds = time.monotonic() - began_s
    latency_s = [one for part in parts for one in part]
    return {"seconds": seconds, "latency_s": latency_s, "values": model.predict(array).ravel().tolist()}


def main() -> None:
    _, folders = port_and_folders()
    models = {name: Model(folder) for name, folder in folders.items()}
    for line in sys.stdin:
        print(json.dumps(obey(models, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
