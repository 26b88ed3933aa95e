"""One Ray and one server for the whole session; tests add models of their own to its configuration."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from ray import serve
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import ApplicationStatus

from core.config.model_config import ModelConfig
from core.config.models_text import model_configs
from core.config.server_settings import (
    ClusterSettings,
    FrontDoorSettings,
    LoadingSettings,
    ModelCacheSettings,
    ModelSourceSettings,
    PlatformSettings,
    PollingSettings,
    RequestLogSettings,
    ServerSettings,
    TracingSettings,
)
from core.errors import RuntimeFailure
from deployments.app import application
from deployments.commands.admin_client import AdminClient
from deployments.launch.ray_start import start_ray
from deployments.versions.serve_host import ROUTER_APP
from tests.support.clients import RestClient, free_port, wait_until
from tests.support.processes import replica_pids
from tests.support.span_collector import SpanCollector
from tests.support.started_ray import RayInit
from tests.support.stores.fault_proxy import FaultProxy, environment

FIXED_MODELS = (
    "half_plus_two",
    "half_plus_three",
    "tf1_half_plus_two",
    "mlp",
    "vocabulary",
    "text_upper",
    "several",
    "all_dtypes",
    "counter",
    "slow",
    "scalar_output",
    "no_signatures",
)

POLL_S = 0.5
"""Shorter than any operator's, who has whole seconds: most tests wait for files to be noticed."""

OWN_SETTINGS = ("batched", "tf1_batched_plus2", "twice", "single", "scaled", "hosted", "hosted_batched")

QUICK_SCALING = {
    "min_replicas": 0,
    "max_replicas": 2,
    "target_ongoing_requests": 2,
    "upscale_delay_s": 0.5,
    "downscale_delay_s": 2,
    "downscale_to_zero_delay_s": 3,
    "metrics_interval_s": 0.5,
    "look_back_period_s": 2,
}


def settings_text(saved_models: Path, folder: Path) -> str:
    """Return the YAML file of the session's server: models with batching, replicas, and room for one version only."""
    batching = {"max_batch_size": 8, "batch_timeout_micros": 20000, "num_batch_threads": 2}
    splitting = {
        "max_batch_size": 64,
        "batch_timeout_micros": 2000,
        "max_enqueued_batches": 1000,
        "num_batch_threads": 2,
        "allowed_batch_sizes": [2, 16],
        "enable_large_batch_splitting": True,
        "max_execution_batch_size": 16,
    }
    models = {
        "batched": {"base_path": str(saved_models / "mlp"), "batching": batching},
        "tf1_batched_plus2": {"base_path": str(saved_models / "tf1_half_plus_two"), "batching": splitting},
        "twice": {"base_path": str(saved_models / "half_plus_two"), "num_replicas": 2},
        "single": {
            "base_path": str(folder / "single"),
            "rollout": "resource_preserving",
            "resources": {"place": 1},
        },
        "hosted": {"base_path": str(saved_models / "half_plus_two"), "placement": "hosted"},
        "hosted_batched": {"base_path": str(saved_models / "mlp"), "placement": "hosted", "batching": batching},
        "hosted_changing": {"placement": "hosted"},
        "hosted_broken": {"placement": "hosted"},
        "scaled": {"base_path": str(saved_models / "slow"), "autoscaling": QUICK_SCALING},
    }
    return yaml.safe_dump({"models": models})


def _essence(config: ModelConfig) -> tuple[object, ...]:
    """Return what the configuration file can say of a model."""
    return config.base_path, config.policy, dict(config.labels), config.logging


