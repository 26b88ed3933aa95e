"""Command-line arguments to settings."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.config.arguments import EXIT_FAILURE, ArgumentsOutcome, ParsedFlags, all_flags, parse_flags, usage
from core.config.flag_table import FLAGS
from core.config.server_settings import LogSettings, ServerSettings, SessionSettings

BASE = "--model_base_path=/m"


def started(*arguments: str) -> ServerSettings:
    """Return the settings of arguments that must be right."""
    parsed = parse_flags((BASE, *arguments))
    assert parsed.settings is not None, parsed
    return parsed.settings


def refusals(*arguments: str) -> list[str]:
    """Return the texts that arguments are refused with."""
    parsed = parse_flags(arguments)
    assert (parsed.outcome, parsed.exit_code, parsed.settings) == (ArgumentsOutcome.REFUSED, EXIT_FAILURE, None)
    return [problem.message for problem in parsed.problems]


def test_flags_fill_their_settings() -> None:
    """Values arrive in the unit of the field."""
    settings = started(
        "--port=9000",
        "--rest_api_port=9001",
        "--load_retry_interval_micros=2500000",
        "--saved_model_tags=serve,gpu",
        "--grpc_channel_arguments=grpc.max_connection_age_ms=2000,grpc.name=a=b,grpc.big=99999999999,grpc.minus=-1",
        "--mixed_precision=bfloat16",
        "--per_process_gpu_memory_fraction=.25",
        "--enable_batching",
        "--ray_address=auto",
    )

    assert (settings.front_door.grpc_port, settings.front_door.rest_port) == (9000, 9001)
    assert settings.loading.load_retry_interval_s == 2.5
    assert settings.loading.saved_model_tags == {"serve", "gpu"}
    assert settings.session == SessionSettings(gpu_memory_fraction=0.25, bfloat16=True)
    assert settings.batching.enabled
    assert settings.cluster.ray_address == "auto"
    assert settings.front_door.grpc_channel_arguments == (
        ("grpc.max_connection_age_ms", 2000),
        ("grpc.name", "a=b"),
        ("grpc.big", "99999999999"),
        ("grpc.minus", -1),
    )


def test_no_tags_means_the_usual_tag() -> None:
    """An empty list of tags is `serve`."""
    assert started("--saved_model_tags=").loading.saved_model_tags == {"serve"}


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("--enable_batching", True),
        ("--enable_batching=true", True),
        ("--enable_batching=TRUE", True),
        ("--enable_batching=1", True),
        ("--enable_batching=false", False),
        ("--enable_batching=0", False),
    ],
)
def test_booleans_have_these_spellings(argument: str, *, value: bool) -> None:
    """Alone, as a word in any case, or as a digit."""
    assert started(argument).batching.enabled is value


@pytest.mark.parametrize(
    ("argument", "text"),
    [
        ("--port=80x", "Couldn't interpret value 80x for flag port."),
        ("--port=", "Couldn't interpret value  for flag port."),
        ("--port=2147483648", "Couldn't interpret value 2147483648 for flag port."),
        ("--port=1.5", "Couldn't interpret value 1.5 for flag port."),
        ("--port=1_000", "Couldn't interpret value 1_000 for flag port."),
        ("--load_retry_interval_micros=9223372036854775808", "Couldn't interpret value 9223372036854775808 for flag "),
        ("--enable_batching=yes", "Couldn't interpret value yes for flag enable_batching."),
        ("--per_process_gpu_memory_fraction=half", "Couldn't interpret value half for flag "),
        ("--per_process_gpu_memory_fraction=1e999", "Couldn't interpret value 1e999 for flag "),
    ],
)
def test_values_must_be_understood_completely(argument: str, text: str) -> None:
    """A value that cannot be read ends the program, and says where the flags are explained."""
    parsed = parse_flags([BASE, argument])

    assert (parsed.outcome, parsed.exit_code, parsed.output) == (ArgumentsOutcome.BAD_VALUE, 255, usage())
    assert parsed.warnings[0].startswith(text)


def test_the_last_of_several_values_counts() -> None:
    """Scripts append to default arguments."""
    assert started("--port=1", "--port=2").front_door.grpc_port == 2


def test_unknown_arguments_are_named_and_the_server_starts() -> None:
    """The first is printed, in few lines, so that the guess at what each was meant to be is seen."""
    parsed = parse_flags([BASE, "--prt=1", "stray"])

    assert parsed.outcome is ArgumentsOutcome.START
    assert parsed.output == f"unknown argument: --prt=1\n{usage()}\n"
    assert parsed.warnings == ("--prt=1 is ignored; did you mean --port?", "stray is ignored")


def test_a_value_after_a_space_is_not_understood() -> None:
    """`--port 8000` leaves two unknown arguments and the default port, and says how to write it."""
    parsed = parse_flags([BASE, "--port", "8000"])

    assert parsed.settings is not None
    assert parsed.settings.front_door.grpc_port == 8500
    assert parsed.output.startswith("unknown argument: --port\n")
    assert parsed.warnings[0] == "--port is ignored; write --port=<value> in one word"


def test_single_dashes_are_not_understood() -> None:
    """`-port=1` is an unknown argument."""
    assert parse_flags([BASE, "-port=1"]).output.startswith("unknown argument: -port=1\n")


@pytest.mark.parametrize(
    ("argument", "outcome", "status"),
    [
        ("--help", ArgumentsOutcome.HELP, 255),
        ("-h", ArgumentsOutcome.HELP, 0),
        ("--help-flags", ArgumentsOutcome.FLAGS, 0),
    ],
)
def test_help_ends_the_program(argument: str, outcome: ArgumentsOutcome, status: int) -> None:
    """It counts as the first unknown argument only; `--help` ends with TensorFlow Serving's status."""
    assert parse_flags([argument]) == ParsedFlags(outcome, exit_code=status)
    assert parse_flags([BASE, argument]) == ParsedFlags(outcome, exit_code=status)
    assert parse_flags([BASE, "x", argument]).outcome is ArgumentsOutcome.START


