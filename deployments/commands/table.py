"""The subcommands of `ray_model_server`: one table, and one module for each, imported when it is called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Command:
    """A subcommand: the module whose `main(arguments)` returns the exit status, and its purpose."""

    module: str
    summary: str


COMMANDS: Mapping[str, Command] = MappingProxyType(
    {
        "check-config": Command("deployments.commands.check_config", "find the mistakes in configuration files"),
        "inspect": Command("deployments.commands.inspect_version", "show what is in a version, without serving it"),
        "status": Command("deployments.commands.status", "show the models of a running server"),
        "label": Command("deployments.commands.label", "point a label to a version, or remove it"),
        "load": Command("deployments.commands.load", "load a version, or add a model"),
        "unload": Command("deployments.commands.unload", "unload a version, or remove a model"),
        "profile": Command("deployments.commands.profile", "record what a replica does, for Perfetto"),
        "warmup-record": Command("deployments.commands.warmup_record", "make a version's warm-up file of requests"),
    }
)


def overview() -> str:
    """Return the part of the help text that names the subcommands."""
    width = max(map(len, COMMANDS))
    lines = (f"  {name:{width}}  {one.summary}" for name, one in COMMANDS.items())
    return "\n".join(
        (
            "Serves TensorFlow SavedModels over TensorFlow Serving's REST and gRPC APIs, on a Ray cluster.",
            "",
            "usage: ray_model_server --model_base_path=PATH | --model_config_file=FILE [FLAG ...]   run the server",
            "       ray_model_server COMMAND ...                                                   see below",
            "",
            "Commands (each explains itself with --help):",
            *lines,
            "",
        )
    )
