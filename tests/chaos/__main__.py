"""Prints, for each fault: requests, failed ones, and the time to full service. Ends with 1 if a goal is missed."""

from __future__ import annotations

import sys
import tempfile
import threading
from pathlib import Path

from tests.chaos.faults import FAULTS, SHORT, Fault, Outcome, inflict
from tests.chaos.site import Site, running_site
from tests.conftest import saved_models_folder
from tests.support.clients import ClosedLoop, wait_until

ROW = "{:<50} {:>9} {:>7} {:>18}   {}"


def main(arguments: list[str]) -> int:
    """Run all faults, or with `--short` those that CI runs."""
    faults = SHORT if "--short" in arguments else FAULTS
    print(ROW.format("fault", "requests", "failed", "full service after", "goal"), flush=True)
    with tempfile.TemporaryDirectory() as folder, running_site(saved_models_folder(), Path(folder)) as site:
        within_goals = [_shown(fault, site) for fault in faults]
        within_goals.append(_stopped(site))
    return 0 if all(within_goals) else 1


def _shown(fault: Fault, site: Site) -> bool:
    outcome = inflict(fault, site)
    print(_row(outcome), flush=True)
    for text in sorted(set(outcome.failures))[:3]:
        print(f"    {text[:200]}")
    return outcome.is_within_goal


def _row(outcome: Outcome) -> str:
    most = outcome.fault.most_failed
    goal = "-" if most is None else f"at most {most}: {'met' if outcome.is_within_goal else 'MISSED'}"
    return ROW.format(
        outcome.fault.name, outcome.requests, len(outcome.failures), f"{outcome.full_service_s:.1f} s", goal
    )


def _stopped(site: Site) -> bool:
    """SIGTERM under load: what was accepted is answered, the exit status is 0."""
    with ClosedLoop(site.rest_port, "/v1/models/two:predict", {"instances": [2.0]}) as load:
        wait_until(lambda: load.count > 200, "requests flow")
        status: list[int] = []
        ending = threading.Thread(target=lambda: status.append(site.stop()))
        ending.start()
        ending.join()
    cut = [text for text in load.failures if "refused" not in text.lower()]
    good = status == [0] and not cut
    print(ROW.format("SIGTERM", load.count, len(cut), "-", f"0 cut, exit status 0: {'met' if good else 'MISSED'}"))
    for text in sorted(set(cut))[:3]:
        print(f"    {text[:200]}")
    return good


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
