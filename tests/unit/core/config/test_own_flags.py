"""The flags that only this server has."""

from __future__ import annotations

import dataclasses

import pytest

from core.config.arguments import parse_flags
from core.config.flag import Flag, FlagKind, Treatment
from core.config.flag_table import TENSORFLOW_SERVING_FLAGS
from core.config.own_flags import OUR_FLAGS
from core.config.server_settings import ServerSettings

SAMPLES = {
    FlagKind.BOOL: "true",
    FlagKind.INT32: "7",
    FlagKind.INT64: "7",
    FlagKind.FLOAT: "0.5",
    FlagKind.STRING: "x",
}
SPECIAL_SAMPLES = {
    "direct_transport": "false",
    "log_format": "json",
    "log_level": "error",
    "state_dir": "/var/lib/rollouts",
    "tracing_otlp_endpoint": "http://localhost:4318",
}


def field_of(settings: ServerSettings, target: str) -> object:
    """Return a field that a flag names as `group.field`."""
    group, name = target.split(".")
    return getattr(getattr(settings, group), name)


def by_name(flag: Flag) -> str:
    return flag.name


def test_no_flag_takes_the_name_of_one_of_tensorflow_serving() -> None:
    """A command line means the same on both servers."""
    assert {one.name for one in OUR_FLAGS} & {one.name for one in TENSORFLOW_SERVING_FLAGS} == set()
    assert len({one.name for one in OUR_FLAGS}) == len(OUR_FLAGS)


@pytest.mark.parametrize("flag", OUR_FLAGS, ids=by_name)
def test_each_is_honoured_and_explained(flag: Flag) -> None:
    """A flag of ours without effect would not be there."""
    assert flag.treatment is Treatment.HONOURED
    assert flag.help.endswith((".", ")"))
    assert not flag.remark


@pytest.mark.parametrize("flag", [one for one in OUR_FLAGS if one.target], ids=by_name)
def test_each_names_a_setting_that_exists_and_has_the_same_default(flag: Flag) -> None:
    """The usage text shows the flag's default; the server uses the setting's."""
    default = flag.convert(flag.default) if flag.convert is not None else flag.default

    assert field_of(ServerSettings(), flag.target) == default


@pytest.mark.parametrize("flag", [one for one in OUR_FLAGS if one.target], ids=by_name)
def test_each_fills_its_setting(flag: Flag) -> None:
    """The group and the name are those of the setting that the server reads."""
    value = SPECIAL_SAMPLES.get(flag.name, SAMPLES[flag.kind])
    parsed = parse_flags(["--model_base_path=/m", "--rest_api_port=8501", f"--{flag.name}={value}"])

    assert parsed.settings is not None, parsed.problems
    assert field_of(parsed.settings, flag.target) != field_of(ServerSettings(), flag.target)


def test_every_setting_of_the_groups_that_only_we_have_has_a_flag() -> None:
    """A setting that cannot be set would be a constant."""
    settings = ServerSettings()
    groups = {name: getattr(settings, name) for name in ("model_cache", "logs", "cluster", "request_log")}
    fields = {f"{name}.{one.name}" for name, group in groups.items() for one in dataclasses.fields(group)}

    assert fields <= {one.target for one in OUR_FLAGS}
