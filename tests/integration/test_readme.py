"""The README's blocks, run in their order by a newcomer who pastes them: what they promise comes true."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.support.clients import RestClient, free_port, wait_until
from tests.support.project import ROOT
from tests.support.stores.fault_proxy import CREDENTIALS, REGION
from tests.support.stores.object_store import s3_client, s3_server

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
ENTRY = re.compile(r"  config \{\n    name: \"half_plus_two\".*?\n  \}\n", re.DOTALL)
IS_SERVER = re.compile(r"ray_model_server --")
ELSEWHERE = {
    "tritonclient": "tests/integration/test_kserve_runtime.py has the environment of Triton's client",
    "docker ": "tests/integration/test_image.py runs what the image runs, without Docker",
}
"""Blocks that this test leaves out, by a text in them."""
COMMANDS_WITH_SERVER = "status|label|load|unload|profile"
X = {"instances": [1.0, 2.0, 5.0]}
VERSION_1, VERSION_2 = [2.5, 3.0, 4.5], [3.5, 4.0, 5.5]


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of the README."""

    language: str
    text: str


def blocks() -> list[Block]:
    return [Block(*found) for found in BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))]


class Newcomer:
    """A checkout of their own, a folder for `/models`, and ports that nobody has; each block is pasted there."""

    def __init__(self, folder: Path) -> None:
        self.checkout, self.models = folder / "checkout", folder / "models"
        self.rest, self.rpc = free_port(), free_port()
        for name in ("examples", "configs"):
            shutil.copytree(ROOT / name, self.checkout / name)
        shutil.copytree(ROOT / "examples" / "models" / "half_plus_two", self.models / "half_plus_two")
        self._install()
        app = yaml.safe_load((self.checkout / "configs" / "app.yaml").read_text())
        app["http_options"]["port"], app["grpc_options"]["port"] = free_port(), free_port()
        app["applications"][0]["args"] |= {"port": self.rpc, "rest_api_port": self.rest}
        (self.checkout / "configs" / "app.yaml").write_text(yaml.safe_dump(app))

    def _install(self) -> None:
        """Make `.venv` lead to the environment of the tests; commands find the server at its port."""
        programs = self.checkout / ".venv" / "bin"
        programs.mkdir(parents=True)
        real = Path(sys.executable).with_name("ray_model_server")
        (programs / "activate").write_text(f'PATH="{programs}:$PATH"\n')
        (programs / "ray_model_server").write_text(
            f'#!/bin/sh\ncase "$1" in {COMMANDS_WITH_SERVER}) set -- "$@" --server 127.0.0.1:{self.rpc};; esac\n'
            f'exec {real} "$@"\n'
        )
        (programs / "ray_model_server").chmod(0o755)

    def here(self, text: str) -> str:
        """Return a block with the ports and folders of this checkout."""
        text = text.replace("8501", str(self.rest)).replace("127.0.0.1:8500", f"127.0.0.1:{self.rpc}")
        return re.sub(r"(?<![\w/:])/models\b", str(self.models), text)

    def paste(self, text: str) -> str:
        """Run lines in a shell; returns what they print."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self.here(text)],
            cwd=self.checkout, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def answer(self) -> object:
        """Return what the first request of the README is answered; None while nothing answers."""
        client = RestClient(self.rest)
        try:
            reply = client.post("/v1/models/half_plus_two:predict", X)
            return reply.json.get("predictions")
        except OSError:
            return None
        finally:
            client.close()

    @contextmanager
    def running(self, command: list[str], more: Mapping[str, str]) -> Iterator[None]:
        """A server in another terminal, until Ctrl-C."""
        with tempfile.TemporaryDirectory(prefix="rms-", ignore_cleanup_errors=True) as ray_folder:
            environment = os.environ | {"RAY_ADDRESS": "local", "RAY_TMPDIR": ray_folder, **more}
            log = self.checkout / "log"
            with log.open("w") as output:
                server = subprocess.Popen(
                    command, cwd=self.checkout, env=environment, stdout=output, stderr=output, process_group=0
                )
            try:
                wait_until(lambda: server.poll() is not None or self.answer() == VERSION_1, "the first answer", 240)
                assert server.poll() is None, log.read_text(errors="replace")[-5000:]
                yield
                os.killpg(server.pid, signal.SIGINT)
                assert server.wait(timeout=120) == 0
            finally:
                server.kill()


@pytest.fixture
def newcomer(tmp_path: Path) -> Newcomer:
    return Newcomer(tmp_path)


def replace_the_entry(newcomer: Newcomer, block: Block) -> None:
    """Do with the block of labels what the README says of it."""
    config = newcomer.checkout / "configs" / "models.config"
    replaced, count = ENTRY.subn(lambda _: block.text, config.read_text())
    assert count == 1
    config.write_text(replaced)


def write_the_list(newcomer: Newcomer, block: Block) -> None:
    (newcomer.models / "models.config").write_text(newcomer.here(block.text))


FILES: Mapping[str, Callable[[Newcomer, Block], None]] = {
    "config {": replace_the_entry,
    "model_config_list {": write_the_list,
    "/models/half_plus_two/1/saved_model.pb": lambda newcomer, _: None,
}
"""What a reader does with a block that is not a command, by its first line."""

OUTCOMES: Mapping[str, list[float]] = {
    "cp -r examples/models/half_plus_three/1 examples/models/half_plus_two/2": VERSION_2,
    "rm -r examples/models/half_plus_two/2": VERSION_1,
}
"""What the first request is answered some seconds after a block."""


@pytest.mark.timeout(600)
def test_the_blocks_of_the_readme_work_in_their_order(newcomer: Newcomer) -> None:
    """Those with a server beside them; each JSON block is the answer to the block before it."""
    printed, served = "", [sys.executable, "-m", "deployments.launch.serve_run", "configs/app.yaml"]
    with newcomer.running(served, {}):
        for block in blocks():
            if any(text in block.text for text in ELSEWHERE):
                continue
            if block.language == "json":
                assert json.loads(printed) == json.loads(block.text)
            elif block.language == "python":
                run_python(newcomer, block.text)
            elif not block.language:
                FILES[block.text.splitlines()[0]](newcomer, block)
            elif not IS_SERVER.search(block.text) and not block.text.startswith("make "):
                printed = paste_when_ready(newcomer, block.text)
            if block.text.strip() in OUTCOMES:
                wait_until(lambda: newcomer.answer() == OUTCOMES[block.text.strip()], block.text, 60)  # noqa: B023 - called now


def paste_when_ready(newcomer: Newcomer, text: str) -> str:
    """Paste a block; one that asks for the label waits, as a reader does who has just written it."""
    if "labels/canary" in text:
        client = RestClient(newcomer.rest)
        wait_until(
            lambda: client.post("/v1/models/half_plus_two/labels/canary:predict", X).status == 200, "the label", 60
        )
        client.close()
    return newcomer.paste(text)


def run_python(newcomer: Newcomer, text: str) -> None:
    """Run a program, whose comments are what it prints."""
    promised = re.findall(r"print\(.*  # (.*)$", text, re.MULTILINE)
    done = subprocess.run([sys.executable, "-c", newcomer.here(text)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == promised


def servers() -> list[str]:
    """Return the blocks that start a server themselves."""
    return [block.text for block in blocks() if block.language == "sh" and IS_SERVER.search(block.text)]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("block", servers(), ids=["flags", "list", "S3"])
def test_the_servers_of_the_readme_start(newcomer: Newcomer, block: str) -> None:
    """From a folder, a list of models, and a store; on ports of their own."""
    [listed] = [one for one in blocks() if one.text.startswith("model_config_list {")]
    write_the_list(newcomer, listed)
    with s3_server() as port:
        secrets = {**CREDENTIALS, "AWS_REGION": REGION, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
        if "s3://" in block:
            fill_bucket(port, newcomer.models / "half_plus_two")
        [command] = [line for line in block.splitlines() if IS_SERVER.search(line)]
        line = f"exec {newcomer.here(command)} --port={newcomer.rpc}"
        with newcomer.running(["bash", "-c", line], secrets):
            assert newcomer.answer() == VERSION_1


def fill_bucket(port: int, model: Path) -> None:
    """Put a model where the README's URL says."""
    client = s3_client(port)
    client.create_bucket(Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": REGION})
    for path in (one for one in model.rglob("*") if one.is_file()):
        client.put_object(
            Bucket="bucket", Key=f"models/half_plus_two/{path.relative_to(model)}", Body=path.read_bytes()
        )


def test_the_readme_begins_with_targets_of_make() -> None:
    """Its first commands."""
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    named = {
        line.split()[1] for block in blocks() if block.text.startswith("make ") for line in block.text.splitlines()
    }
    assert named == {"serve", "test"}
    assert named <= targets
