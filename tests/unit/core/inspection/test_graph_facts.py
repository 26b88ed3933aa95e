"""What the graphs of a SavedModel say of themselves; the files are written with TensorFlow's own messages."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import DataLoss
from core.inference.dtypes import DataType
from core.inspection.graph_facts import graph_facts
from tests.support.original_messages import tensorflows

SavedModel = tensorflows("tensorflow/core/protobuf/saved_model.proto", "tensorflow.SavedModel")


def written() -> bytes:
    """Write a graph with a function that it calls, pinned nodes, a loop and an asset."""
    model = SavedModel()
    graph = model.meta_graphs.add()
    graph.meta_info_def.tags.extend(["serve", "gpu"])
    graph.meta_info_def.tensorflow_version = "2.9.1"
    graph.graph_def.node.add(name="a", op="Add", device="/device:GPU:0")
    graph.graph_def.node.add(name="b", op="f")
    function = graph.graph_def.library.function.add()
    function.signature.name = "f"
    function.node_def.add(name="c", op="Add")
    function.node_def.add(name="d", op="StatelessWhile", device="/device:CPU:0")
    graph.asset_file_def.add(filename="words.txt")
    graph.signature_def["s"].method_name = "m"
    graph.signature_def["s"].inputs["x"].dtype = 1
    return model.SerializeToString()


def test_nodes_are_counted_by_operation_also_in_functions() -> None:
    """A call of a function by its name is not an operation."""
    (found,) = graph_facts(written(), "f")

    assert dict(found.operations) == {"Add": 2, "StatelessWhile": 1}
    assert found.functions == 1
    assert found.loops == ("StatelessWhile",)
    assert found.devices == ("/device:CPU:0", "/device:GPU:0")


def test_a_graph_tells_tags_release_assets_and_signatures() -> None:
    """As its exporter wrote them."""
    (found,) = graph_facts(written(), "f")

    assert (found.tags, found.written_by, found.assets) == (("gpu", "serve"), "2.9.1", ("words.txt",))
    assert found.signatures["s"].method == "m"
    assert found.signatures["s"].inputs["x"].dtype is DataType.FLOAT


def test_every_graph_is_read(saved_models: Path) -> None:
    """One for each set of tags."""
    file = saved_models / "two_tag_sets" / "1" / "saved_model.pb"

    assert len(graph_facts(file.read_bytes(), str(file))) == 2


def test_a_file_that_is_cut_short_is_named_with_its_size() -> None:
    """That is how people see that a copy did not end."""
    text = (
        r"^/m/saved_model.pb \(7 bytes\) is not a SavedModel: its content cannot be parsed; it is damaged, or was not"
    )

    with pytest.raises(DataLoss, match=text):
        graph_facts(written()[:7], "/m/saved_model.pb")


def test_a_file_without_a_graph_is_damaged() -> None:
    """An empty one parses, as every empty message does."""
    with pytest.raises(DataLoss, match=r"^f \(0 bytes\) has no graph; it is damaged"):
        graph_facts(b"", "f")


@given(st.binary(max_size=200) | st.integers(0, 300).map(lambda end: written()[:end]))
def test_no_bytes_are_a_defect(content: bytes) -> None:
    """They are facts or damage."""
    with suppress(DataLoss):
        assert graph_facts(content, "f")
