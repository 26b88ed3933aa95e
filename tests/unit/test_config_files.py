"""The samples in `configs/` can be used as they are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from core.config import joined_models, yaml_settings
from core.config.models_text import model_configs
from core.config.yaml_settings import YamlSettings
from core.delivery.settings_reading import SHARED_DELIVERY
from core.errors import InvalidArgument
from deployments.app import build
from tests.support.project import ROOT

SETTINGS = ROOT / "configs" / "model_settings.yaml"


def settings(text: str) -> YamlSettings:
    return yaml_settings.read_yaml_settings(text, SETTINGS.name)


def listed_models() -> tuple[Any, ...]:
    text = (ROOT / "configs" / "models.config").read_text(encoding="utf-8")
    return model_configs(text, "models.config", relative_path_root=str(ROOT))


def uncommented(text: str) -> str:
    """Switch on the fields that stand in comments; sentences stay comments."""
    lines = (
        line.replace("# ", "", 1) if re.match(r"  #  *(\w+:( |$)|- \{)", line) else line for line in text.splitlines()
    )
    return "\n".join(lines)


def app_args() -> dict[str, Any]:
    content = yaml.safe_load((ROOT / "configs" / "app.yaml").read_text(encoding="utf-8"))
    [application] = ServeDeploySchema.model_validate(content).applications
    return dict(application.args)


def test_every_model_of_the_sample_is_there() -> None:
    """The base paths of models.config lead to directories with a version 1."""
    models = listed_models()

    assert len(models) >= 2
    assert [one.base_path for one in models if not (Path(one.base_path) / "1" / "saved_model.pb").exists()] == []


def test_the_settings_sample_fits_models_config() -> None:
    """Both files are read together, without a mistake and without a model that nobody lists."""
    models, own = listed_models(), settings(SETTINGS.read_text(encoding="utf-8"))

    merged = {one.name: one for one in joined_models.joined(models, own)}

    assert joined_models.unused_models(models, own) == ()
    assert merged["half_plus_two"].resources.num_replicas == 2
    assert merged["mlp"].resources.num_replicas == 1


def test_what_the_settings_sample_shows_in_comments_is_valid_too() -> None:
    """Taking the comment signs away gives more models and no mistake."""
    own = settings(uncommented(SETTINGS.read_text(encoding="utf-8")))

    added = {one.name: one for one in joined_models.joined((), own)}

    assert set(added) == {"offers", "pictures", "prices", "ranking", "registered", "search", "tokens", "translation"}
    assert added["ranking"].labels == {"stable": 7, "canary": 8}
    assert added["translation"].resources.autoscaling is not None
    assert added["prices"].delivery.plan is not None
    assert added["offers"].delivery.traffic == {"7": 9000, "8": 1000}
    assert added["pictures"].hooks == "pictures.hooks:TopFive"
    assert [log.collector for log in added["search"].logging] == ["", "json_lines"]


@pytest.mark.parametrize(
    "field", [*yaml_settings._RESOURCES, *SHARED_DELIVERY, *yaml_settings._LISTED, *yaml_settings._AUTOSCALING]
)
def test_the_settings_sample_shows_every_field(field: str) -> None:
    """A reader of the sample learns all that can be set."""
    assert re.search(rf"\b{field}:", SETTINGS.read_text(encoding="utf-8"))


def test_the_application_can_be_built_from_its_config(monkeypatch: pytest.MonkeyPatch) -> None:
    """All flags of app.yaml are known, and the files that they name are found from the project's folder."""
    monkeypatch.chdir(ROOT)

    build(app_args())


def test_the_application_can_be_built_with_the_settings_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sample of our settings goes with app.yaml."""
    monkeypatch.chdir(ROOT)

    build(app_args() | {"model_settings_file": "configs/model_settings.yaml"})


def test_an_unknown_flag_in_app_yaml_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt flag must not start a server that behaves otherwise than its file says."""
    monkeypatch.chdir(ROOT)

    with pytest.raises(InvalidArgument, match="unknown argument: rest_port"):
        build(app_args() | {"rest_port": 8501})
