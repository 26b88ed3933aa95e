"""Tests of the commands for a running server, against a gRPC port with a watcher in memory behind it."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from ray.exceptions import RayActorError

from core.config.server_settings import ModelSourceSettings
from core.config.version_policy import Specific
from core.errors import Code, RuntimeFailure
from core.versions.lifecycle import State
from deployments.cli import main
from deployments.commands import label as command_label
from deployments.commands import load as command_load
from deployments.commands import profile as command_profile
from deployments.commands import status as command_status
from deployments.commands import unload as command_unload
from deployments.commands.admin_client import AdminClient
from deployments.commands.arguments import target
from deployments.commands.table import COMMANDS
from tests.support.admin_server import AdminServer
from tests.support.certificates import Authority, write_ssl_config
from tests.support.clients import free_port, wait_until
from tests.support.processes import hear_interrupts
from tests.support.sites import SETTINGS, M, Site

SCRIPT = Path(sys.executable).with_name("ray_model_server")
STARTS_WITHIN_S = 1.5


@pytest.fixture
def live() -> Iterator[AdminServer]:
    """A server of model `m`, whose newest of versions 1 and 2 answers, with the label `stable` at it."""
    site = Site((1, 2), configs=(replace(M, labels={"stable": 2}),))
    site.settle()
    with AdminServer(site) as server:
        yield server


def run(live: AdminServer, *arguments: str) -> int:
    return main([*arguments, "--server", live.address])


def done(live: AdminServer, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that must succeed; gives what it printed."""
    status = run(live, *arguments)
    printed = capsys.readouterr()
    assert status == 0, printed
    return printed.out


def in_force(live: AdminServer):
    found = live.site.watch.configuration.in_force()
    assert found is not None
    return {one.name: one for one in found.models}


def state(live: AdminServer, version: int, model: str = "m") -> State:
    return live.site.router.table.models[model].histories[version].state


def test_status_shows_the_models(live: AdminServer, capsys) -> None:
    """As text, and as the document itself."""
    assert "m      2        AVAILABLE" in done(live, capsys, "status")
    assert "m      2        AVAILABLE" in done(live, capsys, "status", "m")
    document = json.loads(done(live, capsys, "status", "--json"))
    assert document["models"][0]["versions"][0]["replicas"] == 1
    assert json.loads(done(live, capsys, "status", "m", "--json"))["models"] == document["models"]


def test_status_of_an_unknown_model_fails(live: AdminServer, capsys) -> None:
    """With the same words on both ways."""
    assert run(live, "status", "x") == 1
    assert capsys.readouterr().err == "ray_model_server: There is no model x.\n"
    assert run(live, "status", "x", "--json") == 1
    assert json.loads(capsys.readouterr().out) == {"error": {"code": "NOT_FOUND", "message": "There is no model x."}}


def test_a_version_is_loaded_beside_the_others(live: AdminServer, capsys) -> None:
    """The command waits until it answers, and says what it did."""
    printed = done(live, capsys, "load", "m", "1")

    assert printed == "m: policy latest 1 -> specific 1, 2\nm version 1: AVAILABLE after 0.2 s\n"
    assert in_force(live)["m"].policy == Specific(frozenset({1, 2}))
    assert live.site.host.running == {"m:1", "m:2"}
    assert "nothing to change" in done(live, capsys, "load", "m", "1")


def test_a_version_that_cannot_be_loaded_fails_the_command(live: AdminServer, capsys) -> None:
    """At its first attempt; the server goes on trying."""
    live.site.host.broken = lambda _: True

    assert run(live, "load", "m", "1", "--json") == 1

    answer = json.loads(capsys.readouterr().out)
    assert (answer["ok"], answer["changes"]) == (False, ["m: policy latest 1 -> specific 1, 2"])
    assert answer["outcome"].startswith("m version 1: could not be loaded: NOT_FOUND: no SavedModel there; tried again")


def test_a_version_that_is_not_there_is_told_at_once(live: AdminServer, capsys) -> None:
    """It is wanted from now on, and loaded when it comes."""
    assert run(live, "load", "m", "7") == 1
    assert "m version 7: not found below /m" in capsys.readouterr().out

    live.site.source.write("/m", 7)

    wait_until(lambda: "m:7" in live.site.host.running, "version 7 is loaded")


def test_a_command_does_not_wait_for_ever_and_need_not_wait_at_all(live: AdminServer, capsys) -> None:
    """What it began goes on."""
    live.site.host.finish_deploying = lambda _: None

    assert run(live, "load", "m", "1", "--timeout", "0.1") == 1
    assert "not done after 0.1 s: m: version 2 is AVAILABLE; version 1 is LOADING" in capsys.readouterr().out
    assert run(live, "unload", "m", "1", "--no-wait") == 0
    assert capsys.readouterr().out == "m: policy specific 1, 2 -> specific 2\n"


