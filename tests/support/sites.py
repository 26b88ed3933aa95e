"""A watcher in a world in memory."""

from __future__ import annotations

from core.config.model_config import ModelConfig
from core.config.server_settings import LoadingSettings, ModelSourceSettings, PollingSettings, ServerSettings
from core.versions.lifecycle import State
from deployments.versions.reconciler import FIRST_DELETE_AFTER_S, Reconciler
from tests.support.fakes import FakeClock, FakeModelList, FakeRouter, FakeServeHost, FakeSource

SETTINGS = ServerSettings(
    source=ModelSourceSettings(model_config_file_poll_wait_s=5),
    polling=PollingSettings(file_system_poll_wait_s=2),
    loading=LoadingSettings(max_num_load_retries=1, load_retry_interval_s=60.0, num_load_threads=4),
)
M = ModelConfig("m", "/m")


class Site:
    """One watcher in a world in memory."""

    def __init__(self, versions=(1,), *, running=(), configs=(M,), settings=SETTINGS) -> None:
        self.clock = FakeClock()
        self.router = FakeRouter("r")
        self.host = FakeServeHost(running, [self.router])
        self.source = FakeSource({"/m": versions})
        self.model_list = FakeModelList(*configs)
        self.settings = settings
        self.restart()

    def restart(self) -> None:
        """Replace the watcher by a fresh one, which routers can pull from for a while before its first tick."""
        self.watch = Reconciler(self.settings, self.host, self.source, self.model_list, self.clock)
        self.clock.advance(FIRST_DELETE_AFTER_S)

    def tick(self, after_s: float = 0.0) -> float:
        """Turn one tick some seconds later."""
        self.clock.advance(after_s)
        return self.watch.tick()

    def settle(self, ticks: int = 8) -> None:
        """Turn ticks while Serve does what it is told."""
        for _ in range(ticks):
            self.tick(2.0)
            self.host.progress()
        self.tick(2.0)

    def state(self, version: int) -> State:
        """Return what GetModelStatus says."""
        return self.watch.table.statuses("m", version)[0].state
