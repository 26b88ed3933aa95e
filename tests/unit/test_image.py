"""The image has the edges of TensorFlow Serving's: whoever replaces the one's name by the other's changes nothing else."""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
import yaml

from core.config.arguments import ArgumentsOutcome, parse_flags
from core.config.models_text import model_configs
from core.config.server_settings import ServerSettings
from tests.support.image import Stage, files_of, stages
from tests.support.project import ROOT

TARGETS = ("cpu", "gpu")
SCRIPT = ROOT / "configs" / "image" / "tf_serving_entrypoint.sh"
ENVIRONMENT = "/opt/ray_model_server"
PIN = re.compile(r"^([\w.-]+==\S+)", re.MULTILINE)
FAKE = '#!/bin/sh\necho $$\nfor one in "$@"; do printf "%s\\n" "$one"; done\n'
DEFAULTS = {"MODEL_NAME": "model", "MODEL_BASE_PATH": "/models"}


def called(folder: Path, *arguments: str, **environment: str) -> list[str]:
    """Run the entry point with a program in the server's place; return the arguments that it got."""
    program = folder / "tensorflow_model_server"
    program.write_text(FAKE)
    program.chmod(0o755)
    given = {"PATH": f"{folder}:/usr/bin:/bin", **DEFAULTS, **environment}
    with subprocess.Popen([SCRIPT, *arguments], env=given, stdout=subprocess.PIPE, text=True) as running:
        shown, _ = running.communicate(timeout=60)
    pid, *got = shown.splitlines()
    assert int(pid) == running.pid, "the server takes the script's place, and gets the signals"
    return got


def settings(arguments: list[str]) -> ServerSettings:
    parsed = parse_flags(arguments)
    assert (parsed.outcome, parsed.warnings) == (ArgumentsOutcome.START, ())
    assert parsed.settings is not None
    return parsed.settings


@pytest.mark.parametrize("target", TARGETS)
def test_the_edges_are_those_of_tensorflow_serving(target: str) -> None:
    """Ports, variables, the folder for models and the entry point; it starts in the root folder as root, as there."""
    stage = stages()[target]

    assert stage.ports == (8500, 8501)
    assert DEFAULTS.items() <= stage.environment.items()
    assert stage.folders == ("/models", "/")
    assert stage.entry_point == ("/usr/bin/tf_serving_entrypoint.sh",)
    assert set(stage.others) == {"LABEL"}, "neither another user, a command, a volume nor a health check"


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("program", ["tensorflow_model_server", "tf_serving_entrypoint.sh", "ray_model_server"])
def test_the_programs_are_where_they_are_called(target: str, program: str) -> None:
    """Others' files name them without a folder, or in `/usr/bin`."""
    places = {str(place) for copy in stages()[target].copies for _, place in copy.pairs()}

    assert f"/usr/bin/{program}" in places


def test_the_image_without_a_target_is_the_one_for_cpus() -> None:
    """The other one has the same edges, and the variables that give a container GPUs."""
    found = stages()

    assert list(found)[-1] == "cpu"
    more = found["gpu"].environment.items() - found["cpu"].environment.items()
    assert {name for name, _ in more} == {"NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES"}


def test_both_names_of_the_command_come_with_the_package() -> None:
    """From pip, too; what is copied from the environment is there."""
    scripts = {
        one.name: one.value for one in distribution("ray-model-server").entry_points if one.group == "console_scripts"
    }

    assert scripts == dict.fromkeys(("ray_model_server", "tensorflow_model_server"), "deployments.cli:main")


def test_the_variables_become_flags(tmp_path: Path) -> None:
    """The server serves the one model that they name on TensorFlow Serving's ports."""
    got = settings(called(tmp_path, MODEL_NAME="half_plus_two"))

    assert (got.front_door.grpc_port, got.front_door.rest_port) == (8500, 8501)
    assert (got.source.model_name, got.source.model_base_path) == ("half_plus_two", "/models/half_plus_two")


def test_without_variables_the_model_is_named_model(tmp_path: Path) -> None:
    """`docker run -v FOLDER:/models/model` is enough."""
    assert settings(called(tmp_path)).source.model_base_path == "/models/model"


def test_the_variables_may_hold_blanks_and_stars(tmp_path: Path) -> None:
    """The shell splits and replaces nothing."""
    got = called(tmp_path, MODEL_NAME="a * b", MODEL_BASE_PATH="s3://bucket/x y")

    assert got[2:] == ["--model_name=a * b", "--model_base_path=s3://bucket/x y/a * b"]


