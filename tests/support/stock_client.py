"""TensorFlow Serving's own client in an environment of its own, and the program that runs there.

`python stock_client.py GRPC_ADDRESS MODELS NAME...` (with that environment) calls every signature of the named models
through the stock stubs, compares with the model run in process, and prints a line of JSON.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

REQUIREMENTS = Path(__file__).with_name("stock_client_requirements.txt")
FINISHED = ".finished"


def environment(cache: Path) -> Path:
    """Give the Python of the stock client's environment, made now if the cache does not have it."""
    folder = cache / f"stock-client-{hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:12]}"
    cache.mkdir(parents=True, exist_ok=True)
    python = folder / "bin" / "python"
    with (cache / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / FINISHED).exists():
            uv = str(Path(sys.executable).with_name("uv"))
            subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, folder], check=True)
            install = [uv, "pip", "install", "--quiet", "--python", python, "--requirement", REQUIREMENTS]
            subprocess.run(install, check=True)
            (folder / FINISHED).touch()
    return python


def compare(address: str, models: Path, names: list[str]) -> dict[str, Any]:
    """Call every recorded input through the stock stubs; give what was compared and what differed."""
    import grpc  # noqa: PLC0415 - these exist in the stock client's environment only
    import numpy as np  # noqa: PLC0415
    import tensorflow as tf  # noqa: PLC0415
    from tensorflow_serving.apis import (  # noqa: PLC0415
        get_model_metadata_pb2,
        get_model_status_pb2,
        model_service_pb2_grpc,
        predict_pb2,
        prediction_service_pb2_grpc,
    )

    channel = grpc.insecure_channel(address)
    prediction = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    status = model_service_pb2_grpc.ModelServiceStub(channel)
    compared, different = 0, []
    for name in names:
        path = models / name / "1"
        loaded = tf.saved_model.load(str(path), tags=["serve"])
        for key, function in loaded.signatures.items():
            inputs = {
                one: _value(spec, np.random.default_rng(7))
                for one, spec in function.structured_input_signature[1].items()
            }
            request = predict_pb2.PredictRequest()
            request.model_spec.name = name
            request.model_spec.signature_name = key
            for one, value in inputs.items():
                request.inputs[one].CopyFrom(tf.make_tensor_proto(value))
            answer = prediction.Predict(request, timeout=60)
            for output, expected in function(**{k: tf.constant(v) for k, v in inputs.items()}).items():
                got = tf.make_ndarray(answer.outputs[output])
                compared += 1
                if got.dtype != expected.numpy().dtype or got.tolist() != expected.numpy().tolist():
                    different.append(f"{name} {key} {output}")
        asked = get_model_status_pb2.GetModelStatusRequest()
        asked.model_spec.name = name
        versions = [one.version for one in status.GetModelStatus(asked, timeout=60).model_version_status]
        described = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        described.model_spec.name = name
        metadata = prediction.GetModelMetadata(described, timeout=60).metadata["signature_def"]
        signatures = get_model_metadata_pb2.SignatureDefMap()
        if versions != [1] or not metadata.Unpack(signatures) or not signatures.signature_def:
            different.append(f"{name} status or metadata")
    return {"compared": compared, "different": different}


def _value(spec: Any, random: Any) -> Any:
    """Make an input that fits a tensor spec: two of each unknown dimension."""
    import numpy as np  # noqa: PLC0415

    shape = [2] if spec.shape.rank is None else [2 if size is None else size for size in spec.shape]
    if spec.dtype.name == "string":
        return np.array([b"some", b"words"] if shape else b"word", dtype=object)
    return (random.random(shape) * 10).astype(spec.dtype.as_numpy_dtype)


if __name__ == "__main__":
    print(json.dumps(compare(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])))
