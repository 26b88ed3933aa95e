"""The pages of real models behind a REST port, without Ray."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from core.admin.status_document import WatcherReport
from core.config.server_settings import LoadingSettings, ServerSettings
from core.rest.rights import PlacedPage
from core.telemetry.traffic import Point, Rates, Traffic, Version
from core.versions.servable import ServableId
from core.versions.servable_spec import ServableSpec
from deployments.inference.assembly import loaded_model
from deployments.inference.execution import Execution
from deployments.pages.people_pages import people_pages
from deployments.rest.status_endpoint import PATH as STATUS_PATH
from deployments.rest.status_endpoint import StatusPage
from deployments.routing.request_router import RequestRouter
from tests.support.doors.model_stack import ModelStack
from tests.support.status_pages import FACTS, METRICS_PATH, PageClock

CURVE = tuple(
    Point(
        295.0 - 5.0 * place,
        Rates(
            80.0 + 40.0 * ((place // 7) % 2) + 3.0 * (place % 5),
            0.0042,
            0.05 + 0.002 * (place % 9),
            1.5 * (place % 11 == 0),
            0.018 + 0.0005 * (place % 7),
        ),
    )
    for place in range(60)
)


@contextmanager
def model_pages(folders: Mapping[ServableId, Path], traffic: Mapping[Version, Traffic]) -> Iterator[ModelStack]:
    """Serve versions from their folders, with their pages."""

    async def report() -> WatcherReport:
        return WatcherReport(traffic=traffic)

    def pages(router: RequestRouter) -> Mapping[str, PlacedPage]:
        status = StatusPage(router, lambda: FACTS, report, PageClock())
        return {STATUS_PATH: PlacedPage(status.answer), **people_pages(status.document, METRICS_PATH)}

    settings = ServerSettings(loading=LoadingSettings())
    models = {one: loaded_model(ServableSpec(one, str(folder), settings)) for one, folder in folders.items()}
    with ModelStack({one: Execution(model, 1) for one, model in models.items()}, pages) as stack:
        yield stack
