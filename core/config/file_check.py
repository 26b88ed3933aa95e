"""Checks configuration files for `check-config`: the kind of a file, every mistake, and settings without effect."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, cast

import yaml
from google.protobuf.descriptor import Descriptor

from core.config import arguments, joined_models, yaml_settings
from core.config.extensions import BUILT_IN, Extensions
from core.config.flag_table import FLAGS
from core.config.model_config import ModelConfig
from core.config.models_text import NO_LIST, absolute_path, models_and_problems
from core.config.parameter_files import batching_parameters, monitoring_config, ssl_config
from core.config.server_settings import SessionSettings
from core.config.session_options import session_config, session_config_warnings
from core.config.version_policy import Specific
from core.config.yaml_settings import YamlSettings
from core.errors import ConfigError, Problem
from core.formats.text_format import says_nothing
from core.formats.text_outline import outline
from core.protos import model_config_pb2, session_file_pb2


class FileKind(enum.Enum):
    """The kind of a configuration file, as `--kind` names it."""

    MODELS = "models"
    SETTINGS = "settings"
    SERVE = "serve"
    BATCHING = "batching"
    MONITORING = "monitoring"
    SSL = "ssl"
    SESSION = "session"
    PLATFORM = "platform"
    ACCESS = "access"


MESSAGES: Mapping[FileKind, Descriptor] = MappingProxyType(
    {
        FileKind.MODELS: cast("Descriptor", model_config_pb2.ModelServerConfig.DESCRIPTOR),
        FileKind.BATCHING: cast("Descriptor", model_config_pb2.BatchingParameters.DESCRIPTOR),
        FileKind.MONITORING: cast("Descriptor", model_config_pb2.MonitoringConfig.DESCRIPTOR),
        FileKind.SSL: cast("Descriptor", model_config_pb2.SSLConfig.DESCRIPTOR),
        FileKind.SESSION: cast("Descriptor", session_file_pb2.ConfigProto.DESCRIPTOR),
    }
)
YAML_SECTIONS = frozenset({"models", "defaults", "server"})
ACCESS_SECTIONS = frozenset({"clients", "anyone"})
SERVE_SECTIONS = frozenset({"applications", "import_path"})
REFUSED_FIELDS: Mapping[str, str] = MappingProxyType(
    {
        "platform_configs": "platform_config_file",
        "session_bundle_config": "platform_config_file",
        "thread_pool_factory_config": "thread_pool_factory_config_file",
    }
)
IMPORT_PATH = "deployments.app:build"
NO_KIND = "The kind of this file cannot be recognized; give it with --kind"
ANY_ROOT = "\0"
"""Stands for the root of relative base paths that the server will be given; no path begins with it."""

RELATIVE = "is relative: the server needs --relative_path_root"
BLANK = "says nothing: it holds only blanks and comments"
BLANK_LATER = f"{BLANK}; a running server whose file said more before refuses it"


@dataclass(frozen=True, slots=True)
class Checked:
    """The findings in one file.

    `models` and `settings` are its content as far as it can be read, `root` the folder of relative base paths that it
    gives; for checks across files.
    """

    file: str
    kind: FileKind | None
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    models: tuple[ModelConfig, ...] = ()
    settings: YamlSettings | None = None
    root: str = ""


def kind_of(text: str, file: str) -> FileKind | None:
    """Guess the kind from the fields at the top of the text, and from the file's name."""
    names = {one.name for one in outline(text)[0].fields}
    if names & SERVE_SECTIONS:
        return FileKind.SERVE
    if names & ACCESS_SECTIONS:
        return FileKind.ACCESS
    if file.endswith((".yaml", ".yml")) or names & YAML_SECTIONS:
        return FileKind.SETTINGS
    if names & REFUSED_FIELDS.keys():
        return FileKind.PLATFORM
    known = {kind: len(names & set(message.fields_by_name)) for kind, message in MESSAGES.items()}
    best = max(known, key=lambda kind: known[kind])
    return best if known[best] else None


