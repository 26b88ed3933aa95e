"""Turns a ModelServerConfig, from a text file or a reload request, into model configurations; reports all mistakes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from types import MappingProxyType

from google.protobuf import text_format

from core.config.extensions import ANY, BUILT_IN, TENSORFLOW, Extensions
from core.config.model_config import LoggingConfig, ModelConfig, TaskSampling, collector_problems
from core.config.version_policy import All, Latest, RegisteredPolicy, Specific, Unsaid, VersionPolicy
from core.errors import ConfigError, Problem, TransitionRefused
from core.formats.text_format import parse_rest, parse_text_message, says_nothing
from core.formats.text_outline import Outline, outline
from core.protos import model_config_pb2

CUSTOM_CONFIG = "ModelServer does not yet support custom model config."
ONLY_LISTS = (
    "Cannot transition to requested config. It is only legal to transition from one ModelConfigList to another."
)
NO_LIST = (
    "says nothing: model_config_list is missing. A server that starts with it serves no model, and a running one "
    "refuses it; an empty list is written model_config_list {}"
)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://", re.ASCII)
_FLAGS = MappingProxyType({"config[0].name": "--model_name", "config[0].base_path": "--model_base_path"})


@dataclass(frozen=True, slots=True)
class _Around:
    """What a list of models refers to: the root of relative base paths, and the names of extensions."""

    root: str
    known: Extensions


@dataclass(frozen=True, slots=True)
class _Entry:
    """One `config { }` with the position that its problems name: the file, the field of the text, and its index."""

    message: model_config_pb2.ModelConfig
    place: Outline | None
    file: str
    index: int

    def problem(self, message: str, *path: str) -> Problem:
        line = self.place.line_of(*path) if self.place is not None else None
        return Problem(message, self.file, line, f"config[{self.index}].{'.'.join(path)}")


def model_configs(
    text: str,
    file: str = "",
    *,
    relative_path_root: str = "",
    follows_list: bool = False,
    known: Extensions = BUILT_IN,
) -> tuple[ModelConfig, ...]:
    """Read a ModelServerConfig file; a file with neither choice set lists no models.

    With `follows_list`, an earlier content of the file was a list, and only another list may follow it (TensorFlow
    Serving, config reload). Raises TransitionRefused, and ConfigError with every mistake, its line and its field.
    """
    if follows_list:
        _require_list(text, file)
    models, problems = models_and_problems(text, file, relative_path_root=relative_path_root, known=known)
    if problems:
        raise ConfigError(problems)
    return models


def models_and_problems(
    text: str, file: str = "", *, relative_path_root: str = "", known: Extensions = BUILT_IN
) -> tuple[tuple[ModelConfig, ...], tuple[Problem, ...]]:
    """Return the models of a ModelServerConfig file as far as they can be read, and every mistake in it."""
    around = _Around(relative_path_root, known)
    message = model_config_pb2.ModelServerConfig()
    try:
        _, places = parse_text_message(text, message, file)
    except ConfigError as error:
        rest = parse_rest(text, message, file)
        further = _found(message, around, file, rest.places)
        problems = sorted((*error.problems, *rest.others(further)), key=lambda problem: problem.line or 0)
        return _models(message, around), tuple(problems)
    return _models(message, around), tuple(_found(message, around, file, places))


def _require_list(text: str, file: str) -> None:
    """Raise TransitionRefused for a text that parses and is not a list; other mistakes are found when it is read."""
    places, _ = outline(text)
    if says_nothing(text) or (places.fields and {one.name for one in places.fields} == {"custom_model_config"}):
        line = places.fields[0].line if places.fields else None
        raise TransitionRefused((Problem(ONLY_LISTS, file, line),))


def models_from_message(
    message: model_config_pb2.ModelServerConfig, *, relative_path_root: str = "", known: Extensions = BUILT_IN
) -> tuple[ModelConfig, ...]:
    """Read the configuration of a reload request; raises ConfigError with every mistake."""
    around = _Around(relative_path_root, known)
    problems = _found(message, around, "", None)
    if problems:
        raise ConfigError(tuple(problems))
    return _models(message, around)


def single_model(
    name: str, base_path: str, *, relative_path_root: str = "", known: Extensions = BUILT_IN
) -> ModelConfig:
    """Return the configuration of the one model that flags name, whatever its platform; raises ConfigError."""
    try:
        model = model_config_pb2.ModelConfig(name=name, base_path=base_path, model_platform=ANY.name)
    except UnicodeEncodeError as error:
        raise ConfigError((Problem(f"Names of models and base paths must be UTF-8; got {error.object!a}"),)) from None
    config = model_config_pb2.ModelServerConfig(model_config_list=model_config_pb2.ModelConfigList(config=[model]))
    try:
        return models_from_message(config, relative_path_root=relative_path_root, known=known)[0]
    except ConfigError as error:
        by_flag = (replace(one, field=_FLAGS.get(one.field, one.field)) for one in error.problems)
        raise ConfigError(tuple(by_flag)) from None


def absolute_path(base_path: str, relative_path_root: str) -> str | None:
    """Return the base path to use; None for a relative one when there is no root to join it to."""
    if base_path.startswith("/") or _SCHEME.match(base_path):
        return base_path
    return f"{relative_path_root.rstrip('/')}/{base_path}" if relative_path_root and base_path else None


def relative_path_problem(name: str, base_path: str) -> str:
    """Return TensorFlow Serving's error text for a relative base path."""
    return f"Expected model {name} to have an absolute path or URI; got base_path()={base_path}"


