"""Tests of how configuration files are read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from core.config.extensions import TENSORFLOW
from core.config.model_config import ModelConfig
from core.config.server_settings import ModelSourceSettings, ServerSettings
from core.errors import ConfigError
from deployments.config import files
from deployments.config.configured_models import ConfiguredModels
from deployments.config.files import read_text

TEXT = 'model_config_list { config { name: "m" base_path: "/m" model_platform: "tensorflow" } }'


def reason(path: Path | str) -> str:
    with pytest.raises(ConfigError) as caught:
        read_text(str(path))
    return str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(TEXT.encode(), id="plain"),
        pytest.param(b"\xef\xbb\xbf" + TEXT.encode(), id="byte_order_mark"),
        pytest.param(TEXT.replace(" ", "\r\n").encode(), id="CRLF"),
        pytest.param(TEXT.replace(" ", "\r").encode(), id="CR"),
    ],
)
def test_a_file_of_any_editor_is_read(tmp_path: Path, content: bytes) -> None:
    """Marks and line ends of other systems are no mistakes."""
    file = tmp_path / "models.config"
    file.write_bytes(content)

    models = ConfiguredModels(ServerSettings(source=ModelSourceSettings(model_config_file=str(file)))).models()

    assert models == (ModelConfig("m", "/m", platform=TENSORFLOW),)


@pytest.mark.parametrize("content", [TEXT.encode("utf-16"), b"\xff\xfe\x00\x80"], ids=["UTF-16", "binary"])
def test_a_file_that_is_no_text_is_a_mistake(tmp_path: Path, content: bytes) -> None:
    """And no error that would end the watcher."""
    (tmp_path / "models.config").write_bytes(content)

    assert "codec can't decode" in reason(tmp_path / "models.config")


@pytest.mark.timeout(20)
def test_only_plain_files_are_read(tmp_path: Path) -> None:
    """A pipe would hang the watcher, a device would fill its memory."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")

    assert "is not a plain file" in reason(tmp_path / "pipe")
    assert "is not a plain file" in reason("/dev/zero")
    assert "Is a directory" in reason(tmp_path)
    assert "Too many levels of symbolic links" in reason(tmp_path / "circle")
    assert "No such file" in reason(tmp_path / "missing")
    assert "null byte" in reason("/etc/\0")


def test_a_link_to_a_file_is_read(tmp_path: Path) -> None:
    """Kubernetes puts files of a ConfigMap in place by links."""
    (tmp_path / "data").write_text(TEXT)
    (tmp_path / "models.config").symlink_to("data")

    assert read_text(str(tmp_path / "models.config")) == TEXT


def test_a_file_that_is_far_too_large_is_a_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused before it is parsed."""
    monkeypatch.setattr(files, "LARGEST_FILE_BYTES", 10)
    (tmp_path / "models.config").write_text("#" * 10)
    assert read_text(str(tmp_path / "models.config")) == "#" * 10

    (tmp_path / "models.config").write_text("#" * 11)

    assert "larger than 10 bytes" in reason(tmp_path / "models.config")
