"""Router: the ingress deployment. Holds a table, opens the REST and gRPC ports, forwards; nothing else.

The same ASGI application serves our own port and Serve's HTTP proxy. All requests run on the event loop of our own
ports, whichever way they came.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from functools import partial
from typing import Any

import ray
from ray import serve
from ray.serve.handle import DeploymentHandle

from core.access.rights import STATUS
from core.admin.status_document import RouterFacts, WatcherReport
from core.config.server_settings import ServerSettings
from core.errors import Code, ServingError, Unavailable
from core.rest.rights import PlacedPage
from core.routing.router_report import RouterReport
from core.routing.table import RoutingTable
from core.telemetry.log_lines import announced
from core.telemetry.spans import TracedProcess
from deployments.access.guard import CALLER, guard_of
from deployments.config.startup_settings import monitoring
from deployments.division.copies import MirrorCopies
from deployments.division.observations import OutputObservations
from deployments.exposition.endpoint import EXPOSITION_PATH, ExpositionPage
from deployments.grpc.api import GrpcApi
from deployments.grpc.door import GrpcDoor, grpc_address
from deployments.grpc.profiler import ProfilerService
from deployments.grpc.serve_proxy import Raw, set_status
from deployments.grpc.services import GrpcAnswer, GrpcService
from deployments.oip.extensions import OipExtensions, extension_names, extensions_of
from deployments.oip.grpc_service import OipService
from deployments.oip.rest_api import OipRest
from deployments.oip.serve_proxy import OipProxyMethods
from deployments.oip.server_facts import ServerFacts
from deployments.pages.people_pages import people_pages
from deployments.rest.api import HttpApi
from deployments.rest.asgi import AsgiApp, ScopedPage
from deployments.rest.door import HttpDoor
from deployments.rest.metrics_endpoint import MetricsPage, Sums
from deployments.rest.router_facts import router_facts
from deployments.rest.serve_ingress import http_address, http_limits, on_loop
from deployments.rest.status_endpoint import PATH as STATUS_PATH
from deployments.rest.status_endpoint import StatusPage
from deployments.routing.access_log import AccessLog, SampledRouter
from deployments.routing.handle_transport import HandleTransport
from deployments.routing.logged_headers import logged_headers
from deployments.routing.profile_call import answer_profile, end_over_handle, record_over_handle
from deployments.routing.replica_directory import ReplicaDirectory
from deployments.routing.request_router import RequestRouter
from deployments.routing.request_traces import RequestTraces, TracedRouter
from deployments.routing.serve_tables import SIBLINGS_TIMEOUT_S, ServeTables, cluster_token, sibling_routers
from deployments.routing.table_follower import TableFollower
from deployments.routing.version_transport import VersionTransport
from deployments.system.clock import SystemClock
from deployments.system.event_loop import LoopThread
from deployments.system.process_tuning import settle
from deployments.telemetry.process_logs import configure as configure_logs
from deployments.telemetry.process_metrics import METRICS, report
from deployments.telemetry.ray_metrics import RayMetrics
from deployments.telemetry.serve_failures import SERVE_FAILURES, brief
from deployments.telemetry.tracing import tracer_of

log = logging.getLogger(__name__)

FIRST_PULL_TIMEOUT_S = 15.0
OPEN_TIMEOUT_S = 30.0
RELOAD_TIMEOUT_S = 600.0
LAST_SPANS_TIMEOUT_S = 3.0


class Router(OipProxyMethods):
    """One router replica."""

    def __init__(self, settings: ServerSettings, watcher: DeploymentHandle) -> None:
        self._settings = settings
        self._since_s = time.time()
        self._name = serve.get_replica_context().replica_id.unique_id
        configure_logs(settings.logs, "router", self._name)
        self._watcher = watcher
        self._siblings = sibling_routers()
        self._loop = LoopThread("front-door")
        handles = HandleTransport()
        node, is_direct = ray.get_runtime_context().get_node_id(), settings.cluster.direct_transport
        self._directory = ReplicaDirectory(node, handles)
        self._transport = VersionTransport(self._directory, handles, calls_directly=is_direct)
        self._tracer = tracer_of(settings.tracing, TracedProcess("router", self._name))
        access = AccessLog(settings.logs.access_sampling_rate) if settings.logs.access_sampling_rate else None
        traces = RequestTraces(self._tracer) if self._tracer else None
        self._kept = logged_headers(settings.request_log.metadata_headers)
        kind = TracedRouter if traces else SampledRouter if access or self._kept else RequestRouter
        self._router = kind(self._name, self._transport)
        self._router.copies = self._copies = MirrorCopies(self._transport, METRICS)
        self._router.observations = self._observations = OutputObservations(self._transport)
        tables = ServeTables(watcher, self._siblings)
        self._follower = TableFollower(self._router, self._directory, tables, self._publish_health)
        path = monitoring(settings).prometheus_path
        self._page = MetricsPage(path, self._name, self._transport, watcher, self._siblings)
        status = StatusPage(self._router, self._facts, self._watcher_report, SystemClock())
        METRICS.before_snapshot(self._router.note_metrics)
        RayMetrics().start()
        token = cluster_token()
        self._guard = guard_of(settings.front_door, lambda: self._router.table.routers)
        facts, more = self._version_2()
        self._api = self._rest(status, OipRest(facts, http_limits(settings), more.handlers), token, access, traces)
        self._http = HttpDoor(http_address(settings), self._api, token)
        self._grpc_api = self._calls(status, OipService(facts, more.methods).service(), token, access, traces)
        self._grpc = GrpcDoor(grpc_address(settings), self._grpc_api, token)
        self._is_open = False
        self._failure: BaseException | None = None
        self._has_looked = threading.Event()
        self._opened = threading.Event()
        self._life = self._loop.run(self._live())
        self._wait_until_open()

    def _rest(
        self, status: StatusPage, oip: OipRest, token: str, access: AccessLog | None, traces: RequestTraces | None
    ) -> HttpApi:
        pages, scoped_pages = self._pages(status)
        return HttpApi(
            self._router,
            http_limits(self._settings),
            token,
            pages,
            access=access,
            traces=traces,
            others=(oip,),
            guard=self._guard,
            scoped_pages=scoped_pages,
            kept=self._kept,
        )

    def _pages(self, status: StatusPage) -> tuple[dict[str, PlacedPage], dict[str, ScopedPage]]:
        """Return the pages beside the API, by path; those with metrics only if the monitoring file does not forbid."""
        has_metrics = monitoring(self._settings).prometheus_enabled
        people = people_pages(status.document, EXPOSITION_PATH if has_metrics else "")
        pages = {STATUS_PATH: PlacedPage(status.answer, STATUS), **people}
        if not has_metrics:
            return pages, {}
        # Found first: TensorFlow Serving's page may be at the path of another one.
        pages[self._page.path] = PlacedPage(self._page.answer)
        return pages, {EXPOSITION_PATH: ExpositionPage(self._page, self._watcher).answer}

    def _version_2(self) -> tuple[ServerFacts, OipExtensions]:
        """Return what the Open Inference Protocol shows of this router, and the extensions that it has."""
        has_repository = self._settings.front_door.model_repository_api
        names = extension_names(has_repository=has_repository)
        facts = ServerFacts(self._router, lambda: self._api.draining, names)
        return facts, extensions_of(facts, self._hand_over, self._transport, has_repository=has_repository)

    def _calls(
        self,
        status: StatusPage,
        oip: GrpcService,
        token: str,
        access: AccessLog | None,
        traces: RequestTraces | None,
    ) -> GrpcApi:
        self._profiler = ProfilerService(
            lambda: self._router.table, record_over_handle, end_over_handle, self._end_profiles
        )
        return GrpcApi(
            self._router,
            token,
            partial(self._hand_over, "reload"),
            session_run=self._settings.front_door.session_run,
            most_calls=self._settings.front_door.grpc_max_concurrent_calls,
            access=access,
            traces=traces,
            admin={
                "GetConfig": partial(self._hand_over, "get_config"),
                "ChangeConfig": partial(self._hand_over, "change_config"),
                "GetStatus": status.grpc_answer,
                "ChangeRollout": partial(self._hand_over, "change_rollout"),
                "Profile": partial(answer_profile, lambda: self._router.table, record_over_handle),
            },
            others=(oip, self._profiler.service()) if self._settings.front_door.profiler else (oip,),
            guard=self._guard,
            kept=self._kept,
        )

    def _wait_until_open(self) -> None:
        """Return when the ports are open, if other routers or the watcher have a settled table.

        Serve stops the router that this one replaces as soon as this one has started. At the very first start no table
        is settled yet; then nothing is replaced, and this does not wait.
        """
        if self._has_looked.wait(FIRST_PULL_TIMEOUT_S) and self._router.table.settled:
            self._opened.wait(OPEN_TIMEOUT_S)

    async def _live(self) -> None:
        """Pull the first table, open the ports once it is settled, then keep the table and the connections fresh."""
        try:
            await self._follower.take_over()
            if self._router.table.settled:
                self._has_looked.set()
            await self._follower.pull()
            self._has_looked.set()
            await self._follower.follow_first()
            await asyncio.gather(self._http.open(), self._grpc.open())
            self._grpc.health.open(self._router.table)
            self._is_open = True
            self._opened.set()
            door = self._settings.front_door
            log.info("front_door_open rest_port=%s grpc_port=%s", door.rest_port, door.grpc_port, extra=announced())
            settle()
            await asyncio.gather(
                self._follower.follow(),
                self._directory.follow_load(),
                self._page.report_regularly(),
                self._observations.ask_regularly(),
            )
        except BaseException as error:
            self._failure = error
            raise

    def _publish_health(self) -> None:
        if self._is_open:
            self._grpc.health.follow(self._router.table)

    async def apply(self, table: RoutingTable) -> RouterReport:
        """Take a table from the watcher's broadcast; return the generation in use and the calls in flight."""
        return await asyncio.wrap_future(self._loop.run(self._follower.take(table)))

    async def _hand_over(self, method: str, raw: bytes) -> bytes:
        """Forward a request about the list of models to the watcher, with the name of its caller."""
        try:
            work = getattr(self._watcher, method).remote(raw, CALLER.get())
            answer: bytes | ServingError = await asyncio.wait_for(work, RELOAD_TIMEOUT_S)
        except SERVE_FAILURES as error:
            raise Unavailable(f"The configuration could not be handed to the watcher: {error}") from error
        if isinstance(answer, ServingError):
            raise answer
        return answer

    async def _watcher_report(self) -> WatcherReport:
        """Return the report of the watcher, after sending it the newest metrics."""
        await self._page.report_now()
        report: WatcherReport = await self._watcher.report.remote()
        return report

    def _facts(self) -> RouterFacts:
        runs_by, draining = self._directory.runs_by(), self._api.draining
        problems = self._guard.problems
        return router_facts(self._settings, self._name, self._since_s, runs_by, is_draining=draining, problems=problems)

    async def metrics(self) -> bytes:
        """Return the metrics report of this router."""
        return await asyncio.wrap_future(self._loop.run(_report()))

    async def kept_metrics(self) -> bytes | None:
        """Return this router's last copy of the ledger; a new watcher continues from it."""
        return self._page.kept

    async def metrics_sums(self) -> Sums | None:
        """Return the sums that this router showed last."""
        return self._page.sums

    async def table(self) -> RoutingTable:
        """Return the table in use; a new watcher continues from it."""
        return self._router.table

    async def is_open(self) -> bool:
        """Whether the ports take requests."""
        return self._is_open

    async def end_profile(self, session: str) -> None:
        """End a recording of the profiler service that another router was told to end."""
        self._loop.run(self._end_profile(session))

    async def _end_profile(self, session: str) -> None:
        self._profiler.end_session(session)

    async def _end_profiles(self, session: str) -> None:
        """Let the other routers end a recording, if it is theirs."""
        try:
            await asyncio.wait_for(self._siblings.broadcast("end_profile", session).results_async(), SIBLINGS_TIMEOUT_S)
        except SERVE_FAILURES as error:
            log.info("profile_not_ended session=%r error=%r", session, brief(error))

    async def check_health(self) -> None:
        """Raise when the loop of the ports does not turn or its work has ended; Serve then replaces the replica."""
        if self._failure is not None:
            raise RuntimeError(f"The front door failed: {self._failure!r}")
        await self._loop.ping(timeout_s=10.0)

    async def _drain(self) -> None:
        self._copies.close()
        timeout_s = self._settings.front_door.drain_timeout_s
        await asyncio.gather(self._http.drain(timeout_s), self._grpc.drain(timeout_s))

    def __serve_build_asgi_app__(self) -> AsgiApp:
        """Return the application for Serve's ingress; it answers each request on the loop of our own ports."""
        return on_loop(self._api.app(), self._loop)

    async def answer_proxy(self, method: str, request: bytes, grpc_context: Any) -> Raw:
        """Answer a call of Serve's own gRPC proxy on the loop of the router's own ports."""
        is_needed = self._tracer or self._kept or self._guard.is_ruled or self._router.divisions.choosers
        metadata = grpc_context.invocation_metadata() or () if is_needed else ()
        work = self._loop.run(self._grpc_api.answer_traced(method, request, metadata))
        answer: GrpcAnswer = await asyncio.wrap_future(work)
        if answer.code is not Code.OK:
            set_status(grpc_context, answer)
        return Raw(answer.body)

    async def __del__(self) -> None:
        """Close the ports, and wait for requests in flight."""
        loop, life = getattr(self, "_loop", None), getattr(self, "_life", None)
        if loop is None or life is None:  # the constructor failed
            return
        life.cancel()
        if self._is_open:
            await asyncio.wrap_future(loop.run(self._drain()))
        else:
            self._http.abandon()
        loop.stop()
        if self._tracer is not None:
            await asyncio.to_thread(self._tracer.close, LAST_SPANS_TIMEOUT_S)


async def _report() -> bytes:
    """Return the report from the loop of the ports, where everything is counted."""
    return report()
