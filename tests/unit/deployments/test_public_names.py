"""The names that users write down, in Serve configs, console scripts and their own programs: they never move."""

from __future__ import annotations

import inspect
import tomllib

import ray_model_client
from core.config.file_check import IMPORT_PATH
from deployments import app, cli, client
from tests.support.project import ROOT


def test_an_application_is_built_from_the_flags_of_a_serve_config() -> None:
    """`import_path: deployments.app:build` with `args`."""
    assert list(inspect.signature(app.build).parameters) == ["args"]
    assert IMPORT_PATH == "deployments.app:build"


def test_the_services_of_serves_own_grpc_proxy_have_an_import_path() -> None:
    """`grpc_servicer_functions: [deployments.app:add_services]`, which Serve calls with a servicer and a server."""
    assert list(inspect.signature(app.add_services).parameters) == ["servicer", "server"]
    assert "deployments.app:add_services" in (ROOT / "configs" / "app.yaml").read_text(encoding="utf-8")


def test_the_application_module_names_what_is_public() -> None:
    """Everything else there may change."""
    assert app.__all__ == ["add_services", "build"]


def test_the_console_script_starts_in_the_command_line_module() -> None:
    """`ray_model_server` and `python -m deployments.cli` are the same."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    names = ("ray_model_server", "tensorflow_model_server")
    assert project["scripts"] == dict.fromkeys(names, "deployments.cli:main")
    assert list(inspect.signature(cli.main).parameters) == ["arguments"]


def test_the_client_is_found_under_its_earlier_name() -> None:
    """`from deployments.client import Client` is what programs have."""
    assert client.__all__ == ["AsyncClient", "Client"]
    assert (client.Client, client.AsyncClient) == (ray_model_client.Client, ray_model_client.AsyncClient)
