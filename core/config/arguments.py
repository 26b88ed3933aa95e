"""Turns command-line arguments into server settings by TensorFlow's parsing rules; files are named, not read."""

from __future__ import annotations

import difflib
import enum
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from core.config.extensions import op_library_problem
from core.config.flag import Flag, FlagKind, Treatment, Value
from core.config.flag_table import FLAGS
from core.config.models_text import absolute_path
from core.config.own_flags import listed_names
from core.config.server_settings import ServerSettings, SessionSettings
from core.errors import ConfigError, Problem

EXIT_FAILURE = 255
PROGRAM = "ray_model_server"
"""The name of the program where nobody called it by another."""

HELP_FLAGS = "--help-flags"
_INTEGER = re.compile(r"[ \t\n\v\f\r]*[+-]?[0-9]{1,40}", re.ASCII)
_FLOAT = re.compile(r"[ \t\n\v\f\r]*[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_HEADER = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")
_SECRET_HEADER = re.compile("auth|cookie|token|secret|password|api-?key|credential")
_BITS = {FlagKind.INT32: 32, FlagKind.INT64: 64}
_TRUTH = {"true": True, "1": True, "false": False, "0": False}
_NO_PRESET: Mapping[str, Value] = MappingProxyType({})


class ArgumentsOutcome(enum.Enum):
    """The program's next step after parsing its arguments."""

    START = "start"
    VERSION = "version"
    HELP = "help"
    FLAGS = "flags"
    BAD_VALUE = "bad value"
    REFUSED = "refused"


_HELP = MappingProxyType(
    {
        "--help": (ArgumentsOutcome.HELP, EXIT_FAILURE),  # as in TensorFlow Serving
        "-h": (ArgumentsOutcome.HELP, 0),
        HELP_FLAGS: (ArgumentsOutcome.FLAGS, 0),
    }
)


@dataclass(frozen=True, slots=True)
class ParsedFlags:
    """The parsed arguments.

    `output` is for standard output, `warnings` for the log; HELP and FLAGS ask for texts that are not part of it.
    `settings` is set when the outcome is START; the other outcomes end the program with `exit_code`. `given` holds the
    flags that were set, with their values, when the outcome is START or REFUSED.
    """

    outcome: ArgumentsOutcome
    settings: ServerSettings | None = None
    output: str = ""
    warnings: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    exit_code: int | None = None
    given: Mapping[str, Value] = field(default_factory=dict)


def usage(program: str = PROGRAM) -> str:
    """Return how the server is called, by the name that the program has."""
    return f"usage: {program} [--FLAG=VALUE ...]   ({program} {HELP_FLAGS} shows the flags)"


def parse_flags(
    argv: Sequence[str], preset: Mapping[str, Value] = _NO_PRESET, *, program: str = PROGRAM
) -> ParsedFlags:
    """Parse the arguments after the program's name; a flag on the command line replaces its value in `preset`."""
    given, leftovers, bad = _read(argv)
    if bad:
        return ParsedFlags(ArgumentsOutcome.BAD_VALUE, output=usage(program), warnings=bad, exit_code=EXIT_FAILURE)
    if leftovers and leftovers[0] in _HELP:
        outcome, status = _HELP[leftovers[0]]
        return ParsedFlags(outcome, exit_code=status)
    if given.get("version"):
        return ParsedFlags(ArgumentsOutcome.VERSION, exit_code=0)
    chosen = {**preset, **given}
    unknown = f"unknown argument: {leftovers[0]}\n{usage(program)}\n" if leftovers else ""
    warnings = (*(_hint(argument) for argument in leftovers), *_warnings(chosen))
    return _start(chosen, unknown, warnings)


def settings_of(chosen: Mapping[str, Value]) -> ServerSettings:
    """Return the settings for flag values, otherwise their defaults; raises ConfigError with all mistakes."""
    values = {name: flag.default for name, flag in FLAGS.items()} | _implied(chosen) | dict(chosen)
    problems = tuple(Problem(message, field=f"--{name}") for name, message in _problems(values))
    if problems:
        raise ConfigError(problems)
    return _settings(values)


def _implied(chosen: Mapping[str, Value]) -> dict[str, Value]:
    """Apply an explicitly given poll period to remote storage too, as in TensorFlow Serving."""
    asked = chosen.get("file_system_poll_wait_seconds")
    return {} if asked is None else {"remote_poll_wait_seconds": asked}