def check_file(
    text: str,
    file: str,
    kind: FileKind | None = None,
    *,
    relative_path_root: str = "",
    known: Extensions = BUILT_IN,
) -> Checked:
    """Read a file as the server would, and return every mistake and warning that the server would report."""
    chosen = kind or kind_of(text, file)
    if chosen is None:
        return Checked(file, None, (Problem(f"{BLANK}. {NO_KIND}" if says_nothing(text) else NO_KIND, file),))
    if chosen is FileKind.ACCESS:  # read by those who know what it means
        return Checked(file, chosen)
    if chosen is FileKind.MODELS:
        return _checked_models(text, file, relative_path_root, known)
    if chosen is FileKind.SERVE:
        return _checked_serve(text, file)
    if chosen is FileKind.SETTINGS:
        return _checked_settings(text, file, known)
    problems, warnings = _parameters(chosen, text, file)
    return Checked(file, chosen, problems, (*warnings, *_blank(text, file)) if not problems else warnings)


def _blank(text: str, file: str) -> Iterator[Problem]:
    if says_nothing(text):
        yield Problem(BLANK_LATER, file)


def _checked_models(text: str, file: str, root: str, known: Extensions) -> Checked:
    """Check a list of models; where no root is known, the server's command line decides about relative base paths."""
    models, problems = models_and_problems(text, file, relative_path_root=root or ANY_ROOT, known=known)
    if not problems and says_nothing(text):
        problems = (Problem(NO_LIST, file),)
    warnings = (*_useless_labels(models, file), *(_relative_paths(models, file) if not root else ()))
    return Checked(file, FileKind.MODELS, problems, warnings, models=models)


def _relative_paths(models: Iterable[ModelConfig], file: str) -> Iterator[Problem]:
    for model in models:
        if model.base_path.startswith(ANY_ROOT):
            yield Problem(RELATIVE, file, None, f"{model.name}.base_path")


def _checked_settings(text: str, file: str, known: Extensions) -> Checked:
    try:
        own, found = yaml_settings.settings_and_problems(text, file, known)
    except ConfigError as error:
        return Checked(file, FileKind.SETTINGS, error.problems)
    parsed = arguments.parse_flags((), {"model_settings_file": file, **own.server})
    problems, warnings = _findings_about_flags(parsed, file, "server")
    root = str(own.server.get("relative_path_root", ""))
    return Checked(
        file, FileKind.SETTINGS, (*found, *problems), (*warnings, *_blank(text, file)), settings=own, root=root
    )


def _findings_about_flags(
    parsed: arguments.ParsedFlags, file: str, field: str
) -> tuple[tuple[Problem, ...], tuple[Problem, ...]]:
    """Return the mistakes and the warnings about flags that a file sets."""
    problems = tuple(Problem(one.message, file, None, f"{field}.{one.field[2:]}") for one in parsed.problems)
    if parsed.outcome is arguments.ArgumentsOutcome.BAD_VALUE:
        return tuple(Problem(one, file, None, field) for one in parsed.warnings), ()
    return problems, tuple(Problem(one, file, None, field) for one in parsed.warnings)


