"""Turns command-line arguments into checked settings: flags, those of the YAML file, and the files that they name."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace

from core.access.access_file import read_access_rules
from core.config import yaml_settings
from core.config.arguments import PROGRAM, ParsedFlags, parse_flags
from core.config.file_check import argument_text
from core.config.parameter_files import monitoring_config
from core.config.server_settings import FrontDoorSettings, MonitoringConfig, ServerSettings
from core.errors import ConfigError, InvalidArgument
from core.routing.label_rule import LabelRule
from core.routing.table import RoutingTable
from core.telemetry.redaction import without_secrets
from core.telemetry.tracing_plan import otel_variables, tracing_plan
from deployments.config.certificates import asks_for_certificates, check_certificates
from deployments.config.configured_models import ConfiguredModels
from deployments.config.extension_points import extensions
from deployments.config.files import read_text


def parse_arguments(arguments: Sequence[str], program: str = PROGRAM) -> ParsedFlags:
    """Parse flags; values under `server:` in the YAML file apply where the command line gives none.

    Flags that are not valid alone may be valid with that file. Mistakes of the file are problems without an output.
    """
    parsed = parse_flags(arguments, program=program)
    file = parsed.given.get("model_settings_file")
    if not file:
        return parsed
    try:
        preset = yaml_settings.read_yaml_settings(read_text(str(file)), str(file), extensions()).server
    except ConfigError as error:
        return replace(parsed, settings=None, output="", problems=error.problems)
    return parse_flags(arguments, preset, program=program)


def settings_of_config(args: Mapping[str, object]) -> tuple[ServerSettings, tuple[str, ...]]:
    """Return checked settings and warnings for the `args` of our application in a config of Ray Serve.

    Raises InvalidArgument with every mistake of the flags, and what `checked` raises.
    """
    parsed = parse_arguments([f"--{name}={argument_text(value)}" for name, value in args.items()])
    unknown = [name for name in args if name not in parsed.given]
    if parsed.settings is None or unknown:
        mistakes = (*map(str, parsed.problems), *parsed.warnings, *(f"unknown argument: {name}" for name in unknown))
        raise InvalidArgument("\n".join(dict.fromkeys(mistakes)))
    settings, warnings = checked(parsed.settings)
    return settings, (*parsed.warnings, *warnings)


def checked(settings: ServerSettings) -> tuple[ServerSettings, tuple[str, ...]]:
    """Return the settings with absolute paths, and warnings; raises ConfigError with the mistakes of the files.

    Also raises FailedPrecondition for labels whose version is not available yet, when labels are strict.
    """
    absolute = _with_environment(with_absolute_paths(settings, os.getcwd()))
    models = ConfiguredModels(absolute)
    models.check()
    LabelRule(absolute.source.strict_version_labels, absolute.source.allow_labels_for_unavailable).check(
        models.models(), RoutingTable(0)
    )
    for file in filter(None, (absolute.front_door.ssl_config_file, absolute.front_door.rest_ssl_config_file)):
        check_certificates(file)
    check_access(absolute.front_door)
    absolute = replace(absolute, monitoring=replace(absolute.monitoring, taken=monitoring(absolute)))
    plan = tracing_plan(absolute.tracing)
    return absolute, (*models.warnings(), *(plan.warnings if plan is not None else ()))


def check_access(door: FrontDoorSettings) -> None:
    """Check the access file; raises ConfigError, also for certificates that no port asks for."""
    if not door.access_file:
        return
    file = door.access_file
    read_access_rules(read_text(file), without_secrets(file), asks_for_certificates=asks_for_certificates(door))


def _with_environment(settings: ServerSettings) -> ServerSettings:
    """Add OpenTelemetry's environment variables if tracing needs them, because other nodes do not have them."""
    tracing = replace(settings.tracing, environment=otel_variables(os.environ))
    return settings if tracing_plan(tracing) is None else replace(settings, tracing=tracing)


def monitoring(settings: ServerSettings) -> MonitoringConfig:
    """Return whether there is a page with metrics, and its path; raises ConfigError."""
    if settings.monitoring.taken is not None:
        return settings.monitoring.taken
    file = settings.monitoring.config_file
    return monitoring_config(read_text(file), file) if file else MonitoringConfig()


def with_absolute_paths(settings: ServerSettings, folder: str) -> ServerSettings:
    """Resolve the names of files that replicas read against `folder`, because replicas run elsewhere."""
    source = settings.source
    return dataclasses.replace(
        settings,
        source=dataclasses.replace(
            source,
            model_config_file=_absolute(source.model_config_file, folder),
            model_settings_file=_absolute(source.model_settings_file, folder),
            relative_path_root=_absolute(source.relative_path_root, folder),
        ),
        model_cache=dataclasses.replace(settings.model_cache, folder=_absolute(settings.model_cache.folder, folder)),
        batching=dataclasses.replace(
            settings.batching, parameters_file=_absolute(settings.batching.parameters_file, folder)
        ),
        front_door=dataclasses.replace(
            settings.front_door,
            access_file=_absolute(settings.front_door.access_file, folder),
            ssl_config_file=_absolute(settings.front_door.ssl_config_file, folder),
            rest_ssl_config_file=_absolute(settings.front_door.rest_ssl_config_file, folder),
        ),
        monitoring=dataclasses.replace(
            settings.monitoring, config_file=_absolute(settings.monitoring.config_file, folder)
        ),
        session=dataclasses.replace(
            settings.session, session_config_file=_absolute(settings.session.session_config_file, folder)
        ),
    )


def _absolute(path: str, folder: str) -> str:
    if not path or "://" in path:
        return path
    return os.path.normpath(os.path.join(folder, path))
