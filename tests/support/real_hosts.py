"""A version host without Ray: its real processes, for tests, and what tests wait for."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from core.config.model_config import BatchingParameters, ModelConfig
from core.config.server_settings import PlatformSettings, ServerSettings
from core.routing.transport import Method
from core.versions.servable import ServableId
from core.versions.servable_spec import ServableSpec
from core.versions.world import ABSENT, AppObservation, Condition
from deployments.hosting.version_process import HostNode
from deployments.hosting.version_processes import VersionProcesses
from tests.support.processes import has_ended
from tests.support.python_models import write_model

DEADLINE_S = 60.0


async def until(holds: Callable[[], Any], what: str = "") -> Any:
    """Wait until a condition holds; returns its value."""
    ends_s = time.monotonic() + DEADLINE_S
    while not (value := holds()):
        assert time.monotonic() < ends_s, f"never: {what or holds}"
        await asyncio.sleep(0.01)
    return value


class RealHost(VersionProcesses):
    """A host whose children log below a folder."""

    def __init__(self, folder: Path, *, guardian: int | None = None) -> None:
        self.folder = folder
        self.node = HostNode("host@n", "127.0.0.1", "n", str(folder), folder / "s", guardian or os.getpid())
        super().__init__(self.node)

    async def observed(self, app: str) -> AppObservation:
        return (await self.versions()).get(app, ABSENT)

    async def reaches(self, app: str, condition: Condition) -> AppObservation:
        """Wait until a version is in a condition."""
        ends_s = time.monotonic() + DEADLINE_S
        while (seen := await self.observed(app)).condition is not condition:
            assert time.monotonic() < ends_s, f"{app} is {seen}"
            await asyncio.sleep(0.01)
        return seen

    async def running(self, spec: ServableSpec) -> str:
        """Load a version and wait until it runs; returns its name."""
        await self.load(spec)
        app = f"{spec.servable.name}:{spec.servable.version}"
        await self.reaches(app, Condition.RUNNING)
        return app

    async def predict(self, app: str, *values: float) -> list[float]:
        """Return the answer to a call, or raise its text."""
        code, body = await self.call(app, Method.REST_PREDICT, json.dumps({"instances": values}).encode(), 30.0)
        assert code == 0, body.decode()
        predictions: list[float] = json.loads(body)["predictions"]
        return predictions

    async def clear(self) -> None:
        """Unload every version, and remove what was written."""
        for app in await self.versions():
            await self.unload(app)
        for app in await self.versions():
            await self.reaches(app, Condition.ABSENT)
        for file in self.folder.iterdir():
            if file.is_file():
                file.unlink()

    def pid(self, app: str) -> int:
        """Return the process of a version, by what lists of processes show."""
        (found,) = pids_of(app, self.folder)
        return found

    def zygote(self) -> int:
        """Return the process that forks."""
        running = (one for one in psutil.Process().children() if not has_ended(one.pid))
        (found,) = (one.pid for one in running if "deployments.hosting.zygote" in " ".join(one.cmdline()))
        return found


def pids_of(app: str, folder: Path) -> list[int]:
    """Return the processes of a version that log below a folder."""
    return [
        one.pid
        for one in psutil.process_iter()
        if _title(one) == f"ray_model_server hosted {app}" and _has_open(one, folder)
    ]


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline()).strip()
    except psutil.Error:
        return ""


def _has_open(process: psutil.Process, folder: Path) -> bool:
    try:
        return any(Path(one.path).is_relative_to(folder) for one in process.open_files())
    except psutil.Error:
        return False


@asynccontextmanager
async def real_host() -> AsyncIterator[RealHost]:
    """A host for one test; its folder has a short name, because it holds sockets."""
    with TemporaryDirectory(prefix="h", ignore_cleanup_errors=True) as folder:
        host = RealHost(Path(folder))
        try:
            yield host
        finally:
            await host.close()


def half_plus_two_spec(saved_models: Path, name: str = "m", **fields: Any) -> ServableSpec:
    """Return what a host is given for a SavedModel."""
    folder = saved_models / "half_plus_two"
    return ServableSpec(ServableId(name, 1), str(folder / "1"), config=ModelConfig(name, str(folder)), **fields)


CODE = """
import os, time
import numpy as np

class Model:
    inputs = {"x": ("float32", (None,))}
    outputs = {"y": ("float32", (None,))}

    def load(self, path):
        LOAD

    def predict(self, inputs):
        x = inputs["x"]
        PREDICT
        return {"y": x}
"""


def code_spec(
    folder: Path, name: str, *, load: str = "pass", predict: str = "pass", batching: BatchingParameters | None = None
) -> ServableSpec:
    """Return what a host is given for Python code with these lines."""
    version = write_model(folder / name / "1", CODE.replace("LOAD", load).replace("PREDICT", predict))
    settings = ServerSettings(platforms=PlatformSettings(allow_python=True))
    config = ModelConfig(name, str(version.parent))
    return replace(ServableSpec(ServableId(name, 1), str(version), settings, config), batching=batching)