def to_text(models: Iterable[ModelConfig]) -> str:
    """Write models as a ModelServerConfig file; settings that this format does not have are left out."""
    return text_format.MessageToString(to_message(models), as_utf8=True)


def to_message(models: Iterable[ModelConfig]) -> model_config_pb2.ModelServerConfig:
    """Put models into the message of a ModelServerConfig file."""
    listed = model_config_pb2.ModelConfigList(config=[_to_message(model) for model in models])
    return model_config_pb2.ModelServerConfig(model_config_list=listed)


def _found(
    message: model_config_pb2.ModelServerConfig, around: _Around, file: str, whole: Outline | None
) -> list[Problem]:
    """Return every mistake of a message, in the order of the text."""
    if message.HasField("custom_model_config"):
        line = whole.line_of("custom_model_config") if whole is not None else None
        return [Problem(CUSTOM_CONFIG, file, line, "custom_model_config")]
    configs = message.model_config_list.config
    models = whole.first("model_config_list") if whole is not None else None
    places = models.each("config") if models is not None else []
    known = places if len(places) == len(configs) else [None] * len(configs)
    entries = [
        _Entry(config, place, file, index) for index, (config, place) in enumerate(zip(configs, known, strict=True))
    ]
    problems = [*_duplicates(entries), *(problem for entry in entries for problem in _problems(entry, around))]
    return sorted(problems, key=lambda problem: problem.line or 0)


def _models(message: model_config_pb2.ModelServerConfig, around: _Around) -> tuple[ModelConfig, ...]:
    return tuple(_model(config, around) for config in message.model_config_list.config)


def _duplicates(entries: Iterable[_Entry]) -> Iterator[Problem]:
    seen: set[str] = set()
    for entry in entries:
        name = entry.message.name
        if name and name in seen:
            yield entry.problem(f"Illegal to list model {name} multiple times in config list", "name")
        seen.add(name)


def _problems(entry: _Entry, around: _Around) -> Iterator[Problem]:
    config = entry.message
    if not config.name:
        yield entry.problem("The model has no name", "name")
    if absolute_path(config.base_path, around.root) is None:
        yield entry.problem(relative_path_problem(config.name, config.base_path), "base_path")
    yield from _platform_problems(entry, around.known)
    yield from _version_problems(entry)
    yield from _logging_problems(entry, around.known)


def _platform_problems(entry: _Entry, known: Extensions) -> Iterator[Problem]:
    config = entry.message
    names = "ModelServerConfig::model_type (deprecated) {} ModelServerConfig::model_platform, model name is {}"
    if config.model_type and config.model_platform:
        yield entry.problem("Illegal setting both " + names.format("and", config.name), "model_platform")
    elif not config.model_type and not config.model_platform:
        yield entry.problem("Illegal setting neither " + names.format("nor", config.name), "model_platform")
    elif config.model_type not in (0, model_config_pb2.TENSORFLOW):
        yield entry.problem(f"ModelServerConfig::model_type choice {config.model_type} not supported.", "model_type")
    elif config.model_platform and known.platform(config.model_platform) is None:
        text = f"Model {config.name} requests unsupported platform {config.model_platform}"
        text += known.reason("platforms", config.model_platform)
        yield entry.problem(text, "model_platform")