def test_a_version_is_taken_out_of_service(live: AdminServer, capsys) -> None:
    """The last one only by force; then the model is there without versions."""
    done(live, capsys, "load", "m", "1")
    assert done(live, capsys, "unload", "m", "2").endswith("m version 2: unloaded\n")
    assert state(live, 2) is State.END
    assert run(live, "unload", "m", "1") == 1
    assert "Version 1 is the only one" in capsys.readouterr().err

    done(live, capsys, "unload", "m", "1", "--force")

    assert live.site.host.apps == {}


def test_a_model_is_removed_and_comes_back_as_the_files_have_it(live: AdminServer, capsys) -> None:
    """`unload` and `load` without a version."""
    assert done(live, capsys, "unload", "m") == "m: removed\nm: unloaded\n"
    assert in_force(live) == {}
    printed = done(live, capsys, "load", "m")

    assert "m: added, base path /m, policy latest 1" in printed
    assert in_force(live)["m"].labels == {"stable": 2}


def test_a_new_model_is_added_with_its_base_path_and_policy(live: AdminServer, capsys) -> None:
    """And its policy can be changed afterwards."""
    for version in (1, 2, 3):
        live.site.source.write("/n", version)
    done(live, capsys, "load", "n", "--base-path", "/n", "--policy", "latest:2")
    wait_until(lambda: live.site.host.running == {"m:2", "n:2", "n:3"}, "both versions answer")

    done(live, capsys, "load", "n", "--policy", "all")

    wait_until(lambda: live.site.host.running == {"m:2", "n:1", "n:2", "n:3"}, "all versions answer")


def test_a_version_that_a_new_model_does_not_have_is_told(live: AdminServer, capsys) -> None:
    """At once, with those that it has."""
    live.site.source.write("/n", 1)

    assert run(live, "load", "n", "7", "--base-path", "/n") == 1
    assert "n: The version policy of servable n lists only 7; base path /n has 1" in capsys.readouterr().out


def test_a_base_path_that_is_missing_is_told(live: AdminServer, capsys) -> None:
    """The model stays configured and waits."""
    assert run(live, "load", "n", "--base-path", "/missing") == 1
    assert "n: Could not find base path /missing" in capsys.readouterr().out


def test_a_label_moves_and_goes(live: AdminServer, capsys) -> None:
    """At once, when its version answers."""
    done(live, capsys, "load", "m", "1")

    assert (
        done(live, capsys, "label", "m", "stable", "1") == "m: label stable 2 -> 1\nm: label stable names version 1\n"
    )
    assert live.site.router.table.resolve("m", label="stable").app == "m:1"
    assert (
        done(live, capsys, "label", "m", "--remove", "stable")
        == "m: label stable 1 -> none\nm: label stable is removed\n"
    )
    assert live.site.router.table.models["m"].labels == {}


def test_a_label_may_wait_for_its_version(live: AdminServer, capsys) -> None:
    """Meanwhile it names the old one, and the command says so."""
    printed = done(live, capsys, "label", "m", "stable", "3")

    assert printed.endswith("m: label stable waits for version 3; until then it names version 2\n")
    assert live.site.router.table.resolve("m", label="stable").app == "m:2"


def test_strict_labels_refuse_what_upstream_refuses(capsys) -> None:
    """With its words."""
    settings = replace(SETTINGS, source=replace(SETTINGS.source, strict_version_labels=True))
    site = Site((1,), settings=settings)
    site.settle()
    with AdminServer(site) as live:
        assert run(live, "label", "m", "stable", "3") == 1
    assert (
        "Request to assign label to version 3 of model m, which is not currently available" in capsys.readouterr().err
    )


def test_changes_of_many_operators_at_once_are_all_there(live: AdminServer) -> None:
    """Each of twelve commands adds a label; none is lost."""
    results: list[int] = []
    commands = [
        threading.Thread(target=lambda text=f"l{number}": results.append(run(live, "label", "m", text, "2")))
        for number in range(12)
    ]
    for one in commands:
        one.start()
    for one in commands:
        one.join(60)

    assert results == [0] * 12
    assert in_force(live)["m"].labels == {"stable": 2, **{f"l{number}": 2 for number in range(12)}}


