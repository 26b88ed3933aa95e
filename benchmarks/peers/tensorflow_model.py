"""A SavedModel behind Python TensorFlow, called through its serving_default signature."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf


class Model:
    def __init__(self, folder: str) -> None:
        self._loaded = tf.saved_model.load(folder)
        self._signature = self._loaded.signatures["serving_default"]
        ((self._input, spec),) = self._signature.structured_input_signature[1].items()
        self._dtype = spec.dtype
        (self._output,) = self._signature.structured_outputs

    def predict(self, rows: Any) -> np.ndarray:
        tensor = tf.constant(np.asarray(rows, self._dtype.as_numpy_dtype))
        return self._signature(**{self._input: tensor})[self._output].numpy()