@dataclasses.dataclass
class LiveServer:
    """A running server whose models tests may change through its configuration file and its folders."""

    settings: ServerSettings
    config_file: Path
    folder: Path
    saved_models: Path
    entries: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def rest_port(self) -> int:
        return self.settings.front_door.rest_port

    @property
    def grpc_port(self) -> int:
        return self.settings.front_door.grpc_port

    def client(self) -> RestClient:
        return RestClient(self.rest_port)

    def write_config(self) -> None:
        """Put all entries into the file at once, as an operator's tool would: write aside, then rename."""
        aside = self.config_file.with_suffix(".new")
        aside.write_text(self._text(), encoding="utf-8")
        aside.rename(self.config_file)

    def _text(self) -> str:
        return "model_config_list {\n" + "\n".join(self.entries.values()) + "\n}\n"

    def apply_config(self) -> None:
        """Write the file and wait until it was read, so that no later request is overtaken by it."""
        self.write_config()
        wanted = {one.name: _essence(one) for one in model_configs(self._text())}
        admin = AdminClient(f"127.0.0.1:{self.grpc_port}")

        def was_read() -> bool:
            try:
                files = {one.name: _essence(one) for one in admin.config().known.files}
            except RuntimeFailure:
                return False
            return {name: one for name, one in files.items() if name not in OWN_SETTINGS} == wanted

        try:
            wait_until(was_read, "the configuration file was read")
        finally:
            admin.close()

    def configure(self, name: str, base_path: Path | str, more: str = "", *, platform: str = "tensorflow") -> None:
        """Add or change one model."""
        self.entries[name] = f'config {{ name: "{name}" base_path: "{base_path}" model_platform: "{platform}" {more} }}'
        self.apply_config()

    def remove(self, name: str) -> None:
        """Take one model out of the configuration."""
        self.entries.pop(name, None)
        self.apply_config()

    def copy_version(self, model: str, version: int, base_path: Path, as_version: int | None = None) -> Path:
        """Bring a version into a base path under its final name only when it is whole."""
        base_path.mkdir(parents=True, exist_ok=True)
        target = base_path / str(as_version or version)
        aside = base_path / f"{target.name}.copying"
        shutil.copytree(self.saved_models / model / str(version), aside)
        aside.rename(target)
        return target


@pytest.fixture(scope="session")
def store_proxy() -> Iterator[FaultProxy]:
    """Where all processes of the session look for S3; nothing answers there until a test puts a store behind it."""
    with FaultProxy(free_port()) as proxy, pytest.MonkeyPatch.context() as patch:
        for name, value in environment(proxy.url).items():
            patch.setenv(name, value)
        yield proxy


@pytest.fixture(scope="session")
def cluster(store_proxy: FaultProxy) -> Iterator[None]:
    """A local Ray with Serve, without dashboard and proxies, and with a folder of its own for its files."""
    del store_proxy
    with tempfile.TemporaryDirectory(prefix="rms-", ignore_cleanup_errors=True) as folder:
        local = RayInit(
            address="local",
            include_dashboard=False,
            log_to_driver=False,
            object_store_memory=256 * 1024 * 1024,
            resources={"place": 1},
            _temp_dir=folder,
        )
        start_ray(local, print)
        serve.start(proxy_location="Disabled")
        yield
        serve.shutdown()
        ray.shutdown()


@pytest.fixture(scope="session")
def collector() -> Iterator[SpanCollector]:
    """Takes the spans of the session's server, which traces no request but those that ask for it."""
    with SpanCollector() as collector:
        yield collector


