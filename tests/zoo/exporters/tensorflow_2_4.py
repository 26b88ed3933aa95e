"""TensorFlow 2.4: Keras 2's SavedModels, and estimators."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile

import numpy as np
import tensorflow as tf
from recording import SEED, Recorder, normal

zoo = Recorder(sys.argv[1], __file__, {"tensorflow": tf.__version__})
XS = np.array([[0.25], [-3.5], [2.0]], np.float32)


def keras_model() -> None:
    """Write a model as `model.save` did."""
    tf.random.set_seed(SEED)
    model = tf.keras.Sequential([tf.keras.layers.Dense(1, input_shape=(3,), name="score")])
    model.save(zoo.model("tf24_keras", "tf24"), include_optimizer=False)
    x = normal(4, 3)
    zoo.call("tf24_keras", {"score_input": x}, {"score": model(x)})


def columns() -> list:
    """Describe the only feature."""
    return [tf.feature_column.numeric_column("x")]


def export(estimator: tf.estimator.Estimator, name: str) -> None:
    """Train for a step and write the model as estimators do: parse examples, predict, classify and regress."""
    labels = np.array([0, 1, 0])
    estimator.train(lambda: tf.data.Dataset.from_tensors(({"x": XS}, labels)).repeat(), steps=3)
    spec = tf.feature_column.make_parse_example_spec(columns())
    receiver = tf.estimator.export.build_parsing_serving_input_receiver_fn(spec)
    with tempfile.TemporaryDirectory() as folder:
        made = estimator.export_saved_model(folder, receiver)
        shutil.move(os.fsdecode(made), zoo.model(name, "estimators"))


def predictions(estimator: tf.estimator.Estimator) -> list:
    """Return what the estimator itself predicts."""
    return list(estimator.predict(lambda: tf.data.Dataset.from_tensors({"x": XS})))


def estimators() -> None:
    """Write a classifier and a regressor."""
    examples = [{"x": float(one)} for one in XS.ravel()]
    with tempfile.TemporaryDirectory() as folder:
        config = tf.estimator.RunConfig(folder, tf_random_seed=SEED)
        classifier = tf.estimator.LinearClassifier(columns(), config=config)
        export(classifier, "estimator_classifier")
        told = predictions(classifier)
        outputs = {
            "classes": [one["all_classes"] for one in told],
            "scores": [one["probabilities"] for one in told],
        }
        zoo.call("estimator_classifier", {}, outputs, method="classify", examples=examples)
    with tempfile.TemporaryDirectory() as folder:
        regressor = tf.estimator.LinearRegressor(columns(), config=tf.estimator.RunConfig(folder, tf_random_seed=SEED))
        export(regressor, "estimator_regressor")
        outputs = {"outputs": [one["predictions"] for one in predictions(regressor)]}
        zoo.call("estimator_regressor", {}, outputs, method="regress", examples=examples)


def main() -> None:
    """Write all models."""
    keras_model()
    estimators()
    zoo.write()


if __name__ == "__main__":
    main()
