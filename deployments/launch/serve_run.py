"""`python -m deployments.launch.serve_run configs/app.yaml`: Ray's `serve run`, started and stopped as our own server.

`serve run` itself uses the Ray that it finds started in its process, and otherwise starts one with a single try. It
shares the ports of its proxies with any other, hears SIGINT only, and ends with 0 also when it failed.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence

import yaml

from core.admin.serve_ports import PortUse, arguments_of_config, ports_of_door, ports_of_proxies
from deployments.config.files import read_text
from deployments.config.startup_settings import settings_of_config
from deployments.launch.endings import FAILED_LATER, explained, status_of_start
from deployments.launch.ray_environment import import_ahead
from deployments.launch.ray_start import RayInit, RayStart, start_ray
from deployments.system.port_claim import require_free
from deployments.system.supervisor import Supervised, supervise

NAMESPACE = "serve"
"""The namespace in which Ray's command keeps its actors."""

CONNECTED = ("--address", "auto")
"""Use the connection of this process, whatever RAY_ADDRESS says."""


def main(arguments: Sequence[str], start: RayStart | None = None) -> int:
    """Start or join Ray as `serve run` does, and run it until SIGTERM or SIGINT; returns the exit status."""
    return status_of_start(lambda: _main(arguments, start))


def _main(arguments: Sequence[str], start: RayStart | None) -> int:
    if not _joins():
        for use in _ports(arguments):
            require_free(use.host, use.port, use.what)
    ending = supervise(
        lambda supervised: status_of_start(lambda: _run(arguments, start or RayInit(namespace=NAMESPACE), supervised)),
        lambda: None,
    )
    return explained(ending, _say)


def _joins() -> bool:
    """Whether Ray would join a cluster, whose routers may hold the ports."""
    from ray._private.services import find_bootstrap_address  # noqa: PLC0415 - takes a second

    return os.environ.get("RAY_ADDRESS", "local") not in {"", "local"} or find_bootstrap_address(None) is not None


def _ports(arguments: Sequence[str]) -> Iterator[PortUse]:
    """Yield the ports that the configs use; raises what their application would, for which `serve run` only waits."""
    for file in (one for one in arguments if one.endswith((".yaml", ".yml"))):
        document = yaml.safe_load(read_text(file))
        if not isinstance(document, dict):
            continue
        for args in arguments_of_config(document):
            yield from ports_of_door(settings_of_config(args)[0].front_door)
        yield from ports_of_proxies(document)


def _run(arguments: Sequence[str], start: RayStart, supervised: Supervised) -> int:
    import_ahead(os.environ)
    start_ray(start, _say, supervised.stop.is_set)
    supervised.report_up()
    main_thread = threading.main_thread().ident
    threading.Thread(target=_interrupt, args=(supervised.stop, main_thread), name="stop", daemon=True).start()
    from ray.serve.scripts import cli  # noqa: PLC0415 - takes seconds, and a taken port should be reported at once

    try:
        cli(["run", *CONNECTED, *arguments])
    except SystemExit as ended:
        if not ended.code:
            return 0 if supervised.stop.is_set() else FAILED_LATER
        return ended.code if isinstance(ended.code, int) else FAILED_LATER
    return 0


def _interrupt(stop: threading.Event, thread: int) -> None:
    """Turn a request to stop into the only signal upon which `serve run` drains."""
    stop.wait()
    signal.pthread_kill(thread, signal.SIGINT)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
