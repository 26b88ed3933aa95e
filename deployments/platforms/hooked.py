"""A model with hooks around one of its signatures: preprocess, the model, postprocess, in one call.

Hooks are code of users: whatever they raise becomes the answer to the call and never ends the process, and what they
return is checked before anybody else sees it. They may take long, so their calls run in threads.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from core.config.model_config import BatchingParameters
from core.errors import Code, DeadlineExceeded, InvalidArgument, RuntimeFailure
from core.inference.giving_up import go_on
from core.inference.signature import TensorSpec
from core.platforms.code_faults import error_text, own_text
from core.platforms.given_arrays import DeclaredInputs
from core.platforms.hooked_signature import HookContext, HookedSignature, hooked_signature, served_with_hooks
from core.platforms.platform import Loaded
from core.platforms.returned_arrays import checked_arrays
from core.routing.transport import TIMED_OUT
from core.telemetry.metric_names import HOOK_SECONDS
from core.versions.servable_spec import ServableSpec
from deployments.platforms.hook_class import HookMethod, LoadedHooks
from deployments.telemetry.process_metrics import METRICS
from deployments.telemetry.run_steps import note_step

log = logging.getLogger(__name__)

PREPROCESS: Final = "preprocess"
POSTPROCESS: Final = "postprocess"


def with_hooks(model: Loaded, hooks: LoadedHooks | None, spec: ServableSpec) -> Loaded:
    """Put a version's hooks around its model, which is returned as it is without hooks.

    Raises InvalidArgument for hooks that do not fit the model.
    """
    if hooks is None:
        return model
    return HookedModel(model, hooks, hooked_signature(model.served, hooks.declaration), spec.path)


class HookedModel:
    """A loaded model with hooks around one signature; may be called from several threads at once, as they may be."""

    may_hang = True

    def __init__(self, model: Loaded, hooks: LoadedHooks, hooked: HookedSignature, path: str) -> None:
        self.inner = model
        self.served = served_with_hooks(model.served, hooked)
        self.batching: BatchingParameters | None = getattr(model, "batching", None)
        self._hooked = hooked
        self._inputs = _names(hooked.client.inputs)
        self._outputs = _names(hooked.client.outputs)
        served = self.served
        self._context = HookContext(served.name, served.version, hooked.key, path)
        # Without preprocess the model judges its own inputs, some of which no array could be.
        self._declared = DeclaredInputs(hooked.client.inputs if hooks.preprocess is not None else {})
        self._preprocess = _Hook(PREPROCESS, hooks.name, hooks.preprocess, self._context)
        self._postprocess = _Hook(POSTPROCESS, hooks.name, hooks.postprocess, self._context)

    def run(
        self,
        feeds: Mapping[str, np.ndarray],
        fetches: Sequence[str],
        *,
        timeout_ms: int | None = None,
        in_caller_thread: bool = False,
    ) -> list[np.ndarray]:
        """Run hooks and model, or the model alone for its other signatures; raises ServingError."""
        if self._inputs.keys().isdisjoint(feeds) and self._outputs.keys().isdisjoint(fetches):
            return self.inner.run(feeds, fetches, timeout_ms=timeout_ms, in_caller_thread=in_caller_thread)
        if not self._inputs.keys() >= feeds.keys() or not self._outputs.keys() >= set(fetches):
            raise InvalidArgument(f"Tensors of signature {self._hooked.key}, which has hooks, and others are in a run")
        left = _TimeLeft(timeout_ms)
        wanted = [self._outputs[name] for name in fetches]
        outputs = self._run_model(self._before(feeds, left), wanted, left, in_caller_thread=in_caller_thread)
        returned = self._after(outputs, left)
        return [returned[name] for name in wanted]

    def close(self) -> None:
        """Refuse further calls."""
        self.inner.close()

    def _before(self, feeds: Mapping[str, np.ndarray], left: _TimeLeft) -> Mapping[str, np.ndarray]:
        hook = self._preprocess
        if hook.method is None:
            return {self._inputs[name]: array for name, array in feeds.items()}
        returned = hook.call(self._declared.given(feeds), left)
        arrays = checked_arrays(returned, self._hooked.wanted_of(returned), hook.text)
        return {**self._hooked.model.defaults, **arrays}

    def _run_model(
        self, inputs: Mapping[str, np.ndarray], wanted: Sequence[str], left: _TimeLeft, *, in_caller_thread: bool
    ) -> dict[str, np.ndarray]:
        """Run the wrapped signature: postprocess gets all of its outputs, whatever the caller asked for."""
        go_on()
        signature = self._hooked.model
        names = self._hooked.readable_outputs if self._postprocess.method is not None else tuple(wanted)
        feeds = {signature.inputs[name].tensor: array for name, array in inputs.items()}
        fetches = tuple(dict.fromkeys(signature.outputs[name].tensor for name in names))
        arrays = self.inner.run(feeds, fetches, timeout_ms=left.milliseconds(), in_caller_thread=in_caller_thread)
        fetched = dict(zip(fetches, arrays, strict=True))
        return {name: fetched[signature.outputs[name].tensor] for name in names}

    def _after(self, outputs: dict[str, np.ndarray], left: _TimeLeft) -> Mapping[str, np.ndarray]:
        hook = self._postprocess
        if hook.method is None:
            return outputs
        go_on()
        return checked_arrays(hook.call(outputs, left), self._hooked.client.outputs, hook.text)


class _Hook:
    """One of the two methods, or its absence."""

    def __init__(self, kind: str, name: str, method: HookMethod | None, context: HookContext) -> None:
        self.method = method
        self.text = f"Hook {kind} of {name}"
        self._kind = kind
        self._context = context
        self._seconds = METRICS.histogram(HOOK_SECONDS, context.model, str(context.version), kind)

    def call(self, arrays: dict[str, np.ndarray], left: _TimeLeft) -> object:
        """Call the method; raises RuntimeFailure for whatever it raises."""
        if self.method is None:
            return arrays
        context = replace(self._context, left_s=left.seconds())
        failure: RuntimeFailure | None = None
        began_s = time.perf_counter()
        try:
            return self.method(arrays, context)
        except BaseException as error:  # noqa: BLE001 - SystemExit of a hook must not end the process
            failure = self._failure(error)
        finally:
            took_s = time.perf_counter() - began_s
            self._seconds.observe(took_s)
            note_step(self._kind, took_s, "" if failure is None else failure.code.name)
        raise failure  # outside of the handler: the error's frames would keep the tensors of a whole batch

    def _failure(self, error: BaseException) -> RuntimeFailure:
        if self._kind == PREPROCESS and isinstance(error, ValueError):
            return RuntimeFailure(Code.INVALID_ARGUMENT, f"{self.text}: {own_text(error)}")
        if isinstance(error, MemoryError):
            return RuntimeFailure(Code.RESOURCE_EXHAUSTED, f"{self.text} failed: {error_text(error)}")
        log.error("hook_failed model=%s hook=%s", self._context.model, self.text, exc_info=error)
        return RuntimeFailure(Code.INTERNAL, f"{self.text} failed: {error_text(error)}")


@dataclass(slots=True)
class _TimeLeft:
    """The caller's time, counted from now on."""

    timeout_ms: int | None
    began_s: float = 0.0

    def __post_init__(self) -> None:
        self.began_s = time.monotonic()

    def seconds(self) -> float | None:
        """Return the seconds left, None without a deadline; raises DeadlineExceeded when there are none."""
        if self.timeout_ms is None:
            return None
        left_s = self.timeout_ms / 1000 - (time.monotonic() - self.began_s)
        if left_s <= 0:
            raise DeadlineExceeded(TIMED_OUT)
        return left_s

    def milliseconds(self) -> int | None:
        """Return the same in whole milliseconds, at least 1."""
        left_s = self.seconds()
        return None if left_s is None else max(1, int(left_s * 1000))


def _names(specs: Mapping[str, TensorSpec]) -> dict[str, str]:
    return {spec.tensor: name for name, spec in specs.items()}
