"""What the watcher sees of one model when its rollout is advanced."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from core.delivery.analysis import ArmWindow


@dataclass(frozen=True, slots=True)
class ModelSight:
    """One look at a model.

    `elapsed_s` is how long ago the same watcher looked last (steady clock; 0 for its first look, so that time without a
    watcher counts for nothing); `wall_s` is the time of day. `is_listed`: storage was read, and what it does not show
    is not there; otherwise nothing follows from `stored` and `chosen`.

    `stored` has the complete versions on storage with the fingerprints of their directories, `chosen` those of them
    that the version policy chooses when nothing is held or avoided. `available` are the versions that answer at every
    router, `failed` those that could not be loaded, for good, with the error. `gone_s` says for how long a version has
    had no replica that was available to this watcher before; one that is loaded the first time, or anew after a restart
    of everything, is not in it. `restarts` are replicas of the canary that died since the last look.

    `epoch_in_force` is the lowest epoch of the model's division at any router (-1 where one has none yet). `window` is
    what was counted since the last window, all of it under the division of this epoch; None where no window is over.
    `signature_problems` are the differences of the canary against stable; None until they are known. `outputs` are the
    names of the canary's outputs; empty where they are not known. `is_gate_open`
    is the answer to `awaited_gate`; None as long as there is none. `labels` are declared by the operator.
    """

    model: str
    wall_s: float = 0.0
    elapsed_s: float = 0.0
    is_listed: bool = True
    stored: Mapping[int, str] = field(default_factory=dict)
    chosen: frozenset[int] = frozenset()
    available: frozenset[int] = frozenset()
    failed: Mapping[int, str] = field(default_factory=dict)
    gone_s: Mapping[int, float] = field(default_factory=dict)
    restarts: int = 0
    epoch_in_force: int = -1
    window: ArmWindow | None = None
    signature_problems: tuple[str, ...] | None = None
    is_gate_open: bool | None = None
    labels: Mapping[str, int] = field(default_factory=dict)
    outputs: frozenset[str] = frozenset()
