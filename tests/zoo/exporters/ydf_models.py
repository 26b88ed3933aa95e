"""YDF: decision forests, whose operations are not TensorFlow's own."""

from __future__ import annotations

import importlib.metadata
import sys

import numpy as np
import tensorflow as tf
import ydf
from recording import SEED, Recorder

VERSIONS = {name: importlib.metadata.version(name) for name in ("ydf", "ydf-tf")}
zoo = Recorder(sys.argv[1], __file__, {**VERSIONS, "tensorflow": tf.__version__})


def trees() -> None:
    """Write a regression of two small trees."""
    random = np.random.RandomState(SEED)
    features = {"f1": random.uniform(size=60).astype(np.float32), "f2": random.uniform(size=60).astype(np.float32)}
    label = (features["f1"] + features["f2"]).astype(np.float32)
    learner = ydf.GradientBoostedTreesLearner(
        label="label", task=ydf.Task.REGRESSION, num_trees=2, max_depth=2, random_seed=SEED, validation_ratio=0.0
    )
    model = learner.train({**features, "label": label}, verbose=0)
    path = zoo.model("ydf_trees", "op-libraries")
    model.to_tensorflow_saved_model(path, mode="tf")
    three = {name: values[:3] for name, values in features.items()}
    zoo.call("ydf_trees", three, {"output": model.predict(three)})


def forest() -> None:
    """Write a classification of three classes by a number and a word."""
    random = np.random.RandomState(SEED)
    size = random.uniform(size=90).astype(np.float32)
    colour = random.choice(["red", "green", "blue"], size=90)
    label = np.where(colour == "red", "apple", np.where(size > 0.5, "melon", "plum"))
    learner = ydf.RandomForestLearner(label="label", num_trees=5, max_depth=3, random_seed=SEED)
    model = learner.train({"size": size, "colour": colour, "label": label}, verbose=0)
    path = zoo.model("ydf_forest", "op-libraries")
    model.to_tensorflow_saved_model(path, mode="tf")
    asked = {
        "size": np.array([0.1, 0.9, 0.4, 0.75], np.float32),
        "colour": np.array(["red", "green", "blue", "never seen"]),
    }
    zoo.call("ydf_forest", asked, {"output": model.predict(asked)})


def main() -> None:
    """Write both."""
    trees()
    forest()
    zoo.write()


if __name__ == "__main__":
    main()
