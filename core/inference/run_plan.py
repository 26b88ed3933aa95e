"""The plan of one session run: tensors in, tensors out, and the encoding of the answer.

Every method of every protocol is a function from request bytes to a `RunPlan`; the model server only runs plans. That
keeps parsing and printing free of TensorFlow, and lets requests of different protocols share a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from core.errors import ResourceExhausted

LARGEST_ANSWER_BYTES: Final = 2**31 - 1
"""What one protobuf message can carry, and one frame between model server and router."""


class RunPlan(NamedTuple):
    """One session run.

    `feeds` maps graph tensor names to arrays, `fetches` are graph tensor names without repetition, and `encode` turns
    the fetched arrays, in the order of `fetches`, into the response body. `signature` is the name
    under which the request is counted. `timeout_s` is the request's own deadline, in seconds from its arrival, where it
    names one; the transport's holds beside it.

    `encode` raises ServingError when the model's answer does not fit the method.
    """

    feeds: Mapping[str, np.ndarray]
    fetches: tuple[str, ...]
    encode: Callable[[Sequence[np.ndarray]], bytes]
    signature: str = ""
    timeout_s: float | None = None

    def answer(self, outputs: Sequence[np.ndarray]) -> bytes:
        """Encode the outputs; raises ResourceExhausted for an answer that could not travel.

        Every element takes a byte at least, so the worst outputs are refused before they are written.
        """
        if sum(output.size for output in outputs) <= LARGEST_ANSWER_BYTES:
            body = self.encode(outputs)
            if len(body) <= LARGEST_ANSWER_BYTES:
                return body
        raise ResourceExhausted(f"The model's answer is larger than {LARGEST_ANSWER_BYTES} bytes, the most one can be.")
