"""Imported by each worker process that Ray starts, before it has work: `RAY_preload_python_modules` names this module.

At once it imports what every process of Ray Serve needs. The rest is for a spare worker, which waits for the next
version (`deployments.workers.spare_workers`): one that has stayed idle imports the model server and opens TensorFlow's
library, so that routers and all others do not carry them.
"""

from __future__ import annotations

import gc
import importlib
import threading
from contextlib import suppress

import ray
import ray.serve._private.replica

from core.errors import ServingError

IDLE_S = 5.0
"""The workers that Ray starts ahead for itself, of which routers are made, are taken sooner."""

OF_NO_JOB = "f" * 8
"""The number of the job of a worker that has not had any work yet."""


def warm_if_idle() -> None:
    """Get ready for a version, unless this worker has become something else."""
    if ray.get_runtime_context().get_job_id() == OF_NO_JOB:
        warm()


def warm() -> None:
    """Import the model server and open TensorFlow's library; without one, other kinds of models are served.

    What is there by then need not be searched for garbage when a version has loaded.
    """
    importlib.import_module("deployments.model_server")
    runtime = importlib.import_module("deployments.runtime.library")
    with suppress(ServingError):
        runtime.library()
    gc.collect()
    gc.freeze()


if ray.is_initialized():  # elsewhere there is nothing to wait for
    _timer = threading.Timer(IDLE_S, warm_if_idle)
    _timer.daemon = True
    _timer.start()
