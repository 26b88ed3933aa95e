"""Remembers which configuration files have said something: one that becomes blank is refused, and not taken as empty.

A file of blanks and comments is legal at a start, where nothing is in force yet. Later it is a slip of an editor or of
a template, and must not silently drop what the file said before.
"""

from __future__ import annotations

from collections.abc import Callable

from core.errors import ConfigError, Problem, TransitionRefused
from core.formats.text_format import says_nothing

ONLY_BLANKS = "holds only blanks and comments, and what it said before stays in force; {remedy}"


class SpokenFiles:
    """The files that have said something; `names` outlives the watcher in the routing table."""

    def __init__(self, read: Callable[[str], str]) -> None:
        self._read = read
        self.names: frozenset[str] = frozenset()

    def recall(self, names: frozenset[str]) -> None:
        """Add the files that a predecessor knew."""
        self.names |= names

    def note(self, file: str, text: str) -> None:
        """Remember a file whose text says something."""
        if file and not says_nothing(text):
            self.names |= {file}

    def read(self, file: str, remedy: str) -> str:
        """Read a file; raises ConfigError, and TransitionRefused with a remedy for one that says nothing any more."""
        text = self._read(file)
        if text and file in self.names and says_nothing(text):
            raise TransitionRefused((Problem(ONLY_BLANKS.format(remedy=remedy), file),))
        self.note(file, text)
        return text

    def look(self, *files: str) -> None:
        """Note files that are used later; one that cannot be read is reported then."""
        for file in filter(None, files):
            try:
                self.note(file, self._read(file))
            except ConfigError:
                continue
