"""The subcommands of `ray_model_server`: one table, and one module for each, imported when it is called."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

PROGRAMS: Final = ("ray_model_server", "tensorflow_model_server")
"""The names of the console script: ours, and the one that others' files and scripts call."""


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
        "rollout": Command("deployments.delivery_commands.rollout", "show how a rollout stands, or give it an order"),
        "traffic": Command("deployments.delivery_commands.traffic", "divide a model's requests over its versions"),
        "mirror": Command("deployments.delivery_commands.mirror", "copy requests to another version, and compare"),
        "compare": Command("deployments.replay.compare_command", "put recorded requests to two versions, and compare"),
        "profile": Command("deployments.commands.profile", "record what a replica does, for Perfetto"),
        "token": Command("deployments.commands.token", "make a token, and its hash for an access file"),
        "warmup-record": Command("deployments.commands.warmup_record", "make a version's warm-up file of requests"),
    }
)


def program() -> str:
    """Return the name by which this program was called; ours where it is neither, as under `python -m`."""
    called = os.path.basename(sys.argv[0])
    return called if called in PROGRAMS else PROGRAMS[0]