def test_a_change_outlives_the_watcher(live: AdminServer, capsys) -> None:
    """When the command has ended, routers hold it."""
    done(live, capsys, "label", "m", "canary", "2")
    live.is_turning = False

    successor = live.site
    successor.restart()
    successor.tick()

    assert successor.router.table.models["m"].labels == {"stable": 2, "canary": 2}


def test_a_change_of_the_file_ends_what_commands_changed(live: AdminServer, capsys) -> None:
    """The file is the truth as soon as somebody writes it."""
    done(live, capsys, "label", "m", "canary", "2")
    assert "changed at run time, until the content of /m.config changes" in done(live, capsys, "status")

    live.site.model_list.configs = (replace(M, labels={"new": 2}),)

    wait_until(lambda: live.site.router.table.models["m"].labels == {"new": 2}, "the file counts")


def test_a_change_while_no_list_could_be_read_is_refused(capsys) -> None:
    """The server has nothing that could be changed."""
    site = Site(settings=replace(SETTINGS, source=ModelSourceSettings()))
    live = AdminServer(site)
    live.is_turning = False
    with live:
        assert run(live, "label", "m", "a", "1") == 1
    assert "No list of models could be read yet" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"\xff\xff", "not a valid ChangeConfigRequest"),
        (b"", "expected_fingerprint is missing"),
        (b"\x12\x01x", "config.model_config_list is missing"),
        (b"\x0a\x02\x0a\x00\x12\x01x", "changed meanwhile"),
    ],
)
def test_odd_changes_are_refused(live: AdminServer, raw: bytes, text: str) -> None:
    """Above all, none that would replace a list that its sender has not seen."""
    with grpc.insecure_channel(live.address) as channel, pytest.raises(grpc.RpcError, match=text):
        channel.unary_unary("/ray_model_server.Admin/ChangeConfig")(raw, timeout=10)


def test_no_server_is_said_with_what_was_tried(capsys) -> None:
    """And how to name another one; the exit status tells it from a refusal."""
    port = free_port()

    assert main(["label", "m", "a", "1", "--server", f"127.0.0.1:{port}"]) == 3

    error = capsys.readouterr().err
    assert f"No Ray Model Server answers at 127.0.0.1:{port} (tried its gRPC port): " in error
    assert "Connection refused" in error
    assert "--server HOST:PORT" in error


def test_another_server_is_not_taken_for_ours(capsys) -> None:
    """TensorFlow Serving, say."""
    server = grpc.server(__import__("concurrent.futures").futures.ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        assert main(["unload", "m", "--server", f"127.0.0.1:{port}"]) == 3
    finally:
        server.stop(None)
    assert "is not a Ray Model Server, or is an older version" in capsys.readouterr().err


def test_a_server_that_does_not_answer_is_given_up(live: AdminServer) -> None:
    """A change that nobody confirms must not hang either."""
    client = AdminClient(live.address, change_timeout_s=0.5)
    live.is_turning = False
    try:
        with pytest.raises(RuntimeFailure, match=r"ChangeConfig was not answered within 0.5 s") as caught:
            client.change(lambda known: (replace(known.models[0], labels={"a": 2}),))
    finally:
        client.close()
    assert caught.value.code is Code.DEADLINE_EXCEEDED


def test_a_unix_socket_and_tls_are_spoken(tmp_path: Path, capsys) -> None:
    """As the server's `--grpc_socket_path` and `--ssl_config_file` offer them."""
    site = Site((1,))
    site.settle()
    with AdminServer(site, socket_path=str(tmp_path / "s")):
        assert main(["status", "--server", str(tmp_path / "s")]) == 0
        assert main(["status", "--server", f"unix:{tmp_path / 's'}"]) == 0
    authority = Authority()
    write_ssl_config(tmp_path / "ssl", authority, verify=True)
    key, certificate = authority.issue()
    for name, text in (("ca", authority.certificate), ("key", key), ("cert", certificate)):
        (tmp_path / name).write_text(text)
    site = Site((1,))
    site.settle()
    with AdminServer(site, ssl_config_file=str(tmp_path / "ssl")) as live:
        files = [f"--ca={tmp_path / 'ca'}", f"--cert={tmp_path / 'cert'}", f"--key={tmp_path / 'key'}"]
        assert main(["status", "--server", f"localhost:{live.port}", *files]) == 0
        assert main(["status", "--server", f"localhost:{live.port}"]) == 3
    assert main(["status", "--cert", str(tmp_path / "cert")]) == 1
    assert main(["status", "--ca", str(tmp_path / "missing")]) == 1
    assert main(["status", "--server", "http://localhost:8501"]) == 1
    assert "is not a gRPC address" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("localhost", "localhost:8500"),
        ("host:1", "host:1"),
        ("10.0.0.7", "10.0.0.7:8500"),
        ("::1", "[::1]:8500"),
        ("[::1]", "[::1]:8500"),
        ("[::1]:1", "[::1]:1"),
        ("unix:/s", "unix:/s"),
        ("/s", "unix:/s"),
    ],
)
def test_addresses_are_completed(given: str, expected: str) -> None:
    """The port is the server's own default."""
    assert target(given) == expected


