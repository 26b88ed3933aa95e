"""`python -m deployments.launch.serve_run configs/app.yaml`: Ray's `serve run`, with retries of Ray's start.

`serve run` itself uses the Ray that it finds started in its process, and otherwise starts one with a single try.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ray.serve.scripts import cli

from core.errors import Unavailable
from deployments.launch.ray_start import RayInit, RayStart, start_ray

NAMESPACE = "serve"
"""The namespace in which Ray's command keeps its actors."""

CONNECTED = ("--address", "auto")
"""Use the connection of this process, whatever RAY_ADDRESS says."""

FAILED = 1


def main(arguments: Sequence[str], start: RayStart | None = None) -> int:
    """Start or join Ray as `serve run` does, then hand over to it; returns the exit status of a failed start."""
    try:
        start_ray(start or RayInit(namespace=NAMESPACE), _say)
    except Unavailable as error:
        _say(str(error))
        return FAILED
    cli(["run", *CONNECTED, *arguments])
    return 0


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
