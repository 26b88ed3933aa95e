"""What the console script prints while it runs."""

from __future__ import annotations

import http.server
import json
import os
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from core.config.server_settings import FrontDoorSettings, MonitoringConfig
from core.errors import Code, Problem
from core.routing.table import ListInForce, ModelRoutes, Route, RoutingTable
from core.versions.lifecycle import State, VersionStatus
from core.versions.servable import ServableId
from deployments.launch import console as console_module
from deployments.launch.console import Console
from deployments.launch.terminal import RolloutPrinter, announce, without_stderr
from tests.support.clients import free_port

TENSOR = {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [{"size": "-1"}]}}
SIGNATURE = {"method_name": "tensorflow/serving/predict", "inputs": {"x": TENSOR}}
PREDICT = "/v1/models/m:predict"
METADATA = {"metadata": {"signature_def": {"signature_def": {"serving_default": SIGNATURE}}}}


def table(generation: int, state: State) -> RoutingTable:
    routes = {1: Route.of(ServableId("m", 1))} if state is State.AVAILABLE else {}
    return RoutingTable(generation, {"m": ModelRoutes(routes, statuses=(VersionStatus(1, state),))})


class _Pages(http.server.BaseHTTPRequestHandler):
    pages: dict[str, bytes] = {}  # noqa: RUF012 - replaced by a subclass for each server

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.do_GET()

    def do_GET(self) -> None:
        body = self.pages.get(self.path)
        self.send_response(404 if body is None else 200)
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the method's name for it
        """Keep quiet."""


