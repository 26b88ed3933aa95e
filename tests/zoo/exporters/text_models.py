"""tensorflow-text: operations that are not TensorFlow's own."""

from __future__ import annotations

import functools
import sys

import numpy as np
import tensorflow as tf
import tensorflow_text
from recording import Recorder, normal

zoo = Recorder(sys.argv[1], __file__, {"tensorflow-text": tensorflow_text.__version__, "tensorflow": tf.__version__})

TEXTS = np.array(["Straße und TEA".encode(), b"unaffable  tea, tea!", "naïve 茶 drinkers".encode(), b""], dtype=object)
PIECES = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "un",
    "##aff",
    "##able",
    "tea",
    "stra",
    "##ss",
    "##e",
    "und",
    "naive",
    "drink",
    "##er",
    "##s",
    "!",
    ",",
]
LONGEST = 8


def fold_case() -> None:
    """Write a function that folds the case of words."""
    fold = tf.function(
        lambda text: {"folded": tensorflow_text.case_fold_utf8(text)},
        input_signature=[tf.TensorSpec([None], tf.string, name="text")],
    )
    tf.saved_model.save(tf.Module(), zoo.model("text_case_fold", "op-libraries"), signatures=fold)
    text = np.array(["Straße".encode(), b"TEA"], dtype=object)
    zoo.call("text_case_fold", {"text": text}, fold(tf.constant(text)))


def tokens() -> None:
    """Write a tokenizer whose ragged answer is made dense."""

    class Tokens(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
        def words(self, text):
            found = tensorflow_text.WhitespaceTokenizer().tokenize(text)
            return {"words": found.to_tensor("", shape=[None, LONGEST]), "count": found.row_lengths()}

    module = Tokens()
    tf.saved_model.save(module, zoo.model("text_tokens", "op-libraries"), signatures=module.words)
    zoo.call("text_tokens", {"text": TEXTS}, module.words(tf.constant(TEXTS)))


def net(ids: tf.Tensor, mask: tf.Tensor, embedding: tf.Variable, dense: tf.Variable) -> tf.Tensor:
    """Return probabilities of two classes: the mean of the embeddings, and one dense layer."""
    weights = tf.cast(mask, tf.float32)[:, :, tf.newaxis]
    mean = tf.reduce_sum(tf.nn.embedding_lookup(embedding, ids) * weights, 1) / tf.reduce_sum(weights, 1)
    return tf.nn.softmax(mean @ dense)


def encoder() -> None:
    """Write what serves a BERT: texts in, WordPiece tokens in the graph, segments packed for the encoder."""

    class Encoder(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            ids = tf.constant(list(range(len(PIECES))), tf.int64)
            table = tf.lookup.KeyValueTensorInitializer(tf.constant(PIECES), ids)
            self.table = tf.lookup.StaticVocabularyTable(table, 1)
            self.tokenizer = tensorflow_text.BertTokenizer(self.table, token_out_type=tf.int32, lower_case=True)
            self.embedding = tf.Variable(normal(len(PIECES) + 1, 4))
            self.dense = tf.Variable(normal(4, 2))

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
        def classify(self, text):
            pieces = self.tokenizer.tokenize(text).merge_dims(-2, -1)
            trimmed = tensorflow_text.RoundRobinTrimmer(LONGEST - 2).trim([pieces])
            start, end = PIECES.index("[CLS]"), PIECES.index("[SEP]")
            ids, _ = tensorflow_text.combine_segments(trimmed, start, end)
            packed, mask = tensorflow_text.pad_model_inputs(ids, LONGEST)
            return {"ids": packed, "probabilities": net(packed, mask, self.embedding, self.dense)}

    module = Encoder()
    tf.saved_model.save(module, zoo.model("text_bert", "op-libraries"), signatures=module.classify)
    zoo.call("text_bert", {"text": TEXTS}, module.classify(tf.constant(TEXTS)))


def main() -> None:
    """Write all of them; the checks of ragged tensors are left out, which would be most of each graph."""
    for name in ("from_row_splits", "from_row_lengths", "from_value_rowids", "from_nested_row_splits"):
        setattr(tf.RaggedTensor, name, functools.partial(getattr(tf.RaggedTensor, name), validate=False))
    fold_case()
    tokens()
    encoder()
    zoo.write()


if __name__ == "__main__":
    main()
