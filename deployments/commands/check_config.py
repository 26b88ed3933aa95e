"""`ray_model_server check-config`: finds the mistakes in configuration files before a server does."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from core.access.access_file import read_access_rules
from core.admin.serve_config import read_serve_config
from core.config.file_check import Checked, FileKind, across, check_file
from core.config.own_flags import listed_names
from core.config.version_policy import Latest
from core.errors import ConfigError, Problem
from core.storage.directory_names import not_a_version
from core.telemetry.redaction import without_secrets
from deployments.commands.arguments import DONE, FAILED, print_json
from deployments.commands.table import program
from deployments.config.extension_points import extensions, source_problem
from deployments.config.files import read_text
from deployments.system.installed import interpreter_warnings

DESCRIPTION = """\
Find every mistake in configuration files, with file, line and field.

The kind of a file is recognized by its content: models.config, our YAML settings, an access file, a config of Ray
Serve, and the parameter files for batching, monitoring, certificates and TensorFlow's session. A list of models and a
settings file that are named together are also checked against each other. What makes the server slow in this
installation is a warning, and what `make serve` does not run of a config of Ray Serve."""

EPILOG = """\
examples:
  ray_model_server check-config /models/models.config /models/model_settings.yaml
  ray_model_server check-config --kind batching batching.config

