"""MLflow: where in its folders a SavedModel lies, if there is one."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile

import keras
import mlflow
import numpy as np
import tensorflow as tf
from recording import SEED, Recorder, normal

VERSIONS = {"mlflow": mlflow.__version__, "keras": keras.__version__, "tensorflow": tf.__version__}
zoo = Recorder(sys.argv[1], __file__, VERSIONS)


def files_of(folder: str) -> list[str]:
    """List the files of what MLflow wrote, but for those of the SavedModel itself."""
    found = [
        os.path.relpath(os.path.join(where, file), folder) for where, _, files in os.walk(folder) for file in files
    ]
    return sorted(one for one in found if "/variables" not in one and "fingerprint" not in one)


def module() -> None:
    """Write a tf.Module: the SavedModel is `tf2model/`."""
    half = tf.Module()
    half.slope = tf.Variable(0.5)
    half.__call__ = tf.function(
        lambda x: half.slope * x, input_signature=[tf.TensorSpec([None, 2], tf.float32, name="x")]
    )
    with tempfile.TemporaryDirectory() as folder:
        written = os.path.join(folder, "model")
        schema = mlflow.types.Schema([mlflow.types.TensorSpec(np.dtype(np.float32), (-1, 2))])
        mlflow.tensorflow.save_model(half, written, signature=mlflow.models.ModelSignature(inputs=schema))
        path = zoo.model("mlflow_module", "mlflow-module", layout=files_of(written))
        shutil.move(os.path.join(written, "tf2model"), path)
    zoo.call("mlflow_module", {"x": normal(3, 2)}, {"output_0": 0.5 * normal(3, 2)})


def keras_models() -> None:
    """Write a Keras model both ways: only one has a SavedModel, in `data/model/`."""
    keras.utils.set_random_seed(SEED)
    model = keras.Sequential([keras.Input((2,), name="features"), keras.layers.Dense(1)])
    signature = mlflow.models.infer_signature(normal(3, 2), np.asarray(model(normal(3, 2))))
    with tempfile.TemporaryDirectory() as folder:
        written = os.path.join(folder, "plain")
        mlflow.tensorflow.save_model(model, written, signature=signature)
        zoo.model("mlflow_keras_file", "mlflow-keras-file", layout=files_of(written), unservable=True)
        written = os.path.join(folder, "exported")
        mlflow.keras.save_model(model, written, save_exported_model=True, signature=signature)
        path = zoo.model("mlflow_keras_exported", "mlflow-keras-exported", layout=files_of(written))
        shutil.move(os.path.join(written, "data", "model"), path)
        path = zoo.model("mlflow_artifact", "mlflow-artifact", 7, subpath="data/model")
        mlflow.keras.save_model(model, path, save_exported_model=True, signature=signature)
    zoo.call("mlflow_keras_exported", {"inputs": normal(3, 2)}, {"output_0": model(normal(3, 2))})
    zoo.call("mlflow_artifact", {"inputs": normal(3, 2)}, {"output_0": model(normal(3, 2))}, version=7)


def main() -> None:
    """Write all models."""
    module()
    keras_models()
    zoo.write()


if __name__ == "__main__":
    main()