def value_of(flag: Flag, text: str) -> Value | None:
    """Parse a flag's value; None when it is not valid."""
    if flag.kind is FlagKind.STRING:
        return text
    if flag.kind is FlagKind.BOOL:
        return _TRUTH.get(text.lower())
    if flag.kind is FlagKind.FLOAT:
        return _finite(text) if _FLOAT.fullmatch(text) else None
    highest = 2 ** (_BITS[flag.kind] - 1)
    number = int(text) if _INTEGER.fullmatch(text) else highest
    return number if -highest <= number < highest else None


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def all_flags(program: str = PROGRAM) -> str:
    """Return every flag with its default, type and meaning, a line for each."""
    lines = (f"\t{with_default(flag)}\t{flag.kind.value}\t{flag.help}" for flag in FLAGS.values())
    return "\n".join((f"usage: {program}", "Flags:", *lines))


def with_default(flag: Flag) -> str:
    """Return a flag with its default, as it is written on a command line."""
    return f"--{flag.name}={_shown(flag.default)}"


def _read(argv: Sequence[str]) -> tuple[dict[str, Value], list[str], tuple[str, ...]]:
    given: dict[str, Value] = {}
    leftovers: list[str] = []
    bad: list[str] = []
    for argument in argv:
        name, equals, text = argument.removeprefix("--").partition("=")
        flag = FLAGS.get(name) if argument.startswith("--") else None
        if flag is None or not (equals or flag.kind is FlagKind.BOOL):
            leftovers.append(argument)
            continue
        value = value_of(flag, text) if equals else True
        if value is None:
            bad.append(f"Couldn't interpret value {text} for flag {name}.")
        else:
            given[name] = value
    return given, leftovers, tuple(bad)


def _start(chosen: Mapping[str, Value], output: str, warnings: tuple[str, ...]) -> ParsedFlags:
    try:
        settings = settings_of(chosen)
    except ConfigError as error:
        failures = "\n".join(problem.message for problem in error.problems)
        text = f"{output}Failed to start server. Error: INVALID_ARGUMENT: {failures}\n"
        return ParsedFlags(ArgumentsOutcome.REFUSED, None, text, warnings, error.problems, EXIT_FAILURE, chosen)
    return ParsedFlags(ArgumentsOutcome.START, settings, output, warnings, given=chosen)


def _shown(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value) if isinstance(value, str) else str(value)


def _hint(argument: str) -> str:
    name = argument.removeprefix("--").partition("=")[0]
    if argument == f"--{name}" and name in FLAGS:
        return f"{argument} is ignored; write --{name}=<value> in one word"
    near = difflib.get_close_matches(name, FLAGS, n=1)
    return f"{argument} is ignored" + (f"; did you mean --{near[0]}?" if near else "")


def _warnings(chosen: Mapping[str, Value]) -> Iterator[str]:
    for name in chosen:
        flag = FLAGS[name]
        if flag.treatment is Treatment.WITHOUT_EFFECT:
            yield f"--{name} has no effect: {flag.remark}"
    values: Mapping[str, Any] = {name: flag.default for name, flag in FLAGS.items()} | dict(chosen)
    if values["rest_api_port"] and values["rest_api_port"] == values["port"]:
        yield (
            "server_options.http_port cannot be same as grpc_port. Please use a different port for HTTP/REST API. "
            "Skipped exporting HTTP/REST API."
        )
    if values["model_config_file"] and values["model_base_path"]:
        yield "--model_name and --model_base_path have no effect beside --model_config_file"
    yield from _useless(values)
    if values["mixed_precision"] not in ("", "bfloat16"):
        yield f"--mixed_precision={values['mixed_precision']} has no effect: only bfloat16 is known"
    if values["file_system_poll_wait_seconds"] < 0:
        yield "--file_system_poll_wait_seconds is negative: storage is looked at only once"