@pytest.fixture
def open_pages() -> Iterator[object]:
    """Opens a port that answers with given pages."""
    servers: list[http.server.ThreadingHTTPServer] = []

    def opened(pages: dict[str, bytes]) -> FrontDoorSettings:
        handler = type("Handler", (_Pages,), {"pages": pages})
        servers.append(server := http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return FrontDoorSettings(rest_port=server.server_address[1], grpc_port=0)

    yield opened
    for server in servers:
        server.shutdown()
        server.server_close()


def texts(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the printed lines without their times."""
    return [line.partition("] ")[2] for line in capsys.readouterr().out.splitlines()]


def test_a_step_is_printed_once(capsys) -> None:
    """However often the same table is read, and however many routers have it."""
    printer = RolloutPrinter(Console())

    printer.show([])
    printer.show([table(1, State.LOADING), table(1, State.LOADING)])
    printer.show([table(1, State.LOADING)])
    printer.show([table(1, State.LOADING), table(2, State.AVAILABLE)])

    assert texts(capsys) == ["m version 1 is loading", "m version 1 is available"]


def test_a_router_that_is_behind_tells_nothing(capsys) -> None:
    """Otherwise a version would seem to go back and forth."""
    printer = RolloutPrinter(Console())

    printer.show([table(2, State.AVAILABLE)])
    printer.show([table(1, State.LOADING)])

    assert texts(capsys) == ["m version 1 is available"]


def test_a_long_load_is_shown_until_it_ends(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """A person sees that the server lives; when all is loaded there is nothing more to wait for."""
    monkeypatch.setattr(console_module, "TOLD_AFTER_S", 0.0)
    console = Console()
    printer = RolloutPrinter(console)

    printer.show([])
    console.tick()
    printer.show([table(1, State.LOADING)])
    console.tick()
    printer.show([table(2, State.AVAILABLE)])
    console.tick()

    assert texts(capsys) == ["m version 1 is loading", "0 of 1 loaded, loading m:1 (0 s)", "m version 1 is available"]


def test_ready_comes_with_addresses_pages_and_a_request(open_pages) -> None:
    """Everything that a first user asks next."""
    said: list[str] = []
    door = open_pages({"/": b"page", "/v1/models/m/metadata": json.dumps(METADATA).encode(), PREDICT: b"{}"})

    announce(said.append, door, MonitoringConfig(), table(1, State.AVAILABLE))

    url = f"http://127.0.0.1:{door.rest_port}"
    assert said == [
        f"REST is open: {url}/v1/models",
        f"status page: {url}/",
        f"metrics: {url}/monitoring/prometheus/metrics",
        f"""try: curl -d '{{"instances": [1.0]}}' {url}/v1/models/m:predict""",
    ]


def test_an_example_that_is_not_answered_is_not_recommended(open_pages) -> None:
    """A model may load and fail in every run, or take other values than its signature shows."""
    said: list[str] = []
    door = open_pages({"/v1/models/m/metadata": json.dumps(METADATA).encode()})

    announce(said.append, door, MonitoringConfig(prometheus_enabled=False), table(1, State.AVAILABLE))

    assert said[2] == f"try: curl http://127.0.0.1:{door.rest_port}/v1/models/m"


def test_a_model_that_is_known_to_fail_is_not_asked(open_pages) -> None:
    """The next one is."""
    said: list[str] = []
    pages = {f"/v1/models/{name}/metadata": json.dumps(METADATA).encode() for name in "mn"}
    door = open_pages({**pages, PREDICT: b"{}", "/v1/models/n:predict": b"{}"})
    good = table(1, State.AVAILABLE).models["m"]
    bad = replace(good, statuses=(VersionStatus(1, State.AVAILABLE, Code.INTERNAL, "every run failed so far"),))
    other = replace(good, routes={1: Route.of(ServableId("n", 1))})

    announce(said.append, door, MonitoringConfig(prometheus_enabled=False), RoutingTable(1, {"m": bad, "n": other}))

    assert "/v1/models/n:predict" in said[2]


def test_a_model_whose_signature_is_unknown_can_be_asked_for_its_state(open_pages) -> None:
    """There is no request that it is known to answer."""
    said: list[str] = []
    door = open_pages({})

    announce(said.append, door, MonitoringConfig(prometheus_enabled=False), table(1, State.AVAILABLE))

    url = f"http://127.0.0.1:{door.rest_port}"
    assert said[1:] == [f"status page: {url}/", f"try: curl {url}/v1/models/m"]


def test_with_an_access_file_the_request_to_paste_has_a_token(open_pages) -> None:
    """Without one it is refused, as is what this process asks; the page is there, and says what it needs."""
    said: list[str] = []
    door = replace(open_pages({}), access_file="access.yaml")

    announce(said.append, door, MonitoringConfig(prometheus_enabled=False), table(1, State.AVAILABLE))

    url = f"http://127.0.0.1:{door.rest_port}"
    assert said[1:] == [
        f"status page: {url}/",
        f'try: curl -H "Authorization: Bearer $TOKEN" {url}/v1/models/m',
    ]


@pytest.mark.parametrize("tls_file", ["", "some file"])
def test_a_port_that_does_not_answer_costs_no_start(tls_file: str) -> None:
    """The addresses are said, and no example."""
    said: list[str] = []
    door = FrontDoorSettings(rest_port=free_port(), grpc_port=0, rest_ssl_config_file=tls_file)

    announce(said.append, door, MonitoringConfig(prometheus_enabled=False), table(1, State.END))

    assert [one.partition(":")[0] for one in said] == ["REST is open", "status page"]


def test_without_rest_only_grpc_is_announced() -> None:
    """There is nothing to paste then."""
    said: list[str] = []

    announce(said.append, FrontDoorSettings(), MonitoringConfig(), table(1, State.AVAILABLE))

    assert said == ["gRPC is open: 127.0.0.1:8500"]


def named(table: RoutingTable, **changes: object) -> RoutingTable:
    """Return a table that every model has a result in, with some changes."""
    return replace(table, **{"settled": True, **changes})


def test_the_state_of_the_server_is_printed_when_it_changes(capsys) -> None:
    """First when the addresses were announced, and never `ready` while requests should not come."""
    printer = RolloutPrinter(Console())
    printer.show([named(table(1, State.LOADING))])
    printer.say_state()
    printer.show([named(table(2, State.AVAILABLE), awaited=frozenset({ServableId("m", 2)}))])
    printer.show([named(table(3, State.AVAILABLE))])
    printer.show([named(table(4, State.AVAILABLE))])
    problem = ListInForce(problems=(Problem("typo", "models.config", 3),))
    printer.show([named(table(5, State.AVAILABLE), in_force=problem)])

    assert [one for one in texts(capsys) if "ready" in one] == [
        "not ready: 0 models answer, 1 does not (1 problem)",
        "ready: 1 model with 1 version answers",
        "ready with problems: 1 model with 1 version answers (1 problem)",
    ]


def test_the_state_is_handed_on_with_every_table_once_it_is_announced() -> None:
    """A service manager shows the newest; before, the server only starts."""
    told: list[str] = []
    printer = RolloutPrinter(Console(), told.append)
    printer.show([named(table(1, State.AVAILABLE))])
    assert told == []

    printer.say_state()
    printer.show([named(table(2, State.LOADING))])
    printer.show([named(table(2, State.LOADING))])
    printer.show([named(table(3, State.AVAILABLE), in_force=ListInForce(problems=(Problem("typo"),)))])
    printer.show([named(table(4, State.AVAILABLE), in_force=ListInForce(problems=(Problem("a"), Problem("b"))))])

    assert told == [
        "ready: 1 model with 1 version answers",
        "not ready: 0 models answer, 1 does not (1 problem)",
        "ready with problems: 1 model with 1 version answers (1 problem)",
        "ready with problems: 1 model with 1 version answers (2 problems)",
    ]


def test_the_noise_of_c_code_is_kept_away_and_errors_are_not(capfd: pytest.CaptureFixture[str]) -> None:
    """It writes to the file descriptor; afterwards, also after an error, the terminal is as before."""
    with pytest.raises(ValueError, match="invalid"):
        _noisy()
    os.write(2, b"message")

    assert capfd.readouterr().err == "message"


def _noisy() -> None:
    with without_stderr():
        os.write(2, b"noise")
        int("no number")
