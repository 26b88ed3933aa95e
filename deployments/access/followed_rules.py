"""Follows the access file in a thread: new rules count about a second after the file changed.

A file that is broken, or gone, leaves the rules in force, and is a problem to show. Where there are none yet, because a
router starts anew while the file is broken, nobody has a right until it is mended.
"""

from __future__ import annotations

import logging
import threading

from core.access.access_file import HEALTH_FOR_ANYONE, read_access_rules
from core.access.rules import AccessRules
from core.errors import ConfigError, Problem
from core.storage.version_listing import is_remote, local_path
from core.telemetry.redaction import without_secrets
from deployments.config.certificates import Stamp, file_stamp
from deployments.config.followed_files import FollowedFiles

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
NOBODY = AccessRules(anyone=HEALTH_FOR_ANYONE)
STORE_EVERY_S = 30.0
"""How often a file at a URL is looked at."""


class FollowedRules:
    """The rules in force, and the problems of a newer file; may be read from any thread.

    `asks_for_certificates`: whether a port does; else a file that names a client by its certificate is not taken.
    """

    def __init__(self, file: str, look_every_s: float = LOOK_EVERY_S, *, asks_for_certificates: bool = True) -> None:
        self._file = file
        self._asks_for_certificates = asks_for_certificates
        self._followed = FollowedFiles({file: STORE_EVERY_S} if is_remote(file) else {})
        self._stamp = self._present_stamp()
        self.rules = NOBODY
        self.problems: tuple[Problem, ...] = ()
        self._take()
        self._look_every_s = look_every_s
        self._ended = threading.Event()
        threading.Thread(target=self._follow, name="follows the access file", daemon=True).start()

    def _present_stamp(self) -> Stamp:
        return (self._followed.changes, 0, 0) if is_remote(self._file) else file_stamp(local_path(self._file))

    def _read(self) -> AccessRules:
        return read_access_rules(
            self._followed.read(self._file),
            without_secrets(self._file),
            asks_for_certificates=self._asks_for_certificates,
        )

    def _follow(self) -> None:
        while not self._ended.wait(self._look_every_s):
            stamp = self._present_stamp()
            if stamp != self._stamp:
                self._stamp = stamp
                self._take()

    def _take(self) -> None:
        try:
            rules, problems = self._read(), self._followed.problems
        except ConfigError as error:
            self.problems = error.problems
            log.warning("access_file_not_taken problem=%s", error)
            return
        except Exception as error:
            # The thread must live on: no revocation would count any more, and nobody would notice.
            log.exception("access_file_not_taken")
            self.problems = (Problem(f"could not be read: {type(error).__name__}", without_secrets(self._file)),)
            return
        if rules != self.rules:
            self.rules = rules
            log.info("access_file_taken file=%s clients=%d", without_secrets(self._file), len(rules.clients))
        self.problems = problems

    def close(self) -> None:
        """End the thread; the rules stay."""
        self._ended.set()
        self._followed.close()