@pytest.mark.parametrize(
    "arguments",
    [
        ["label", "m"],
        ["label", "m", "a"],
        ["label", "m", "a", "1", "--remove", "b"],
        ["label", "m", "a", "x"],
        ["label", "m", "a", "-1"],
        ["load", "m", str(2**63)],
        ["load", "m", "1", "--policy", "all"],
        ["load", "m", "--policy", "newest"],
        ["load", "m", "--policy", "latest:0"],
        ["load", "m", "--policy", "latest:"],
        ["unload"],
        ["status", "a", "b"],
        ["check-config"],
        ["profile"],
        ["profile", "m", "--version", "1", "--label", "a"],
        ["profile", "m", "--seconds", "x"],
        ["lode", "m"],
    ],
)
def test_wrong_arguments_end_with_status_2_and_a_hint(arguments: list[str], capsys) -> None:
    """No server is asked."""
    try:
        status = main(arguments)
    except SystemExit as end:
        status = end.code

    assert status == 2
    assert capsys.readouterr().err


@pytest.mark.parametrize("command", [command_status, command_label, command_load, command_unload, command_profile])
def test_every_command_explains_itself(command, capsys) -> None:
    """With examples and exit statuses."""
    with pytest.raises(SystemExit) as end:
        command.main(["--help"])

    printed = capsys.readouterr().out
    assert end.value.code == 0
    assert "examples:" in printed
    assert "exit status: 0 done" in printed


def test_the_help_of_the_program_names_every_command(capsys) -> None:
    """Beside TensorFlow Serving's flags."""
    main(["--help"])

    printed = capsys.readouterr().out
    assert all(f"  {name} " in printed and one.summary in printed for name, one in COMMANDS.items())
    assert "--model_config_file" in printed


@pytest.mark.parametrize("command", ["status", "check-config", "label", "load", "unload", "profile"])
def test_a_command_starts_quickly_and_without_ray(command: str) -> None:
    """It is used in scripts; counted is the time on the CPU, because tests share their machine."""
    code = (
        "import sys, deployments.cli\n"
        f"try: deployments.cli.main(['{command}', '--help'])\n"
        "except SystemExit: pass\n"
        "print([name for name in ('ray', 'tensorflow', 'uvicorn', 'numpy', 'fsspec') if name in sys.modules])"
    )
    began_s = cpu_of_children_s()
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert ended.stdout.splitlines()[-1] == "[]"
    assert cpu_of_children_s() - began_s < STARTS_WITHIN_S


