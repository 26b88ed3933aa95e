"""tensorflow-text: an operation that is not TensorFlow's own."""

from __future__ import annotations

import sys

import numpy as np
import tensorflow as tf
import tensorflow_text
from recording import Recorder

zoo = Recorder(sys.argv[1], __file__, {"tensorflow-text": tensorflow_text.__version__, "tensorflow": tf.__version__})


def main() -> None:
    """Write a function that folds the case of words."""
    fold = tf.function(
        lambda text: {"folded": tensorflow_text.case_fold_utf8(text)},
        input_signature=[tf.TensorSpec([None], tf.string, name="text")],
    )
    path = zoo.model("text_case_fold", "op-libraries", load_error="CaseFoldUTF8")
    tf.saved_model.save(tf.Module(), path, signatures=fold)
    text = np.array(["Straße".encode(), b"TEA"], dtype=object)
    zoo.call("text_case_fold", {"text": text}, fold(tf.constant(text)))
    zoo.write()


if __name__ == "__main__":
    main()
