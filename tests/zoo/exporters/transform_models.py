"""tensorflow-transform: the graph that a pipeline writes for serving."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile

import apache_beam as beam
import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from recording import Recorder
from tensorflow_transform.tf_metadata import dataset_metadata, schema_utils

VERSIONS = {"tensorflow-transform": tft.__version__, "apache-beam": beam.__version__, "tensorflow": tf.__version__}
zoo = Recorder(sys.argv[1], __file__, VERSIONS)
ROWS = [{"age": 20.0, "city": "Bonn"}, {"age": 40.0, "city": "Ulm"}, {"age": 60.0, "city": "Bonn"}]


def preprocessed(features: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Scale a number, and look a word up in the vocabulary of the data."""
    return {
        "age": tft.scale_to_0_1(features["age"]),
        "city": tft.compute_and_apply_vocabulary(features["city"]),
    }


def main() -> None:
    """Analyze three rows and write the graph."""
    spec = {"age": tf.io.FixedLenFeature([], tf.float32), "city": tf.io.FixedLenFeature([], tf.string)}
    metadata = dataset_metadata.DatasetMetadata(schema_utils.schema_from_feature_spec(spec))
    with tempfile.TemporaryDirectory() as folder, tft_beam.Context(os.path.join(folder, "analysis")):
        (_, _), transform = (ROWS, metadata) | tft_beam.AnalyzeAndTransformDataset(preprocessed)
        output = os.path.join(folder, "output")
        _ = transform | tft_beam.WriteTransformFn(output)
        layer = tft.TFTransformOutput(output).transform_features_layer()
        given = {"age": [30.0, 60.0], "city": [b"Ulm", b"Bonn"]}
        answers = layer({key: tf.constant(value) for key, value in given.items()})
        shutil.move(os.path.join(output, "transform_fn"), zoo.model("transform", "transform"))
    inputs = {"inputs": np.array(given["age"], np.float32), "inputs_1": given["city"]}
    zoo.call("transform", inputs, dict(answers))
    zoo.write()


if __name__ == "__main__":
    main()
