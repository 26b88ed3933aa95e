"""Which operations this server cannot run, by what the runtime has."""

from __future__ import annotations

import pytest

from core.inspection.unrunnable import RuntimeOperations, library_packages, unrunnable_operations

RUNTIME = RuntimeOperations(
    frozenset({"Add", "OnTpu", "Compiled", "NoCode"}),
    {
        "Add": frozenset({"CPU", "TPU"}),
        "OnTpu": frozenset({"TPU", "TPU_SYSTEM"}),
        "Compiled": frozenset({"XLA_CPU_JIT"}),
    },
)


@pytest.mark.parametrize(
    ("operation", "installed", "reason"),
    [
        (
            "EagerPyFunc",
            set(),
            "it calls Python of the process that exported the model, which a SavedModel does not contain",
        ),
        ("OnTpu", set(), "TensorFlow has code of it for TPU, TPU_SYSTEM only"),
        ("Mine", set(), "no package that this server knows holds it; name the library that does in op_libraries"),
        (
            "SentencepieceOp",
            {"ydf-tf"},
            "it is in package tensorflow-text, which is not installed here: pip install 'ray-model-server[text]'",
        ),
    ],
)
def test_an_operation_that_cannot_run_has_a_reason(operation: str, installed: set[str], reason: str) -> None:
    """And the way to mend it, where there is one."""
    (found,) = unrunnable_operations({"Add": 2, operation: 3}, RUNTIME, installed)

    assert (found.name, found.count, found.reason) == (operation, 3, reason)


@pytest.mark.parametrize("operation", ["Add", "Compiled", "NoCode", "SentencepieceOp"])
def test_other_operations_run(operation: str) -> None:
    """On a device of this server, compiled, replaced before the run, or out of a package that is installed."""
    assert list(unrunnable_operations({operation: 1}, RUNTIME, {"tensorflow-text"})) == []


def test_packages_of_operations_are_named_once() -> None:
    """Whether they are installed or not."""
    operations = {"Add": 1, "SentencepieceOp": 1, "RougeL": 2, "SimpleMLInferenceOp": 1, "Mine": 1}

    assert library_packages(operations, RUNTIME) == ("tensorflow-text", "ydf-tf")
