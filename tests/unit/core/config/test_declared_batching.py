"""The batching that Python code asks for."""

from __future__ import annotations

import pytest

from core.config.declared_batching import declared_batching
from core.config.model_config import BatchingParameters
from core.errors import InvalidArgument


def test_fields_that_are_not_named_keep_their_defaults() -> None:
    """A list of sizes becomes a tuple; nothing declared is no batching."""
    assert declared_batching({"max_batch_size": 4, "allowed_batch_sizes": [2, 4]}, "m.py") == BatchingParameters(
        4, allowed_batch_sizes=(2, 4)
    )
    assert declared_batching({"num_batch_threads": None}, "m.py") == BatchingParameters()
    assert declared_batching(None, "m.py") is None


@pytest.mark.parametrize(
    "declared",
    [
        *([], 8, "max_batch_size", {"max_batch": 8}, {1: 8}, {"max_batch_size": 0}, {"max_batch_size": "8"}),
        *({"max_batch_size": True}, {"max_batch_size": None}, {"max_batch_size": 8.0}),
        *({"allowed_batch_sizes": 8}, {"allowed_batch_sizes": ["8"]}, {"allowed_batch_sizes": [4]}),
        *({"pad_variable_length_inputs": 1}, {"thread_pool_name": 3}, {"num_batch_threads": "2"}),
        *({"max_enqueued_batches": -1}, {"num_batch_threads": 0}),
    ],
)
def test_a_mistake_is_told_with_its_file(declared: object) -> None:
    """Names, types and values are checked as those of a file of parameters are."""
    with pytest.raises(InvalidArgument, match=r"^m\.py: batch"):
        declared_batching(declared, "m.py")