def test_further_arguments_are_passed_on_and_count_before_the_own_ones(tmp_path: Path) -> None:
    """As they are written: a flag that comes twice has its last value."""
    got = called(tmp_path, "--rest_api_port=9001", "--host=a b", "--enable_batching")

    assert got[4:] == ["--rest_api_port=9001", "--host=a b", "--enable_batching"]
    assert settings(got).front_door.rest_port == 9001


def test_a_list_of_models_takes_the_place_of_the_variables(tmp_path: Path) -> None:
    """`docker run ... --model_config_file=/models/models.config`, and the folder of MODEL_NAME is not there."""
    listed = tmp_path / "models.config"
    listed.write_text('model_config_list { config { name: "a" base_path: "/a" model_platform: "tensorflow" } }')

    source = settings(called(tmp_path, f"--model_config_file={listed}")).source

    assert source.model_config_file == str(listed)


@pytest.mark.parametrize("base_path", ["/models/", "s3://bucket/x/"])
def test_a_slash_at_the_end_of_the_folder_is_not_doubled(tmp_path: Path, base_path: str) -> None:
    """In a store, `x//model` is another place than `x/model`."""
    assert settings(called(tmp_path, MODEL_BASE_PATH=base_path)).source.model_base_path == f"{base_path}model"


def test_a_settings_file_with_models_needs_no_variables(tmp_path: Path) -> None:
    """Otherwise the model of the defaults, which nobody meant, would be one that does not answer."""
    file = tmp_path / "settings of models.yaml"
    file.write_text("models:\n  a:\n    base_path: /a\n")
    given = f"--model_settings_file={file}"

    assert called(tmp_path, given, "--enable_batching")[2:] == [given, "--enable_batching"]
    assert called(tmp_path, f"--model_settings_file=file://{file}")[2] == f"--model_settings_file=file://{file}"


@pytest.mark.parametrize(
    ("text", "environment"),
    [
        ("models: {a: {base_path: /a}}", {"MODEL_NAME": "half_plus_two"}),
        ("models: {a: {base_path: /a}}", {"MODEL_BASE_PATH": "/elsewhere"}),
        ("defaults: {num_cpus: 1}", {}),
        (None, {}),
    ],
)
def test_beside_other_settings_the_variables_name_the_model(
    tmp_path: Path, text: str | None, environment: dict[str, str]
) -> None:
    """Whoever sets one of them means it; and the settings may be for that model, or their file not be readable here."""
    file = tmp_path / "settings.yaml"
    if text is not None:
        file.write_text(text)
    name, base_path = (DEFAULTS | environment).values()

    got = called(tmp_path, f"--model_settings_file={file}", **environment)

    assert got[2:4] == [f"--model_name={name}", f"--model_base_path={base_path}/{name}"]


def test_nothing_of_the_layout_is_left_to_commands() -> None:
    """So that a test can lay the files out; what runs in the image compiles Python's own modules."""
    found = stages()

    assert found["cpu"].commands == found["gpu"].commands == found["edges"].commands
    [command] = found["edges"].commands
    assert command.startswith("python -m compileall ")


def test_the_image_has_what_a_compiler_made_but_no_compiler() -> None:
    """The stage that has one ends with an error where a compiled part is missing."""
    found = stages()
    compiled = [one.relative_to(ROOT).with_suffix("").as_posix() for one in (ROOT / "native").glob("*.c")]

    assert "-slim-" in found["edges"].base
    assert "-slim-" not in found["environment"].base
    assert sum(command.count("test -e") for command in found["environment"].commands) == len(compiled)


def test_everything_that_is_installed_is_pinned_by_a_hash() -> None:
    """The project itself is built with what is installed by then, and without a registry."""
    for name in ("environment", "gpu-environment"):
        for command in stages()[name].commands:
            if " install " in command:
                assert "--require-hashes" in command or "--no-index" in command


def test_the_image_has_what_the_tests_ran_with() -> None:
    """`make lock` writes four files of the same versions: a file that was forgotten shows itself here."""
    locks = {one: set(PIN.findall((ROOT / f"requirements{one}.lock").read_text())) for one in ("", "-image", "-gpu")}
    tested = set(PIN.findall((ROOT / "requirements-dev.lock").read_text()))

    assert locks[""] - locks["-image"] == set()
    assert locks["-image"] - locks["-gpu"] == set()
    assert locks["-image"] - tested == set()
    assert all(one.startswith("nvidia-") for one in locks["-gpu"] - locks["-image"])


