"""The wire form of classification and regression results.

Labels are tensors of arbitrary bytes while the protobuf runtime insists on UTF-8 in strings, so results are composed by
hand; that is also several times faster than a message object per class.
"""

from __future__ import annotations

import struct
from typing import Final

from core.inference.classification import Classifications, ScoredClass
from core.inference.protobuf_wire import FIXED32, length_delimited, tag
from core.inference.regression import Regressions

_REPEATED_TAG: Final = tag(1)
_LABEL_TAG: Final = tag(1)
_SCORE_TAG: Final = tag(2, FIXED32)
_VALUE_TAG: Final = tag(1, FIXED32)
_RESULT_TAG: Final = tag(1)
_MODEL_SPEC_TAG: Final = tag(2)
_ZERO: Final = bytes(4)


def classification_result(classifications: Classifications) -> bytes:
    """Serialize a ClassificationResult."""
    return b"".join(length_delimited(_REPEATED_TAG, _classifications(row)) for row in classifications)


def regression_result(regressions: Regressions) -> bytes:
    """Serialize a RegressionResult."""
    return b"".join(length_delimited(_REPEATED_TAG, _float_field(_VALUE_TAG, value)) for value in regressions)


def examples_response(result: bytes, model_spec: bytes) -> bytes:
    """Serialize a ClassificationResponse or RegressionResponse; they differ only in the result."""
    return length_delimited(_RESULT_TAG, result) + length_delimited(_MODEL_SPEC_TAG, model_spec)


def _classifications(row: list[ScoredClass]) -> bytes:
    return b"".join([length_delimited(_REPEATED_TAG, _class(one)) for one in row])


def _class(one: ScoredClass) -> bytes:
    label = length_delimited(_LABEL_TAG, one.label) if one.label else b""
    return label if one.score is None else label + _float_field(_SCORE_TAG, one.score)


def _float_field(key: bytes, value: float) -> bytes:
    """Encode a float; positive zero is the default and not sent, negative zero is."""
    packed = struct.pack("<f", value)
    return b"" if packed == _ZERO else key + packed
