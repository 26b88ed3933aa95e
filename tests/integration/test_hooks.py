"""Models with hooks in a running server: the example, hooks of an installed module, and hooks that hang."""

from __future__ import annotations

import runpy
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from core.errors import Code
from core.telemetry.metric_names import HOOK_SECONDS
from ray_model_client import Client, ServerError
from tests.integration.conftest import LiveServer
from tests.support.clients import RestClient, wait_until
from tests.support.hook_files import write_hooks
from tests.support.project import ROOT
from tests.support.prometheus_page import scrape
from tests.unit.test_hook_example import jpeg

EXAMPLE = ROOT / "examples" / "hooks"
INSTALLED = """
class Texts:
    inputs = {"text": ("string", (None,))}

    def preprocess(self, inputs, context):
        return {"x": [float(one) for one in inputs["text"]]}
"""
HANGING = """
import time

class Hooks:
    def preprocess(self, inputs, context):
        if inputs["x"].size > 1:
            time.sleep(600)
        return inputs
"""


@pytest.fixture
def setting(server: LiveServer, tmp_path: Path) -> Iterator[str]:
    """A model whose setting names hooks of a module that only its own process can import."""
    (tmp_path / "installed_hooks.py").write_text(INSTALLED, encoding="utf-8")
    file = server.folder / "settings.yaml"
    before = file.read_text(encoding="utf-8")
    settings = yaml.safe_load(before)
    settings["models"]["hooked"] = {
        "base_path": str(server.saved_models / "half_plus_two"),
        "hooks": "installed_hooks:Texts",
        "env_vars": {"PYTHONPATH": str(tmp_path)},
    }
    file.write_text(yaml.safe_dump(settings), encoding="utf-8")
    yield "hooked"
    file.write_text(before, encoding="utf-8")


def test_the_example_is_served(server: LiveServer, client: RestClient, base_path: Path) -> None:
    """Over REST and gRPC, with its own signature in metadata and its times on the page of metrics."""
    shutil.copytree(EXAMPLE / "colours" / "1", base_path / "1")
    server.configure("colours", base_path)
    wait_until(lambda: client.available("colours") == {1}, "the model with hooks is available", 90)
    ask = runpy.run_path(str(EXAMPLE / "ask.py"))

    told = ask["ask_rest"](f"127.0.0.1:{server.rest_port}", jpeg("red"), jpeg("blue"))
    labels = ask["ask_grpc"](f"127.0.0.1:{server.grpc_port}", jpeg("red"), jpeg("blue"))
    shown = client.get("/v1/models/colours/metadata").json["metadata"]["signature_def"]["signature_def"]
    page = scrape(client)

    assert [one["labels"][0] for one in told] == ["red", "blue"]
    assert labels == [one["labels"] for one in told]
    assert set(shown["serving_default"]["inputs"]) == {"jpeg"}
    for hook in ("preprocess", "postprocess"):
        assert page.count(HOOK_SECONDS, model_name="colours", version="1", hook=hook) == 2
    server.remove("colours")


def test_hooks_of_an_installed_module_are_named_in_the_settings(
    server: LiveServer, client: RestClient, setting: str
) -> None:
    """The module comes from the environment of the model's own process."""
    wait_until(lambda: client.available(setting) == {1}, "the model with hooks is available", 90)

    assert client.predict(setting, ["2", "4"]) == [3.0, 4.0]


def test_a_hook_that_hangs_keeps_nobody_from_unloading_its_version(
    server: LiveServer, client: RestClient, base_path: Path
) -> None:
    """Its caller hears of it at the deadline, and other callers are answered."""
    server.copy_version("half_plus_two", 1, base_path)
    write_hooks(base_path / "1", HANGING)
    server.configure("hanging", base_path)
    wait_until(lambda: client.available("hanging") == {1}, "the model with hooks is available", 90)

    with Client(f"127.0.0.1:{server.grpc_port}") as calls, pytest.raises(ServerError) as raised:
        calls.predict("hanging", {"x": [1.0, 2.0]}, timeout_s=1.0)
    answered = client.predict("hanging", [2.0])
    server.remove("hanging")
    wait_until(lambda: client.states("hanging").get(1) == "END", "the version was unloaded", 90)

    assert raised.value.code == Code.DEADLINE_EXCEEDED
    assert answered == [3.0]