def patterns() -> list[str]:
    text = (ROOT / ".dockerignore").read_text()
    return [line.rstrip("/") for line in text.splitlines() if line and not line.startswith("#")]


def is_ignored(path: str) -> bool:
    """Whether Docker leaves a file of the project out, by the last pattern that it or a folder above it fits."""
    ignored = False
    parents = [*reversed([one.as_posix() for one in Path(path).parents if one.name]), path]
    for pattern in patterns():
        allows, wanted = pattern.startswith("!"), pattern.removeprefix("!")
        name_only = wanted.startswith("**/")
        if any(
            fnmatch.fnmatchcase(Path(one).name if name_only else one, wanted.removeprefix("**/")) for one in parents
        ):
            ignored = not allows
    return ignored


def context_copies(stage: Stage) -> set[str]:
    """Return the files of the project that a stage copies."""
    return {
        one.relative_to(ROOT).as_posix()
        for copy in stage.copies
        if not copy.stage
        for source in copy.sources
        for one in files_of(source)
    }


def test_docker_gets_what_is_copied_and_nothing_else() -> None:
    """Neither the environment, the history, nor what was compiled here."""
    found = stages()
    copied = context_copies(found["gpu-environment"]) | context_copies(found["cpu"])
    built = re.compile(r"/__pycache__/|\.so$")

    assert {one for one in copied if is_ignored(one)} == {one for one in copied if built.search(one)}
    assert {"deployments/cli.py", "deployments/pages/assets/pages.css"} <= copied
    for other in (".venv/pyvenv.cfg", ".git/HEAD", "tests/conftest.py", "requirements-dev.lock", "configs/app.yaml"):
        assert is_ignored(other)


def test_the_linter_finds_nothing() -> None:
    """As in `make check`, here with every rule that it has."""
    linter = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert linter is not None
    shown = subprocess.run([linter, "Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False)

    assert (shown.returncode, shown.stdout) == (0, "")


IMAGES = re.compile(r"image: ray-model-server # (?:CHANGE: )?was tensorflow/serving$", re.MULTILINE)
SAMPLES = ROOT / "configs" / "image"


def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((SAMPLES / "compose.yaml").read_text())["services"]
    return found


def test_the_samples_for_compose_use_the_edges_alone() -> None:
    """Ports that are exposed, variables of the image, flags of TensorFlow Serving; the folders that they mount are there."""
    assert len(IMAGES.findall((SAMPLES / "compose.yaml").read_text())) == len(services())
    for service in services().values():
        assert {int(one.split(":")[1]) for one in service["ports"]} <= set(stages()["cpu"].ports)
        assert service.get("environment", {}).keys() <= DEFAULTS.keys()
        assert settings(service.get("command", ["--model_base_path=/models/x"]))
        for one in service["volumes"]:
            outside, inside, mode = one.split(":")
            assert (SAMPLES / outside).exists()
            assert (inside.startswith("/models/"), mode) == (True, "ro")


def test_the_list_of_models_of_the_sample_names_what_is_mounted() -> None:
    """As the container sees it."""
    mounted = [one.split(":") for one in services()["guarded"]["volumes"]]
    [(outside, inside)] = [(one[0], one[1]) for one in mounted if not one[0].endswith(".config")]

    found = model_configs((SAMPLES / "models.config").read_text())

    assert found
    for one in found:
        assert (SAMPLES / outside / one.base_path.removeprefix(f"{inside}/")).is_dir()


def test_the_samples_for_kubernetes_use_the_edges_alone() -> None:
    """The program by its path, its ports, a root that cannot be written, and `/tmp` for the rest."""
    text = (SAMPLES / "kubernetes.yaml").read_text()
    deployment, service = yaml.safe_load_all(text)
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    ports = {one["name"]: one["containerPort"] for one in container["ports"]}
    got = settings(container["args"])

    assert len(IMAGES.findall(text)) == 1
    assert container["command"] == ["/usr/bin/tensorflow_model_server"]
    assert ports == {"grpc": got.front_door.grpc_port, "rest": got.front_door.rest_port}
    assert {one["targetPort"] for one in service["spec"]["ports"]} == ports.keys()
    assert container["readinessProbe"]["httpGet"] == {"path": f"/v1/models/{got.source.model_name}", "port": "rest"}
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert {one["mountPath"] for one in container["volumeMounts"]} == {"/models", "/tmp"}