def _checked_serve(text: str, file: str) -> Checked:
    """Check the arguments of our applications in a config of Ray Serve; the rest is Serve's to check."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        return Checked(file, FileKind.SERVE, (Problem(str(error), file),))
    found = document.get("applications") if isinstance(document, dict) else None
    applications = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    said = [_findings_about_arguments(one, file) for one in applications if one.get("import_path") == IMPORT_PATH]
    if not said:
        return Checked(file, FileKind.SERVE, (Problem(f"No application has import_path {IMPORT_PATH}", file),))
    return Checked(
        file,
        FileKind.SERVE,
        tuple(problem for problems, _ in said for problem in problems),
        tuple(warning for _, warnings in said for warning in warnings),
        root=next((root for one in applications if (root := _given_root(one))), ""),
    )


def _given_root(application: Mapping[str, Any]) -> str:
    given = application.get("args")
    return str(given.get("relative_path_root") or "") if isinstance(given, dict) else ""


def _findings_about_arguments(
    application: Mapping[str, Any], file: str
) -> tuple[tuple[Problem, ...], tuple[Problem, ...]]:
    given = application.get("args") or {}
    field = f"applications.{application.get('name', 'default')}.args"
    if not isinstance(given, dict):
        return (Problem("must be flags with their values", file, None, field),), ()
    parsed = arguments.parse_flags([f"--{name}={argument_text(value)}" for name, value in given.items()])
    problems, warnings = _findings_about_flags(parsed, file, field)
    unknown = (name for name in given if name not in FLAGS)
    return (*(Problem("is not a flag", file, None, f"{field}.{name}") for name in unknown), *problems), warnings


def argument_text(value: object) -> str:
    """Return the value of a flag as it is written on a command line."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _useless_labels(models: Iterable[ModelConfig], file: str) -> Iterator[Problem]:
    for model in models:
        for label, version in sorted(model.labels.items()):
            if isinstance(model.policy, Specific) and version not in model.policy.versions:
                text = f"names version {version}, which the version policy does not serve"
                yield Problem(text, file, None, f"{model.name}.version_labels.{label}")


def _parameters(kind: FileKind, text: str, file: str) -> tuple[tuple[Problem, ...], tuple[Problem, ...]]:
    """Return the mistakes and the warnings of a file of parameters."""
    try:
        return (), _READERS[kind](text, file)
    except ConfigError as error:
        return error.problems, ()


def _session(text: str, file: str) -> tuple[Problem, ...]:
    session_config(SessionSettings(session_config_file=file), text, file)
    return session_config_warnings(text, file)


def _refused(text: str, file: str) -> tuple[Problem, ...]:
    fields = [one for one in outline(text)[0].fields if one.name in REFUSED_FIELDS]
    reasons = ((one, REFUSED_FIELDS[one.name]) for one in fields)
    problems = tuple(
        Problem(f"--{flag} is not supported: {FLAGS[flag].remark}", file, one.line, one.name) for one, flag in reasons
    )
    raise ConfigError(problems or (Problem("--platform_config_file is not supported", file),))


def _without_warnings(read: Callable[[str, str], object]) -> Callable[[str, str], tuple[Problem, ...]]:
    def reading(text: str, file: str) -> tuple[Problem, ...]:
        read(text, file)
        return ()

    return reading


_READERS: Mapping[FileKind, Callable[[str, str], tuple[Problem, ...]]] = {
    FileKind.BATCHING: _without_warnings(batching_parameters),
    FileKind.MONITORING: _without_warnings(monitoring_config),
    FileKind.SSL: _without_warnings(ssl_config),
    FileKind.SESSION: _session,
    FileKind.PLATFORM: _refused,
}


def across(
    files: Iterable[Checked], *, relative_path_root: str = ""
) -> tuple[tuple[Problem, ...], tuple[Problem, ...]]:
    """Return the conflicts between a list of models and a settings file, and warnings about unused models.

    What can be read of them is compared. Without a list of models, it is not known which models are used.
    """
    files = tuple(files)
    listed = [one for one in files if one.kind is FileKind.MODELS]
    own = [one.settings for one in files if one.settings is not None]
    if len(listed) > 1 or len(own) != 1:
        return (), ()
    models = listed[0].models if listed else ()
    warnings = joined_models.unused_models(models, own[0]) if listed else ()
    if not relative_path_root:
        warnings = (*warnings, *_relative_own_paths(own[0]))
    try:
        joined_models.joined(models, own[0], relative_path_root=relative_path_root or ANY_ROOT)
    except ConfigError as error:
        return error.problems, warnings
    return (), warnings


def _relative_own_paths(own: YamlSettings) -> Iterator[Problem]:
    for name, one in own.models.items():
        if one.base_path is not None and absolute_path(one.base_path, "") is None:
            yield Problem(RELATIVE, own.file, one.lines.get("base_path"), f"models.{name}.base_path")
