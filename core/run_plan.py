"""What one request asks of TensorFlow: tensors in, tensors out, and how the answer is written.

Every method of every protocol is a function from request bytes to a `RunPlan`; the model server only runs plans. That
keeps parsing and printing free of TensorFlow, and lets requests of different protocols share a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class RunPlan:
    """One session run.

    `feeds` maps graph tensor names to arrays, `fetches` are graph tensor names without repetition, and `encode` turns
    the fetched arrays, in the order of `fetches`, into the response body. `signature` is what the request is counted
    under.

    `encode` raises ServingError when the model's answer does not fit the method.
    """

    feeds: Mapping[str, np.ndarray]
    fetches: tuple[str, ...]
    encode: Callable[[Sequence[np.ndarray]], bytes]
    signature: str = ""
