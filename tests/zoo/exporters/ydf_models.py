"""YDF: gradient boosted trees, whose operations are not TensorFlow's own."""

from __future__ import annotations

import importlib.metadata
import sys

import numpy as np
import tensorflow as tf
import ydf
from recording import SEED, Recorder

VERSIONS = {name: importlib.metadata.version(name) for name in ("ydf", "ydf-tf")}
zoo = Recorder(sys.argv[1], __file__, {**VERSIONS, "tensorflow": tf.__version__})


def main() -> None:
    """Write a model of two small trees."""
    random = np.random.RandomState(SEED)
    features = {"f1": random.uniform(size=60).astype(np.float32), "f2": random.uniform(size=60).astype(np.float32)}
    label = (features["f1"] + features["f2"]).astype(np.float32)
    learner = ydf.GradientBoostedTreesLearner(
        label="label", task=ydf.Task.REGRESSION, num_trees=2, max_depth=2, random_seed=SEED, validation_ratio=0.0
    )
    model = learner.train({**features, "label": label}, verbose=0)
    path = zoo.model("ydf_trees", "op-libraries", load_error="SimpleMLCreateModelResource")
    model.to_tensorflow_saved_model(path, mode="tf")
    three = {name: values[:3] for name, values in features.items()}
    zoo.call("ydf_trees", three, {"output": model.predict(three)})
    zoo.write()


if __name__ == "__main__":
    main()