@pytest.fixture(scope="session")
def server(
    cluster: None, collector: SpanCollector, saved_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveServer]:
    """The server of the session, with all fixed models available."""
    folder = tmp_path_factory.mktemp("server")
    settings = ServerSettings(
        front_door=FrontDoorSettings(
            host="127.0.0.1",
            grpc_port=free_port(),
            rest_port=free_port(),
            drain_timeout_s=10.0,
            model_repository_api=True,
        ),
        source=ModelSourceSettings(
            model_config_file=str(folder / "models.config"),
            model_config_file_poll_wait_s=POLL_S,
            model_settings_file=str(folder / "settings.yaml"),
        ),
        polling=PollingSettings(file_system_poll_wait_s=POLL_S, remote_poll_wait_s=POLL_S),
        model_cache=ModelCacheSettings(folder=str(folder / "cache")),
        loading=LoadingSettings(max_num_load_retries=1, load_retry_interval_s=POLL_S, num_load_threads=4),
        request_log=RequestLogSettings(max_file_age_s=0.5),
        platforms=PlatformSettings(allow_python=True),
        cluster=ClusterSettings(router_replicas=1),
        tracing=TracingSettings(collector.url, 0.0, (("OTEL_BSP_SCHEDULE_DELAY", "200"),)),
    )
    live = LiveServer(settings, folder / "models.config", folder, saved_models)
    for name in FIXED_MODELS:
        live.entries[name] = (
            f'config {{ name: "{name}" base_path: "{saved_models / name}" model_platform: "tensorflow" }}'
        )
    live.write_config()
    live.copy_version("half_plus_two_versions", 1, folder / "single")
    (folder / "settings.yaml").write_text(settings_text(saved_models, folder))
    deploy(settings)
    client = live.client()
    wait_until(lambda: is_open(live.rest_port), "the front door is open", 180)
    wait_until(
        lambda: all(client.available(name) for name in (*FIXED_MODELS, *OWN_SETTINGS)),
        "all fixed models are available",
        180,
    )
    client.close()
    yield live
    serve.delete(ROUTER_APP)


def deploy(settings: ServerSettings) -> None:
    """Submit the server's application, without waiting for anything."""
    serve.run_many(
        [serve.RunTarget(target=application(settings), name=ROUTER_APP, route_prefix="/")],
        wait_for_ingress_deployment_creation=False,
        wait_for_applications_running=False,
    )


@contextmanager
def redeployed(server: LiveServer, front_door: FrontDoorSettings | None = None, **changes: Any) -> Iterator[None]:
    """Run the server's routers with other settings of the cluster, or of its ports, for a while."""
    cluster = replace(server.settings.cluster, **changes)
    deploy(replace(server.settings, cluster=cluster, front_door=front_door or server.settings.front_door))
    wait_until(lambda: has_routers(cluster.router_replicas), "the changed routers answer", 180)
    yield
    deploy(server.settings)
    wait_until(lambda: has_routers(server.settings.cluster.router_replicas), "the routers are as before", 180)
    wait_until(lambda: is_open(server.rest_port), "they answer")


def has_routers(count: int) -> bool:
    """Whether that many routers have open doors, all as deployed last, and none beside them."""
    app = serve.status().applications[ROUTER_APP]
    states = app.deployments["Router"].replica_states if app.status == ApplicationStatus.RUNNING else {}
    if states != {"RUNNING": count} or len(replica_pids(ROUTER_APP, "Router")) != count:
        return False
    try:
        routers: DeploymentHandle = DeploymentHandle("Router", ROUTER_APP)
        return routers.broadcast("is_open").results(timeout_s=5) == [True] * count
    except (ray.exceptions.RayError, TimeoutError):
        return False


def is_open(port: int) -> bool:
    """Whether the REST port answers."""
    client = RestClient(port)
    try:
        return client.get("/healthz").status == 200
    except OSError:
        return False
    finally:
        client.close()


@pytest.fixture(autouse=True)
def _own_models(request: pytest.FixtureRequest) -> Iterator[None]:
    """Models that a test added, and left behind because it failed, are removed before the next one."""
    if "server" not in request.fixturenames:
        yield
        return
    server: LiveServer = request.getfixturevalue("server")
    before = dict(server.entries)
    yield
    if server.entries != before:
        server.entries = before
        server.apply_config()


@pytest.fixture
def client(server: LiveServer) -> Iterator[RestClient]:
    """A connection to the session's server."""
    rest = server.client()
    yield rest
    rest.close()


@pytest.fixture
def base_path(server: LiveServer, tmp_path: Path) -> Path:
    """An empty base path for a test's own model."""
    del server
    path = tmp_path / "base"
    path.mkdir()
    return path
