"""What clients see of a model with hooks, and which declarations do not fit it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from core.errors import InvalidArgument, RuntimeFailure
from core.inference.dtypes import DataType
from core.inference.signature import PREDICT_METHOD, REGRESS_METHOD, ServedModel, Signature, TensorSpec, definition_of
from core.platforms.hooked_signature import (
    HookDeclaration,
    HookedSignature,
    hooked_signature,
    served_with_hooks,
)
from core.protos import serving_pb2
from tests.support.served_models import spec

PICTURES = {"image": ("string", (None,))}
LABELS = {"labels": ("string", (None, 5))}
BOTH = HookDeclaration("Hook h:H", inputs=PICTURES, outputs=LABELS, has_preprocess=True, has_postprocess=True)


def model(**more: Signature) -> ServedModel:
    """Declare a model whose default signature has an input that may be left out."""
    default = Signature(
        {"x": spec("x:0"), "scale": spec("scale:0", shape=())},
        {"y": spec("y:0"), "again": spec("y:0"), "parts": TensorSpec("", DataType.INT64, None, "sparse")},
        defaults={"scale": np.array(2.0, np.float32)},
        is_carried=False,
    )
    signatures = {"serving_default": default, "regress": Signature({"i": spec("i:0")}, {"o": spec("o:0")}), **more}
    shown = serving_pb2.SignatureDefMap(signature_def={key: definition_of(one) for key, one in signatures.items()})
    shown.signature_def["serving_default"].defaults["scale"].dtype = 1
    return ServedModel("m", 3, signatures, shown.SerializeToString(deterministic=True))


def hooked(served: ServedModel | None = None, **declared: object) -> HookedSignature:
    """Put hooks around the model."""
    return hooked_signature(served or model(), dataclasses.replace(BOTH, **declared))


def test_clients_see_what_the_hooks_declare() -> None:
    """Under tensor names that no graph has, as a signature of the method predict."""
    client = hooked().client

    assert client.inputs == {"image": TensorSpec("hooks:image", DataType.STRING, (-1,))}
    assert client.outputs == {"labels": TensorSpec("hooks:labels", DataType.STRING, (-1, 5))}
    assert (client.method, client.is_carried, dict(client.defaults)) == (PREDICT_METHOD, True, {})


def test_a_side_that_is_not_declared_stays_the_models() -> None:
    """With its defaults; of the outputs only those that a hook can be given."""
    kept = hooked(inputs=None, outputs=None).client

    assert {name: one.shape for name, one in kept.inputs.items()} == {"x": (-1, 1), "scale": ()}
    assert {one.tensor for one in (*kept.inputs.values(), *kept.outputs.values())} == {
        *("hooks:x", "hooks:scale"),
        *("hooks:y", "hooks:again"),
    }
    assert set(kept.defaults) == {"scale"}
    assert kept.is_carried


def test_without_postprocess_all_outputs_of_the_model_are_shown() -> None:
    """Also one that no answer can carry, which is refused when it is asked for."""
    passed = hooked(outputs=None, has_postprocess=False).client

    assert set(passed.outputs) == {"y", "again", "parts"}
    assert not passed.is_carried


def test_metadata_shows_the_hooked_signature_beside_the_others() -> None:
    """The others byte for byte as the model has them."""
    before = serving_pb2.SignatureDefMap.FromString(model().signature_def_map)

    served = served_with_hooks(model(), hooked())

    shown = serving_pb2.SignatureDefMap.FromString(served.signature_def_map)
    assert shown.signature_def["regress"] == before.signature_def["regress"]
    assert set(shown.signature_def["serving_default"].inputs) == {"image"}
    assert not shown.signature_def["serving_default"].defaults
    assert served.signatures["serving_default"] == hooked().client
    assert served.signatures["regress"] == model().signatures["regress"]
    assert (served.name, served.version) == ("m", 3)


def test_metadata_keeps_the_defaults_of_inputs_that_are_passed_on() -> None:
    """They can still be left out."""
    kept = hooked(inputs=None)

    shown = serving_pb2.SignatureDefMap.FromString(served_with_hooks(model(), kept).signature_def_map)

    assert set(shown.signature_def["serving_default"].defaults) == {"scale"}


def test_another_signature_than_the_default_may_be_wrapped() -> None:
    """Its method becomes predict, because its answer is what the hook returns."""
    key = "score"
    scored = hooked(model(score=Signature({"i": spec("i:0")}, {"o": spec("o:0")}, REGRESS_METHOD)), signature=key)

    assert (scored.key, scored.client.method) == (key, PREDICT_METHOD)


@pytest.mark.parametrize(
    ("declared", "text"),
    [
        ({"signature": "scores"}, "no signature 'scores'; it has {regress,serving_default}"),
        ({"signature": 3}, "no signature 3"),
        ({"signature": []}, r"no signature \[\]"),
        ({"has_preprocess": False, "has_postprocess": False}, "neither of the methods preprocess and postprocess"),
        ({"has_preprocess": False}, "declares inputs, but has no method preprocess"),
        ({"has_postprocess": False}, "declares outputs, but has no method postprocess"),
        ({"inputs": {}}, "declares no inputs"),
        ({"outputs": {"y": ("float32", 3)}}, 'output "y" is declared as'),
        ({"outputs": ["y"]}, "the declaration of its outputs is of type list"),
    ],
)
def test_a_declaration_that_does_not_fit_is_refused(declared, text) -> None:
    """With the name of the class, for whoever wrote it."""
    with pytest.raises(InvalidArgument, match=text) as raised:
        hooked(**declared)

    assert str(raised.value).startswith("Hook h:H")


def test_a_model_whose_inputs_cannot_be_fed_cannot_be_wrapped() -> None:
    """A hook returns arrays, and a sparse input consists of several."""
    sparse = Signature({"s": TensorSpec("", DataType.INT64, None, "sparse")}, {"o": spec("o:0")}, is_carried=False)

    with pytest.raises(RuntimeFailure, match='Input "s" of signature "sparse" is a sparse tensor'):
        hooked(model(sparse=sparse), signature="sparse")


@pytest.mark.parametrize(
    ("returned", "names"),
    [({"x": 1}, {"x"}), ({"x": 1, "scale": 2}, {"x", "scale"}), ({}, {"x"}), (None, {"x"}), ([], {"x"})],
)
def test_a_hook_may_leave_out_inputs_with_a_default(returned, names) -> None:
    """And no others, whatever it returned."""
    assert set(hooked().wanted_of(returned)) == names


def test_a_hook_is_given_outputs_that_are_arrays() -> None:
    """A sparse one consists of several."""
    assert hooked().readable_outputs == ("y", "again")
