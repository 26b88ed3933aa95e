"""The `requirements.txt` of a version: what an environment for it depends on, and why none could be made."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Final

from core.errors import InvalidArgument, ServingError, Unavailable
from core.telemetry.redaction import without_secrets

LARGEST_FILE: Final = 64 * 1024
"""Bytes of a file of requirements; a larger one is something else."""

LONGEST_REASON: Final = 1000

_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_ELSEWHERE: Final = re.compile(r"^\s*(?:-[rce]\b|--(?:requirement|constraint|editable)\b|\.|/)", re.MULTILINE)
"""Lines that name files, whose content the text does not tell."""

_OF_THE_MOMENT: Final = re.compile(
    r"Failed to fetch|error sending request|timed out|No space left|Connection", re.ASCII
)


def is_empty(text: str) -> bool:
    """Whether a file of requirements asks for nothing."""
    return all(not line.strip() or line.lstrip().startswith("#") for line in text.splitlines())


def requirements_text(content: bytes, file: str) -> str:
    """Decode a file of requirements; raises InvalidArgument for what cannot be one."""
    if len(content) > LARGEST_FILE:
        raise InvalidArgument(f"{file} is larger than {LARGEST_FILE} bytes, the most it can be")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise InvalidArgument(f"{file} is not UTF-8: {error}") from error


def environment_key(text: str, constraints: str, interpreter: str, version: str) -> str:
    """Return the name of an environment: versions with the same requirements share it.

    `version` tells the version and the state of its files; it counts where the requirements name further files.
    """
    parts = [text, constraints, interpreter, version if _ELSEWHERE.search(text) else ""]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def required_names(requirements: Iterable[str]) -> Iterable[str]:
    """Yield the normalized names of the distributions that another one requires, without those of its extras."""
    for line in requirements:
        found = _NAME.match(line)
        if found is not None and "extra ==" not in line:
            yield re.sub(r"[-_.]+", "-", found[0]).lower()


def constraints_text(versions: Mapping[str, str]) -> str:
    """Return constraints to these versions: what the server itself runs on cannot be had in another version."""
    return "".join(f"{name}=={version}\n" for name, version in sorted(versions.items()))


def install_failure(file: str, output: str) -> ServingError:
    """Return the error for an installation that failed, in uv's words: one of the network may pass."""
    reason = output[max(0, output.find("error:")) :].removeprefix("error:")
    told = " ".join(without_secrets(reason).split())[:LONGEST_REASON]
    text = f"The requirements of {file} cannot be installed: {told or 'uv ended without a word'}"
    return Unavailable(text) if _OF_THE_MOMENT.search(output) else InvalidArgument(text)