def cpu_of_children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_check_config_prints_and_exits(tmp_path: Path, capsys) -> None:
    """Text or JSON; warnings are no failure."""
    good, bad = tmp_path / "good.config", tmp_path / "bad.config"
    good.write_text('model_config_list { config { name: "m" base_path: "/none" model_platform: "tensorflow" } }')
    bad.write_text('model_config_list {\n config { name: "m" base_path: "rel" model_platform: "tensorflow" } }')

    assert main(["check-config", str(good)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{good} (models): no mistakes, 1 warning",
        f"  warning: {good}: m.base_path: /none is not there on this machine",
    ]
    assert main(["check-config", str(bad), str(tmp_path / "missing"), "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert (answer["ok"], [one["kind"] for one in answer["files"]]) == (False, ["models", None])
    assert answer["files"][0]["problems"][0]["line"] == 2
    assert "cannot be read" in answer["files"][1]["problems"][0]["message"]
    assert main(["check-config", str(bad), "--relative_path_root", str(tmp_path)]) == 0


def test_check_config_looks_into_certificates(tmp_path: Path, capsys) -> None:
    """A key that does not belong to its certificate is found before a server starts with it."""
    authority = Authority()
    write_ssl_config(tmp_path / "good", authority)
    assert main(["check-config", str(tmp_path / "good")]) == 0
    (key, _), (_, certificate) = authority.issue(), authority.issue()
    texts = [one.replace("\n", "\\n") for one in (key, certificate)]
    (tmp_path / "bad").write_text(f'server_key: "{texts[0]}" server_cert: "{texts[1]}"')

    assert main(["check-config", str(tmp_path / "bad")]) == 1
    assert "(ssl): 1 mistake" in capsys.readouterr().out


def test_check_config_checks_files_against_each_other(tmp_path: Path, capsys) -> None:
    """A model that only the settings name has no effect."""
    (tmp_path / "m.config").write_text("model_config_list {}")
    (tmp_path / "s.yaml").write_text("models:\n  typo:\n    num_gpus: 1\n")

    assert main(["check-config", str(tmp_path / "m.config"), str(tmp_path / "s.yaml")]) == 0
    assert "models.typo: has no base_path and is not in models.config" in capsys.readouterr().out


def test_a_profile_is_written_into_a_file(live: AdminServer, tmp_path: Path, capsys) -> None:
    """Of the version that is named, or the newest."""
    output = tmp_path / "profile.json"

    printed = done(live, capsys, "profile", "m", "--seconds", "0.5", "--output", str(output))

    assert output.read_text() == "m:2 for 0.5 s"
    assert printed.startswith(f"Recorded 0.5 s of m version 2: {output}")
    told = json.loads(done(live, capsys, "profile", "m", "--label", "stable", "--output", str(output), "--json"))
    assert told == {"model": "m", "version": "2", "file": str(output), "bytes": len("m:2 for 5 s")}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["x"], "There is no model x."),
        (["m", "--version", "7"], "m has no version 7."),
        (["m", "--label", "none"], "none"),
        (["m", "--seconds", "0"], "from 0.1 to 60 seconds"),
        (["m", "--seconds", "61"], "from 0.1 to 60 seconds"),
        (["m", "--seconds", "nan"], "from 0.1 to 60 seconds"),
        (["m", "--output", "/no/such/folder/profile.json"], "cannot be written"),
        (["m", "--output", "/"], "cannot be written"),
    ],
)
def test_a_profile_that_cannot_be_is_refused_with_the_reason(live: AdminServer, arguments, text: str, capsys) -> None:
    """Nothing is written."""
    assert run(live, "profile", *arguments) == 1

    assert text in capsys.readouterr().err


def test_a_replica_that_does_not_answer_is_told(live: AdminServer, tmp_path: Path, capsys) -> None:
    """It may be gone since the table was made."""
    live.recording_error = RayActorError()

    assert run(live, "profile", "m", "--output", str(tmp_path / "p")) == 1

    assert "No replica of m:2 could be recorded" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        pytest.param(
            ["load", "m", "--policy", "latest:4294967296"], "is not one of latest, latest:COUNT, all", id="count"
        ),
        pytest.param(["load", "m", "--policy", "latest:0"], "is not one of latest, latest:COUNT, all", id="no_version"),
        pytest.param(["load", "m", "1", "--timeout", "nan"], "nan is not a number of seconds", id="nan"),
        pytest.param(["unload", "m", "--timeout", "-1"], "-1 is not a number of seconds", id="negative"),
        pytest.param(["unload", "m", "--timeout", "soon"], "soon is not a number of seconds", id="word"),
        pytest.param(["load", "\udcff", "--base-path", "/m"], r"'\udcff' is not UTF-8", id="model"),
        pytest.param(["load", "n", "--base-path", "/\udcff"], r"'/\udcff' is not UTF-8", id="base_path"),
        pytest.param(["label", "m", "\udcff", "2"], r"'\udcff' is not UTF-8", id="label"),
        pytest.param(["profile", "m", "--label", "\udcff"], r"'\udcff' is not UTF-8", id="profiled_label"),
    ],
)
def test_what_no_message_can_hold_is_a_wrong_argument(arguments: list[str], reason: str, capsys) -> None:
    """It is told before any server is asked, and nothing waits for a time that never comes."""
    with pytest.raises(SystemExit) as caught:
        main([*arguments, "--server", "127.0.0.1:1"])

    assert caught.value.code == 2
    assert reason in capsys.readouterr().err


def test_a_command_that_is_interrupted_ends_without_a_traceback(live: AdminServer) -> None:
    """What it began goes on; the exit status is the shell's for SIGINT."""
    live.site.host.finish_deploying = lambda _: None
    command = [SCRIPT, "load", "m", "1", "--server", live.address]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hear_interrupts,  # noqa: PLW1509 - it only resets a signal
    ) as process:
        wait_until(lambda: 1 in live.site.router.table.models["m"].histories, "version 1 loads")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)

    assert (process.returncode, errors) == (130, "")


def test_a_command_whose_reader_has_left_ends_without_a_traceback() -> None:
    """As in `| head`; the exit status is the shell's for SIGPIPE."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        command = [SCRIPT, "check-config", "/missing"]
        ended = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    finally:
        os.close(writer)

    assert (ended.returncode, ended.stderr) == (141, "")
