"""The judgement of a canary: windows of counts go into the evidence, a conclusion for the present step comes out."""

from __future__ import annotations

from collections.abc import Mapping

from core.delivery.analysis import AnalysisState, ArmWindow, Verdict
from core.delivery.output_counts import Binning
from core.delivery.plan import Analysis, RolloutStep


def begun(state: AnalysisState, analysis: Analysis, step: RolloutStep) -> AnalysisState:
    """Return the state at the beginning of a step, or when its weight has come into force anew.

    Evidence is that of the whole rollout and stays; the requests of the step and the initial delay begin anew. A new
    rollout begins with `NOTHING_SEEN`.
    """
    raise NotImplementedError


def observed(state: AnalysisState, analysis: Analysis, window: ArmWindow) -> AnalysisState:
    """Return the state with one more window, which was under one division of the traffic."""
    raise NotImplementedError


def conclusion(state: AnalysisState, analysis: Analysis) -> Verdict:
    """Return what the present step has shown: FAIL if any metric failed, PASS if nothing is missing.

    NOT_ENOUGH_DATA while requests or evidence are missing; a step is over when its bake is, too.
    """
    raise NotImplementedError


def observed_outputs(state: AnalysisState, analysis: Analysis) -> Mapping[str, Binning]:
    """Return the outputs that replicas have to count, with their bins: `Division.observed` while a rollout runs."""
    raise NotImplementedError
