"""Hooks around a signature of a model: what clients see of it, and what a hook is told of a call.

A class of hooks declares `inputs` and `outputs` for clients, and `preprocess` and `postprocess` turn them into those of
the model and back. A side that is not declared stays as the model has it. Tensors of a hooked signature have names of
their own, so that its calls cannot be taken for calls of the model's other signatures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from core.errors import InvalidArgument
from core.inference.dtypes import NUMPY_DTYPE
from core.inference.error_texts import braced
from core.inference.signature import (
    DEFAULT_SIGNATURE,
    PREDICT_METHOD,
    ServedModel,
    Signature,
    TensorSpec,
    check_carried,
    signature_def_map,
)
from core.platforms.declared_signature import declared_signature
from core.protos import serving_pb2

TENSOR_PREFIX: Final = "hooks:"
_OTHER_SIDE: Final = {"unused": "string"}
"""Stands for the side that is not read: a declaration is checked as a whole."""


@dataclass(frozen=True, slots=True)
class HookContext:
    """What a hook is told of a call; `path` is the folder of the version, `left_s` the rest of the caller's time."""

    model: str
    version: int
    signature: str
    path: str
    left_s: float | None = None


@dataclass(frozen=True, slots=True)
class HookDeclaration:
    """What a class of hooks declares, as it came; `where` names the class in error texts."""

    where: str
    signature: object = DEFAULT_SIGNATURE
    inputs: object = None
    outputs: object = None
    has_preprocess: bool = False
    has_postprocess: bool = False


@dataclass(frozen=True, slots=True)
class HookedSignature:
    """A signature with hooks around it: as the model has it, and as clients see it."""

    key: str
    model: Signature
    client: Signature

    def wanted_of(self, returned: object) -> Mapping[str, TensorSpec]:
        """Return the inputs that the model needs from a hook: all but those with a default that it left out."""
        inputs, defaults = self.model.inputs, self.model.defaults
        given = returned if isinstance(returned, Mapping) else {}
        return {name: spec for name, spec in inputs.items() if name in given or name not in defaults}

    @property
    def readable_outputs(self) -> tuple[str, ...]:
        """Names of the model's outputs that a hook can be given: those that are one tensor of a type of numpy's."""
        return tuple(name for name, spec in self.model.outputs.items() if _is_carried(spec))


def hooked_signature(served: ServedModel, hooks: HookDeclaration) -> HookedSignature:
    """Put hooks around the signature that they name; raises InvalidArgument when they do not fit the model."""
    model = _wrapped(served, hooks)
    inputs = _side(hooks, "inputs", model.inputs)
    outputs = _side(hooks, "outputs", model.outputs)
    client = Signature(
        inputs=_renamed(inputs),
        outputs=_renamed(outputs),
        method=PREDICT_METHOD,
        defaults=model.defaults if hooks.inputs is None else MappingProxyType({}),
        is_carried=all(_is_carried(spec) for spec in (*inputs.values(), *outputs.values())),
    )
    return HookedSignature(str(hooks.signature), model, client)


def _wrapped(served: ServedModel, hooks: HookDeclaration) -> Signature:
    key = hooks.signature
    if not isinstance(key, str) or key not in served.signatures:
        text = f"{hooks.where}: the model has no signature {key!r}; it has {braced(served.signatures)}"
        raise InvalidArgument(f"{text}. Set `signature` of the class to one of them")
    if not hooks.has_preprocess and not hooks.has_postprocess:
        raise InvalidArgument(f"{hooks.where} has neither of the methods preprocess and postprocess")
    signature = served.signatures[key]
    if hooks.has_preprocess:
        check_carried(key, signature, ())
    return signature


def _side(hooks: HookDeclaration, side: str, own: Mapping[str, TensorSpec]) -> Mapping[str, TensorSpec]:
    is_input = side == "inputs"
    declared = hooks.inputs if is_input else hooks.outputs
    method, has_method = ("preprocess", hooks.has_preprocess) if is_input else ("postprocess", hooks.has_postprocess)
    if declared is None:
        return own if is_input or not has_method else {name: one for name, one in own.items() if _is_carried(one)}
    if not has_method:
        raise InvalidArgument(f"{hooks.where} declares {side}, but has no method {method} that would deal with them")
    if is_input:
        return declared_signature(declared, _OTHER_SIDE, hooks.where).inputs
    return declared_signature(_OTHER_SIDE, declared, hooks.where).outputs


def _renamed(specs: Mapping[str, TensorSpec]) -> Mapping[str, TensorSpec]:
    return MappingProxyType({name: replace(one, tensor=f"{TENSOR_PREFIX}{name}") for name, one in specs.items()})


def _is_carried(spec: TensorSpec) -> bool:
    return not spec.composite and spec.dtype in NUMPY_DTYPE


def served_with_hooks(served: ServedModel, hooked: HookedSignature) -> ServedModel:
    """Return what clients see of the model; its other signatures stay as they are."""
    signatures = {**served.signatures, hooked.key: hooked.client}
    shown = serving_pb2.SignatureDefMap.FromString(served.signature_def_map)
    own = serving_pb2.SignatureDefMap.FromString(signature_def_map({hooked.key: hooked.client}))
    definition = own.signature_def[hooked.key]
    for name in hooked.client.defaults:
        definition.defaults[name].CopyFrom(shown.signature_def[hooked.key].defaults[name])
    shown.signature_def[hooked.key].CopyFrom(definition)
    shown_bytes = shown.SerializeToString(deterministic=True)
    return replace(served, signatures=MappingProxyType(signatures), signature_def_map=shown_bytes)