def _useless(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield a warning for each flag that has no effect without another one."""
    if values["allow_version_labels_for_unavailable_models"] and not values["strict_version_labels"]:
        yield (
            "--allow_version_labels_for_unavailable_models has no effect without --strict_version_labels: "
            "labels may always be declared; one answers as soon as its version does"
        )
    if values["enable_per_model_batching_parameters"] and not values["enable_batching"]:
        yield "--enable_per_model_batching_parameters has no effect without --enable_batching"


def _problems(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield from _door_problems(values)
    if values["batching_parameters_file"] and not values["enable_batching"]:
        yield (
            "batching_parameters_file",
            "server_options.batching_parameters_file is set without setting server_options.enable_batching to true.",
        )
    if not (values["model_base_path"] or values["model_config_file"] or values["model_settings_file"]):
        yield (
            "model_base_path",
            "Both server_options.model_base_path and server_options.model_config_file are empty!",
        )
    parallelism = [f"tensorflow_{part}_parallelism" for part in ("session", "intra_op", "inter_op")]
    if all(values[name] > 0 for name in parallelism):
        yield (
            parallelism[0],
            (
                "Either configure server_options.tensorflow_session_parallelism or "
                "(server_options.tensorflow_intra_op_parallelism, server_options.tensorflow_inter_op_parallelism) "
                "separately. You cannot configure all."
            ),
        )
    share = values["per_process_gpu_memory_fraction"]
    if not 0 <= share <= 1:
        text = f"--per_process_gpu_memory_fraction must be between 0 and 1; was {share:g}"
        yield "per_process_gpu_memory_fraction", text
    yield from _cache_problems(values)
    yield from _log_problems(values)
    yield from _tracing_problems(values)
    yield from _library_problems(values)
    yield from _refusals(values)


def _library_problems(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for entry in listed_names(values["op_libraries"]):
        problem = op_library_problem(entry)
        if problem is not None:
            yield "op_libraries", f"--op_libraries {problem}"


def _cache_problems(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if values["model_cache_max_bytes"] < 0:
        text = f"--model_cache_max_bytes must not be negative; was {values['model_cache_max_bytes']}"
        yield "model_cache_max_bytes", text
    if "://" in values["model_cache_dir"]:
        yield "model_cache_dir", f"--model_cache_dir must be a local folder; was {values['model_cache_dir']}"
    if values["state_dir"] and absolute_path(values["state_dir"], "") is None:
        yield "state_dir", f"--state_dir must be an absolute path or a URL; was {values['state_dir']}"


def _log_problems(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, known in (("log_format", ("text", "json")), ("log_level", ("debug", "info", "warning", "error"))):
        if values[name] not in known:
            yield name, f"--{name} must be one of {', '.join(known)}; was {values[name]}"
    for name in listed_names(values["request_log_metadata_headers"].lower()):
        if not _HEADER.fullmatch(name) or _SECRET_HEADER.search(name):
            text = f"--request_log_metadata_headers must be names of headers that hold no secrets; found {name!r}"
            yield "request_log_metadata_headers", text
    share = values["access_log_sampling_rate"]
    if not 0 <= share <= 1:
        yield "access_log_sampling_rate", f"--access_log_sampling_rate must be between 0 and 1; was {share:g}"


def _tracing_problems(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    endpoint, share = values["tracing_otlp_endpoint"], values["tracing_sampling_rate"]
    if endpoint and not is_url(endpoint):
        text = f"--tracing_otlp_endpoint must be a URL that begins with http:// or https://; was {endpoint}"
        yield "tracing_otlp_endpoint", text
    if share > 1:
        yield "tracing_sampling_rate", f"--tracing_sampling_rate must not be above 1; was {share:g}"


def _door_problems(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name in ("port", "rest_api_port"):
        if not 0 <= values[name] < 2**16:
            yield name, f"--{name}={values[name]} is not a TCP port (0 to 65535)"
    if not values["port"] and not values["grpc_socket_path"]:
        text = "At least one of server_options.grpc_port or server_options.grpc_socket_path must be set."
        yield "port", text
    if values["use_alts_credentials"] and values["ssl_config_file"]:
        text = "Either use_alts_credentials must be false or ssl_config_file must be empty."
        yield "use_alts_credentials", text
    for entry in values["grpc_channel_arguments"].split(","):
        if entry and "=" not in entry:
            yield "grpc_channel_arguments", f"--grpc_channel_arguments must be name=value,name=value; found {entry}"
    if values["rest_api_max_body_bytes"] < 1:
        text = f"--rest_api_max_body_bytes must be positive; was {values['rest_api_max_body_bytes']}"
        yield "rest_api_max_body_bytes", text


def _refusals(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for flag in FLAGS.values():
        if flag.treatment is Treatment.REFUSED and values[flag.name] != flag.default:
            yield flag.name, f"--{flag.name} is not supported: {flag.remark}"


def _settings(values: Mapping[str, Any]) -> ServerSettings:
    settings = ServerSettings(session=_threads(values))
    groups: dict[str, dict[str, Any]] = {}
    for flag in FLAGS.values():
        group, _, name = flag.target.partition(".")
        if group:
            value = values[flag.name]
            groups.setdefault(group, {})[name] = flag.convert(value) if flag.convert is not None else value
    if values["rest_api_port"] == values["port"]:
        groups["front_door"]["rest_port"] = 0
    filled = {group: replace(getattr(settings, group), **named) for group, named in groups.items()}
    return replace(settings, **filled)


def _threads(values: Mapping[str, Any]) -> SessionSettings:
    intra, inter = values["tensorflow_intra_op_parallelism"], values["tensorflow_inter_op_parallelism"]
    if intra <= 0 and inter <= 0:
        intra = inter = values["tensorflow_session_parallelism"]
    return SessionSettings(max(intra, 0), max(inter, 0))


def is_url(text: str) -> bool:
    """Whether a text is an HTTP URL, to which spans can be sent."""
    scheme, separator, rest = text.partition("://")
    return scheme in {"http", "https"} and bool(separator) and bool(rest.partition("/")[0])