exit status: 0 no mistakes (there may be warnings), 1 mistakes, 2 wrong arguments"""


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    made = argparse.ArgumentParser(
        prog=f"{program()} check-config",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("files", metavar="FILE", nargs="+")
    made.add_argument("--kind", choices=[one.value for one in FileKind], help="what the files are")
    made.add_argument(
        "--relative_path_root", metavar="PATH", default="", help="as the flag of the server; otherwise that of a file"
    )
    made.add_argument("--json", action="store_true", help="print JSON instead of text")
    given = made.parse_args(arguments)
    kind = FileKind(given.kind) if given.kind else None
    root = given.relative_path_root
    found = [_checked(file, kind, root) for file in given.files]
    told = next((one.root for one in found if one.root), "")
    if told and not root:
        root, found = told, [_checked(file, kind, told) for file in given.files]
    problems, warnings = across(found, relative_path_root=root)
    found = [_with(one, problems, warnings) for one in found]
    if given.json:
        ok = not any(one.problems for one in found)
        print_json({"ok": ok, "files": [_document(one) for one in found], "warnings": list(interpreter_warnings())})
    else:
        print("\n".join(line for one in found for line in _lines(one)))
        print("".join(f"warning: {one}\n" for one in interpreter_warnings()), end="")
    return FAILED if any(one.problems for one in found) else DONE


def _checked(file: str, kind: FileKind | None, root: str) -> Checked:
    try:
        found = check_file(read_text(file), file, kind, relative_path_root=root, known=extensions())
    except ConfigError as error:
        return Checked(file, kind, error.problems)
    if found.kind is FileKind.SSL and not found.problems:
        return replace(found, problems=_certificate_problems(file))
    if found.kind is FileKind.ACCESS:
        return replace(found, problems=_access_problems(file))
    return replace(
        found,
        problems=(*found.problems, *_broken_sources(found), *_unknown_outputs(found)),
        warnings=(
            *found.warnings,
            *_missing_base_paths(found),
            *_missing_subpaths(found),
            *_missing_libraries(found),
            *_changed_signatures(found),
            *(_only_for_ray(file) if found.kind is FileKind.SERVE and not found.problems else ()),
        ),
    )


def _only_for_ray(file: str) -> Iterable[Problem]:
    """Yield a warning for each part of a config of Ray Serve for which `make serve` refuses it."""
    try:
        read_serve_config(read_text(file), file)
    except ConfigError as error:
        for one in error.problems:
            yield replace(one, message=f"`make serve` refuses this: {one.message}")


def _access_problems(file: str) -> tuple[Problem, ...]:
    try:
        read_access_rules(read_text(file), without_secrets(file))
    except ConfigError as error:
        return error.problems
    return ()


def _certificate_problems(file: str) -> tuple[Problem, ...]:
    from deployments.config.certificates import check_certificates  # noqa: PLC0415 - needs gRPC, as no other file does

    try:
        check_certificates(file)
    except ConfigError as error:
        return error.problems
    return ()


def _broken_sources(found: Checked) -> Iterable[Problem]:
    """Yield a mistake for each base path whose source is installed and cannot be used."""
    own = found.settings.models if found.settings is not None else {}
    paths = [(model.name, model.base_path) for model in found.models]
    paths += [(f"models.{name}", one.base_path) for name, one in own.items() if one.base_path is not None]
    for name, base_path in paths:
        problem = source_problem(base_path)
        if problem:
            yield Problem(without_secrets(problem), found.file, None, f"{name}.base_path")


def _missing_base_paths(found: Checked) -> Iterable[Problem]:
    for model in found.models:
        if model.base_path.startswith("/") and not os.path.isdir(model.base_path):
            yield Problem(
                f"{model.base_path} is not there on this machine", found.file, None, f"{model.name}.base_path"
            )


def _missing_subpaths(found: Checked) -> Iterable[Problem]:
    """Yield a warning for each `version_subpath` that leads to a folder in none of the versions that are here."""
    own = found.settings.models if found.settings is not None else {}
    for name, one in own.items():
        places = _model_places(one.base_path or "", one.version_subpath)
        if places and not any(os.path.isdir(place) for place in places):
            text = f"leads to a folder in none of the {len(places)} versions below {one.base_path}"
            yield Problem(text, found.file, one.lines["version_subpath"], f"models.{name}.version_subpath")


def _model_places(base_path: str, subpath: str) -> list[str]:
    """Return where the models of the versions below a local base path should lie; none where it cannot be read."""
    if not subpath or not base_path.startswith("/"):
        return []
    with suppress(OSError):
        return [os.path.join(base_path, name, subpath) for name in os.listdir(base_path) if not not_a_version(name)]
    return []


def _changed_signatures(found: Checked) -> Iterable[Problem]:
    """Yield a warning for each thing that callers of a version on disk would notice of a newer one beside it."""
    own = found.settings.models if found.settings is not None else {}
    places = {f"{one.name}.base_path": (one.base_path, one.policy, one.version_subpath) for one in found.models}
    for name, one in own.items():
        places[f"models.{name}.base_path"] = one.base_path or "", one.policy or Latest(), one.version_subpath
    local = {field: one for field, one in places.items() if os.path.isdir(one[0])}
    if not local:
        return
    from deployments.inspection.disk_signatures import change_on_disk  # noqa: PLC0415 - needs numpy, as no other check

    for field, (base_path, policy, subpath) in local.items():
        change = change_on_disk(base_path, policy, subpath)
        if change is not None:
            text = f"version {change.new} after {change.old}"
            yield from (Problem(f"{text}: {one}", found.file, None, field) for one in change.problems)


def _unknown_outputs(found: Checked) -> Iterable[Problem]:
    """Yield a mistake for each plan with metrics of outputs that the newest version on disk does not have.

    Hooks may rename outputs, so that only the running version knows them.
    """
    own = found.settings.models if found.settings is not None else {}
    for name, one in own.items():
        plan, base_path = one.delivery.plan, one.base_path or ""
        if plan is None or not plan.analysis.outputs or one.hooks or not os.path.isdir(base_path):
            continue
        from deployments.inspection.disk_signatures import outputs_on_disk  # noqa: PLC0415 - as above

        has = outputs_on_disk(base_path, one.policy or Latest(), one.version_subpath)
        for output in plan.analysis.outputs:
            if has and output not in has:
                text = f"{output} is not an output of the newest version; there are {', '.join(sorted(has))}"
                field = f"models.{name}.canary.analysis.metrics"
                yield Problem(text, found.file, one.lines.get("canary"), field)


def _missing_libraries(found: Checked) -> Iterable[Problem]:
    """Yield a warning for each path in `op_libraries` of a settings file that is not a file here."""
    own = found.settings
    if own is None:
        return
    named = {f"models.{name}.op_libraries": one.op_libraries for name, one in own.models.items()}
    named["defaults.op_libraries"] = own.defaults.op_libraries
    named["server.op_libraries"] = listed_names(str(own.server.get("op_libraries", "")))
    seen: set[str] = set()
    for field in ("defaults.op_libraries", *named):
        for path in named[field]:
            if path.startswith("/") and path not in seen and not os.path.isfile(path):
                yield Problem(f"{path} is not a file on this machine", found.file, None, field)
            seen.add(path)


def _with(one: Checked, problems: Iterable[Problem], warnings: Iterable[Problem]) -> Checked:
    """Add the findings across files to the file that they are about."""
    return replace(
        one,
        problems=(*one.problems, *(problem for problem in problems if problem.file == one.file)),
        warnings=(*one.warnings, *(warning for warning in warnings if warning.file == one.file)),
    )


def _document(one: Checked) -> dict[str, Any]:
    return {
        "file": one.file,
        "kind": one.kind.value if one.kind is not None else None,
        "problems": [_entry(problem) for problem in one.problems],
        "warnings": [_entry(warning) for warning in one.warnings],
    }


def _entry(problem: Problem) -> dict[str, Any]:
    return {"line": problem.line, "field": problem.field, "message": problem.message}


def _lines(one: Checked) -> Iterable[str]:
    kind = f" ({one.kind.value})" if one.kind is not None else ""
    yield f"{one.file}{kind}: {_counted(len(one.problems), 'mistake')}, {_counted(len(one.warnings), 'warning')}"
    for problem in one.problems:
        yield f"  {problem}"
    for warning in one.warnings:
        yield f"  warning: {warning}"


def _counted(count: int, what: str) -> str:
    return f"{count or 'no'} {what}{'' if count == 1 else 's'}"
