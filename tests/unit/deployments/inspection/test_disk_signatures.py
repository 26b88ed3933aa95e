"""Tests of the difference of signatures of versions on disk, with SavedModels that hold signatures alone."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from core.config.version_policy import All, Latest, Specific
from core.protos import tensor_pb2
from deployments.cli import main
from deployments.inspection import disk_signatures
from deployments.inspection.disk_signatures import change_on_disk, outputs_on_disk


def write(folder: Path, name: str, outputs: Iterable[str] = ()) -> Path:
    """Write a version whose one input has a name."""
    model = tensor_pb2.SavedModel()
    graph = model.meta_graphs.add()
    graph.meta_info_def.tags.append("serve")
    info = tensor_pb2.TensorInfo(name="t:0", dtype="DT_FLOAT")
    graph.signature_def["serving_default"].inputs[name].CopyFrom(info)
    for output in outputs:
        graph.signature_def["serving_default"].outputs[output].CopyFrom(info)
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(model.SerializeToString())
    return folder


@pytest.fixture
def base_path(tmp_path: Path) -> Path:
    """Versions 7, 8 and 10, each with a name of its own; what is no version does not count."""
    base = tmp_path / "m"
    for version in (7, 8, 10):
        write(base / str(version), f"x{version}")
    (base / "notes").mkdir()
    return base


@pytest.mark.parametrize(
    ("policy", "pair"),
    [
        (Latest(), (8, 10)),
        (All(), (8, 10)),
        (Specific(frozenset({7, 8})), (7, 8)),
        (Specific(frozenset({10})), (8, 10)),
    ],
)
def test_the_newest_wanted_version_is_compared_with_the_one_below(
    base_path: Path, policy, pair: tuple[int, int]
) -> None:
    """That is what it replaces."""
    old, new = pair

    found = change_on_disk(str(base_path), policy)

    text = f'signature "serving_default": input "x{old}" (float32 ()) is now called "x{new}"'
    assert found == (old, new, (text,))


def test_outputs_are_those_of_the_newest_wanted_version(base_path: Path) -> None:
    """Hooks may rename them, so that nothing is known of a version with hooks; nor of one that cannot be read."""
    write(base_path / "11", "x", outputs=("scores", "classes"))
    assert outputs_on_disk(str(base_path), Latest()) == {"scores", "classes"}
    assert outputs_on_disk(str(base_path), Specific(frozenset({10, 99}))) == frozenset()
    assert outputs_on_disk(str(base_path / "absent"), Latest()) == frozenset()

    (base_path / "11" / "assets.extra").mkdir()
    (base_path / "11" / "assets.extra" / "hooks.py").touch()

    assert outputs_on_disk(str(base_path), Latest()) == frozenset()


def test_a_plan_that_names_an_unknown_output_is_refused(
    base_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With line and field: a metric of what is not there would always pass."""
    write(base_path / "11", "x", outputs=("scores",))
    plan = "{steps: [{mirror: 100, bake: 1m}], analysis: {metrics: [{flips: {output: scorez, max_rate: 0.1}}]}}"
    file = tmp_path / "settings.yaml"
    file.write_text(f"models:\n  m:\n    base_path: {base_path}\n    canary: {plan}\n")

    assert main(["check-config", str(file)]) == 1

    text = "scorez is not an output of the newest version; there are scores"
    assert f"settings.yaml:4: models.m.canary.analysis.metrics: {text}" in capsys.readouterr().out
    file.write_text(file.read_text().replace("scorez", "scores"))
    assert main(["check-config", str(file)]) == 0


@pytest.mark.parametrize("policy", [Specific(frozenset({7})), Specific(frozenset({99}))])
def test_a_version_that_replaces_none_is_not_compared(base_path: Path, policy) -> None:
    """Nobody calls it yet."""
    assert change_on_disk(str(base_path), policy) is None


@pytest.mark.parametrize("content", [b"", b"\xff\xff", None])
def test_a_version_that_cannot_be_read_is_not_compared(base_path: Path, content: bytes | None) -> None:
    """Others tell what is wrong with it; it may be being written."""
    file = base_path / "10" / "saved_model.pb"
    file.unlink() if content is None else file.write_bytes(content)

    assert change_on_disk(str(base_path), Latest()) is None
    assert change_on_disk(str(base_path / "gone"), Latest()) is None


def test_a_large_graph_is_not_read(base_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would take the memory of a server; those with weights in their graph are rare."""
    monkeypatch.setattr(disk_signatures, "LARGEST_READ_GRAPH", 10)

    assert change_on_disk(str(base_path), Latest()) is None


def test_check_config_warns_of_changed_signatures(base_path: Path, tmp_path: Path, capsys) -> None:
    """In both kinds of files, with the subpath of versions, and only as a warning."""
    listed, settings = tmp_path / "models.config", tmp_path / "s.yaml"
    listed.write_text(
        f'model_config_list {{ config {{ name: "m" base_path: "{base_path}" model_platform: "tensorflow" }} }}'
    )
    for version in (1, 2):
        write(tmp_path / "n" / str(version) / "data" / "model", f"x{version}")
    settings.write_text(f"models:\n  n:\n    base_path: {tmp_path / 'n'}\n    version_subpath: data/model\n")

    assert main(["check-config", str(listed)]) == 0
    assert 'm.base_path: version 10 after 8: signature "serving_default": input "x8"' in capsys.readouterr().out
    assert main(["check-config", str(settings)]) == 0
    assert 'models.n.base_path: version 2 after 1: signature "serving_default": input "x1"' in capsys.readouterr().out