def test_every_flag_is_explained_in_a_line() -> None:
    """With its default and its type."""
    lines = all_flags().splitlines()

    assert "\t--port=8500\tint32\tTCP port for gRPC; 0 opens none." in lines
    assert [name for name in FLAGS if not any(line.startswith(f"\t--{name}=") for line in lines)] == []


def test_version_ends_the_program_well() -> None:
    """Nothing else needs to be right."""
    assert parse_flags(["--version", "--port=0"]) == ParsedFlags(ArgumentsOutcome.VERSION, exit_code=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(
            [BASE, "--batching_parameters_file=x"],
            "server_options.batching_parameters_file is set without setting server_options.enable_batching to true.",
            id="case_J32",
        ),
        pytest.param(
            [BASE, "--port=0"],
            "At least one of server_options.grpc_port or server_options.grpc_socket_path must be set.",
            id="no_grpc",
        ),
        pytest.param(
            [],
            "Both server_options.model_base_path and server_options.model_config_file are empty!",
            id="no_models",
        ),
        pytest.param(
            [BASE, *(f"--tensorflow_{part}_parallelism=1" for part in ("session", "intra_op", "inter_op"))],
            "Either configure server_options.tensorflow_session_parallelism or "
            "(server_options.tensorflow_intra_op_parallelism, server_options.tensorflow_inter_op_parallelism) "
            "separately. You cannot configure all.",
            id="all_parallelism_flags",
        ),
        pytest.param([BASE, "--port=65536"], "--port=65536 is not a TCP port (0 to 65535)", id="no_port"),
        pytest.param(
            [BASE, "--per_process_gpu_memory_fraction=2"],
            "--per_process_gpu_memory_fraction must be between 0 and 1; was 2",
            id="gpu_share",
        ),
        pytest.param(
            [BASE, "--grpc_channel_arguments=a=1,b"],
            "--grpc_channel_arguments must be name=value,name=value; found b",
            id="channel_arguments",
        ),
        pytest.param(
            [BASE, "--rest_api_max_body_bytes=0"], "--rest_api_max_body_bytes must be positive; was 0", id="body_size"
        ),
        pytest.param(
            [BASE, "--platform_config_file=x"],
            "--platform_config_file is not supported: "
            "platforms are fixed; use the other flags and --model_settings_file",
            id="platform",
        ),
    ],
)
def test_flags_that_contradict_each_other_are_refused(arguments: list[str], message: str) -> None:
    """The text is TensorFlow Serving's where it has one, behind its usual words."""
    assert refusals(*arguments) == [message]
    assert parse_flags(arguments).output == f"Failed to start server. Error: INVALID_ARGUMENT: {message}\n"


