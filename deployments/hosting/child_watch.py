"""Watches one child: it is killed when it is silent, or says three times in a row that it hangs, as Serve does it."""

from __future__ import annotations

import logging
from typing import Final

from core.errors import ServingError
from deployments.hosting.child_link import ChildLink
from deployments.hosting.messages import Ask

log = logging.getLogger(__name__)

HEALTH_EVERY_S: Final = 10.0
AGAIN_AFTER_S: Final = 5.0
"""Pause after a child has said that it hangs; it may be about to go on."""

FAILURES_IN_A_ROW: Final = 3
"""So often Serve lets a replica say so before it replaces it."""

HANGS_AFTER_S: Final = 30.0
"""A child that does not answer for so long is killed at once: it does not even say that it hangs."""


async def watched_until_ended(link: ChildLink, app: str) -> None:
    """Wait for the end of a child, and kill it when it hangs."""
    failures = 0
    while not await link.ended(AGAIN_AFTER_S if failures else HEALTH_EVERY_S):
        try:
            await link.ask(Ask.HEALTH, timeout_s=HANGS_AFTER_S)
        except TimeoutError:
            log.warning("version_hangs app=%s silent_s=%.0f", app, HANGS_AFTER_S)
            link.kill()
        except ServingError as error:
            failures += 1
            log.warning("version_hangs app=%s times=%d error=%r", app, failures, str(error))
            if failures >= FAILURES_IN_A_ROW:
                link.kill()
        else:
            failures = 0
