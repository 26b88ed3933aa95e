"""The help of the program: commands first, flags on demand, and a guess at what a mistyped command was meant to be."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from core.config.arguments import HELP_FLAGS, all_flags, with_default
from core.config.flag_table import FLAGS
from deployments.commands.table import COMMANDS, program

FIRST_FLAGS: Final = (
    "model_name", "model_base_path", "model_config_file", "model_settings_file",
    "port", "rest_api_port", "enable_batching", "ray_address",
)  # fmt: skip
"""What a newcomer needs."""

SERVER_TOPICS: Final = frozenset({"serve", "flags", "server"})
"""Words after `help` that ask for the flags of the server."""

START: Final = "to run the server, give flags only: {program} --model_base_path=PATH"
MEANT: Final[Mapping[str, str]] = MappingProxyType(
    {
        **dict.fromkeys(("serve", "server", "run", "start"), START),
        **dict.fromkeys(("check", "validate", "lint", "config"), "did you mean check-config?"),
        **dict.fromkeys(("list", "ls", "ps", "models", "show", "health"), "did you mean status?"),
        **dict.fromkeys(("labels", "tag", "alias"), "did you mean label?"),
        **dict.fromkeys(("add", "deploy"), "did you mean load?"),
        **dict.fromkeys(("remove", "rm", "delete", "undeploy"), "did you mean unload?"),
        **dict.fromkeys(("canary", "promote", "rollback", "abort"), "did you mean rollout?"),
        **dict.fromkeys(("split", "weights"), "did you mean traffic?"),
        **dict.fromkeys(("shadow", "copy"), "did you mean mirror?"),
        **dict.fromkeys(("trace", "perf"), "did you mean profile?"),
        **dict.fromkeys(("version", "-v", "-V"), "did you mean {program} --version?"),
        **dict.fromkeys(("stop", "shutdown"), "to stop a server, press Ctrl-C there, or send its process SIGTERM"),
    }
)
"""What people type who know other programs, and what it is here; `{program}` stands for the name of the program."""


def overview() -> str:
    """Return the help of the program."""
    width = max(map(len, COMMANDS))
    commands = (f"  {name:{width}}  {one.summary}" for name, one in COMMANDS.items())
    first = {with_default(FLAGS[name]): FLAGS[name].help for name in FIRST_FLAGS}
    flag_width = max(map(len, first))
    return "\n".join(
        (
            "Serves TensorFlow SavedModels over TensorFlow Serving's REST and gRPC APIs, on a Ray cluster.",
            "",
            f"usage: {program()} --model_base_path=PATH | --model_config_file=FILE [FLAG ...]   run the server",
            f"       {program()} COMMAND ...                                                   see below",
            "",
            f"Commands ({program()} help COMMAND explains one):",
            *commands,
            "",
            f"First flags of {len(FLAGS)} ({program()} {HELP_FLAGS} shows all):",
            *(f"  {flag:{flag_width}}  {meaning}" for flag, meaning in first.items()),
        )
    )


def help_text(topic: str) -> str | None:
    """Return the help that is not a command's own; None for a topic that is not known."""
    if not topic:
        return overview()
    return all_flags(program()) if topic in SERVER_TOPICS else None


def unknown_command(arguments: Sequence[str]) -> str:
    """Return what is wrong with a first argument that is not a command; empty where the arguments are the server's.

    TensorFlow Serving reports an unknown argument and starts: so does this server where one of its flags is given.
    """
    first = arguments[0] if arguments else ""
    near = difflib.get_close_matches(first, COMMANDS, n=1)
    if first in MEANT:
        guess = MEANT[first].format(program=program())
    elif near:
        guess = f"did you mean {near[0]}?"
    elif "/" in first:
        guess = f"to serve a model: {program()} --model_base_path={first}"
    else:
        guess = f"{program()} help lists them"
    is_ours = not first or (first.startswith("-") and first not in MEANT) or any(map(_is_flag, arguments))
    return "" if is_ours else f"{program()}: there is no command {first}; {guess}"


def _is_flag(argument: str) -> bool:
    return argument.startswith("--") and argument.removeprefix("--").partition("=")[0] in FLAGS