def test_all_refusals_come_at_once() -> None:
    """One start shows everything that is wrong."""
    assert len(refusals("--port=0", "--use_alts_credentials", "--ssl_config_file=x")) == 4


def test_a_socket_replaces_the_port() -> None:
    """A UNIX socket alone is enough for gRPC."""
    assert started("--port=0", "--grpc_socket_path=s").front_door.grpc_socket_path == "s"


@pytest.mark.parametrize("source", ["--model_config_file=f", "--model_settings_file=f"])
def test_a_file_of_models_is_enough(source: str) -> None:
    """Any of the three sources of models lets the server start."""
    assert parse_flags([source]).outcome is ArgumentsOutcome.START


@pytest.mark.parametrize(
    ("arguments", "threads"),
    [
        (["--tensorflow_session_parallelism=4"], (4, 4)),
        (["--tensorflow_intra_op_parallelism=2"], (2, 0)),
        (["--tensorflow_session_parallelism=4", "--tensorflow_inter_op_parallelism=3"], (0, 3)),
        (["--tensorflow_session_parallelism=-1"], (0, 0)),
    ],
)
def test_thread_counts_come_from_three_flags(arguments: list[str], threads: tuple[int, int]) -> None:
    """The two particular flags win over the one for both."""
    session = started(*arguments).session

    assert (session.intra_op_threads, session.inter_op_threads) == threads


def test_equal_ports_switch_rest_off() -> None:
    """As TensorFlow Serving does, with its words."""
    parsed = parse_flags([BASE, "--rest_api_port=8500"])

    assert parsed.settings is not None
    assert parsed.settings.front_door.rest_port == 0
    assert parsed.warnings[0] == (
        "server_options.http_port cannot be same as grpc_port. Please use a different port for HTTP/REST API. "
        "Skipped exporting HTTP/REST API."
    )


@pytest.mark.parametrize(
    ("arguments", "warning"),
    [
        (["--model_config_file=f"], "--model_name and --model_base_path have no effect beside --model_config_file"),
        (
            ["--enable_per_model_batching_parameters"],
            "--enable_per_model_batching_parameters has no effect without --enable_batching",
        ),
        (["--mixed_precision=float16"], "--mixed_precision=float16 has no effect: only bfloat16 is known"),
        (
            ["--file_system_poll_wait_seconds=-1"],
            "--file_system_poll_wait_seconds is negative: storage is looked at only once",
        ),
        (
            ["--num_unload_threads=1"],
            "--num_unload_threads has no effect: versions are unloaded in processes of their own",
        ),
    ],
)
def test_flags_without_effect_are_warned_about(arguments: list[str], warning: str) -> None:
    """No flag is silently ignored."""
    assert parse_flags([BASE, *arguments]).warnings == (warning,)


def test_negative_waits_count_as_zero() -> None:
    """Zero is what TensorFlow Serving makes of most of them."""
    settings = started("--rest_api_timeout_in_ms=-1", "--load_retry_interval_micros=-1", "--max_num_load_retries=-1")

    assert settings.front_door.rest_timeout_ms == 0
    assert settings.loading == replace(settings.loading, load_retry_interval_s=0.0, max_num_load_retries=0)


