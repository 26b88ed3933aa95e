"""The console script `ray_model_server`: TensorFlow Serving's flags, a Ray of its own, and a clean end."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

from core.errors import ConfigError, ServingError
from core.flags import Outcome, parse
from core.server_settings import ServerSettings
from deployments import ray_environment
from deployments.model_list import ConfiguredModels, with_absolute_paths

FAILED = 255
"""Exit status of a failed start (TensorFlow Serving, -1)."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server until SIGTERM or SIGINT; gives the exit status."""
    parsed = parse(list(sys.argv[1:] if arguments is None else arguments))
    if parsed.outcome is Outcome.VERSION:
        print(f"Ray Model Server: {version('ray-model-server')}\nTensorFlow Library: {version('tensorflow')}")
        return 0
    if parsed.output:
        print(parsed.output, flush=True)
    for warning in parsed.warnings:
        print(warning, file=sys.stderr, flush=True)
    if parsed.settings is None:
        return _refuse(ConfigError(parsed.problems)) if parsed.problems else parsed.exit_code or FAILED
    settings = with_absolute_paths(parsed.settings, os.getcwd())
    try:
        ConfiguredModels(settings).models()
        return _serve(settings)
    except ServingError as error:
        return _refuse(error)


def _refuse(error: ServingError) -> int:
    print(f"Failed to start server. Error: {error.code.name}: {error}", flush=True)
    return FAILED


def _serve(settings: ServerSettings) -> int:
    """Start and run; the import is late, because Ray takes seconds and a wrong flag should be told at once."""
    if not settings.cluster.ray_address:
        ray_environment.prepare(os.environ)
    from deployments.launcher import Launcher  # noqa: PLC0415

    return Launcher(settings).run()


if __name__ == "__main__":
    sys.exit(main())
