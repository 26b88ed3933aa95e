"""Records in a cluster which process runs its server, so that a later one can take over what that one left behind.

Applications of Ray Serve outlive the process that submitted them. The record is kept in Ray's control store, and its
process counts as alive for as long as Ray's job of it.
"""

from __future__ import annotations

import json
import os
import socket
from dataclasses import asdict, dataclass

import ray
from ray._private.state import jobs
from ray.experimental.internal_kv import _internal_kv_del, _internal_kv_get, _internal_kv_put

KEY = b"ray_model_server:launch"


@dataclass(frozen=True, slots=True)
class LaunchRecord:
    """The server of a cluster: Ray's id of its job, the supervisor's process id, and the host of both."""

    job: str
    process: int
    host: str

    def __str__(self) -> str:
        return f"process {self.process} on {self.host}"


def record_launch() -> None:
    """Record this process."""
    record = LaunchRecord(ray.get_runtime_context().get_job_id(), os.getppid(), socket.gethostname())
    _internal_kv_put(KEY, json.dumps(asdict(record)).encode())


def recorded_launch() -> LaunchRecord | None:
    """Return the process that was recorded last, and has not stopped its server; None when there is none."""
    content = _internal_kv_get(KEY)
    return None if content is None else LaunchRecord(**json.loads(content))


def is_alive(record: LaunchRecord) -> bool:
    """Whether the process of a record is still connected to the cluster."""
    return any(job["JobID"] == record.job and not job["IsDead"] for job in jobs())


def forget_launch() -> None:
    """Remove the record: the server was stopped in order."""
    _internal_kv_del(KEY)