def test_the_command_line_wins_over_preset_values() -> None:
    """The YAML file may hold flags too."""
    parsed = parse_flags(["--port=1"], {"port": 2, "rest_api_port": 3, "model_base_path": "/m"})

    assert parsed.settings is not None
    assert (parsed.settings.front_door.grpc_port, parsed.settings.front_door.rest_port) == (1, 3)
    assert parsed.given == {"port": 1, "rest_api_port": 3, "model_base_path": "/m"}


names = st.sampled_from(sorted(FLAGS))
values = st.one_of(st.text(max_size=12), st.integers().map(str), st.floats().map(str), st.sampled_from(["true", "0"]))
arguments = st.one_of(
    st.text(max_size=20),
    names.map("--{}".format),
    st.builds("--{}={}".format, names, values),
    st.sampled_from(["--help", "-h", "--help-flags"]),
)


@given(st.lists(arguments, max_size=8))
def test_any_arguments_have_an_outcome(argv: list[str]) -> None:
    """No arguments can crash the program; settings are there exactly when it starts."""
    parsed = parse_flags(argv)

    assert (parsed.settings is not None) == (parsed.outcome is ArgumentsOutcome.START)
    assert (parsed.exit_code is None) == (parsed.outcome is ArgumentsOutcome.START)


def polling(*arguments: str) -> tuple[int, int]:
    """Return both poll periods."""
    chosen = started(*arguments).polling
    return chosen.file_system_poll_wait_s, chosen.remote_poll_wait_s


@pytest.mark.parametrize(
    ("arguments", "periods"),
    [
        ((), (1, 30)),
        (("--file_system_poll_wait_seconds=5",), (5, 5)),
        (("--file_system_poll_wait_seconds=0",), (0, 0)),
        (("--file_system_poll_wait_seconds=-1",), (0, 0)),
        (("--remote_poll_wait_seconds=60",), (1, 60)),
        (("--remote_poll_wait_seconds=-1",), (1, 0)),
        (("--file_system_poll_wait_seconds=5", "--remote_poll_wait_seconds=60"), (5, 60)),
    ],
)
def test_a_poll_period_that_was_asked_for_counts_for_remote_storage_too(arguments, periods) -> None:
    """Unless that has one of its own; by default it is asked more seldom, because listings cost money."""
    assert polling(*arguments) == periods


def test_the_file_of_settings_can_name_the_poll_period() -> None:
    """A preset is asked for as well."""
    preset = parse_flags((BASE,), {"file_system_poll_wait_seconds": 7}).settings

    assert preset is not None
    assert preset.polling.remote_poll_wait_s == 7


@pytest.mark.parametrize(
    ("argument", "text"),
    [
        ("--model_cache_max_bytes=-1", "--model_cache_max_bytes must not be negative; was -1"),
        ("--model_cache_dir=s3://b/c", "--model_cache_dir must be a local folder; was s3://b/c"),
    ],
)
def test_a_cache_that_cannot_be_is_refused(argument, text) -> None:
    """At the start, with the flag's name."""
    assert refusals(BASE, argument) == [text]


def test_the_flags_of_the_logs_become_settings() -> None:
    """Format, level, and the share of the requests that are logged."""
    settings = started("--log_format=json", "--log_level=warning", "--access_log_sampling_rate=0.25")

    assert settings.logs == LogSettings(as_json=True, level="warning", access_sampling_rate=0.25)
    assert started().logs == LogSettings()


@pytest.mark.parametrize(
    ("flag", "text"),
    [
        ("--log_format=xml", "--log_format must be one of text, json; was xml"),
        ("--log_level=loud", "--log_level must be one of debug, info, warning, error; was loud"),
        ("--access_log_sampling_rate=1.5", "--access_log_sampling_rate must be between 0 and 1; was 1.5"),
        ("--access_log_sampling_rate=-1", "--access_log_sampling_rate must be between 0 and 1; was -1"),
    ],
)
def test_a_flag_of_the_logs_that_means_nothing_is_refused(flag: str, text: str) -> None:
    """A misspelt format would otherwise be found out when the logs are needed."""
    parsed = parse_flags((BASE, flag))

    assert parsed.outcome is ArgumentsOutcome.REFUSED
    assert text in parsed.output