def _version_problems(entry: _Entry) -> Iterator[Problem]:
    for version in entry.message.model_version_policy.specific.versions:
        if version < 0:
            path = ("model_version_policy", "specific", "versions")
            yield entry.problem(f"Version {version} is negative; versions are 0 or more", *path)
    for label, version in sorted(entry.message.version_labels.items()):
        if version < 0:
            text = f"Label {label} points to version {version}; versions are 0 or more"
            yield entry.problem(text, "version_labels")


def _logging_problems(entry: _Entry, known: Extensions) -> Iterator[Problem]:
    sampling = entry.message.logging_config.sampling_config
    rates = [sampling.sampling_rate, *(task.sampling_rate for task in sampling.per_task_sampling_configs)]
    for rate in rates:
        if not 0 <= rate <= 1:
            path = ("logging_config", "sampling_config", "sampling_rate")
            yield entry.problem(f"sampling_rate must be between 0 and 1; was {rate:g}", *path)
    if entry.message.logging_config.HasField("custom_logging_config"):
        yield entry.problem("custom_logging_config is not supported", "logging_config", "custom_logging_config")
    collector = entry.message.logging_config.log_collector_config
    logs = any(rate > 0 for rate in rates)
    for name, message in collector_problems(collector.type, collector.filename_prefix, logs=logs, known=known):
        yield entry.problem(message, "logging_config", "log_collector_config", name)


def _model(config: model_config_pb2.ModelConfig, around: _Around) -> ModelConfig:
    return ModelConfig(
        name=config.name,
        base_path=absolute_path(config.base_path, around.root) or "",
        policy=_policy(config),
        labels=dict(config.version_labels),
        logging=(_logging(config.logging_config),) if config.HasField("logging_config") else (),
        platform=around.known.platform(config.model_platform) or TENSORFLOW,
    )


def _policy(config: model_config_pb2.ModelConfig) -> VersionPolicy:
    policy, is_written = config.model_version_policy, config.HasField("model_version_policy")
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return All()
    if choice == "specific":
        return Specific(frozenset(policy.specific.versions))
    if choice is None:
        return Unsaid() if is_written else Latest()
    return Latest(max(policy.latest.num_versions, 1))


def _logging(config: model_config_pb2.LoggingConfig) -> LoggingConfig:
    collector, sampling = config.log_collector_config, config.sampling_config
    per_task = (
        TaskSampling(task.dc, task.task_index if task.HasField("task_index") else None, task.sampling_rate)
        for task in sampling.per_task_sampling_configs
    )
    return LoggingConfig(
        collector.type, collector.filename_prefix, sampling.sampling_rate, sampling.attributes, tuple(per_task)
    )


def _to_message(model: ModelConfig) -> model_config_pb2.ModelConfig:
    message = model_config_pb2.ModelConfig(
        name=model.name,
        base_path=model.base_path,
        model_platform=model.platform.name,
        version_labels=dict(model.labels),
    )
    _write_policy(model.policy, message)
    if len(model.logging) == 1:
        message.logging_config.CopyFrom(logging_message(model.logging[0]))
    return message


def _write_policy(policy: VersionPolicy, message: model_config_pb2.ModelConfig) -> None:
    choice = message.model_version_policy
    if isinstance(policy, Unsaid | RegisteredPolicy):
        choice.SetInParent()
    elif isinstance(policy, Latest):
        choice.latest.num_versions = policy.count
    elif isinstance(policy, Specific):
        choice.specific.SetInParent()
        choice.specific.versions.extend(sorted(policy.versions))
    else:
        choice.all.SetInParent()


def logging_message(config: LoggingConfig) -> model_config_pb2.LoggingConfig:
    """Return the message of a request log's configuration."""
    message = model_config_pb2.LoggingConfig()
    message.log_collector_config.type = config.collector
    message.log_collector_config.filename_prefix = config.filename_prefix
    message.sampling_config.sampling_rate = config.sampling_rate
    message.sampling_config.attributes = config.attributes
    for task in config.per_task:
        message.sampling_config.per_task_sampling_configs.add(
            dc=task.dc, task_index=task.task_index, sampling_rate=task.sampling_rate
        )
    return message
