"""What a listing of storage means: which directories are versions, which are completely written, what may be served.

`judged` holds the whole rule; the functions after it are its parts, in the order in which it asks them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Protocol

from core.config.extensions import ANY, PlatformKind
from core.config.model_config import ModelConfig
from core.config.version_policy import PolicyFailed, VersionPolicy
from core.storage.directory_names import version_places
from core.storage.layout_hints import base_path_hint, file_hint, is_version, subpath_hint, version_hint
from core.storage.selection_problems import nothing_to_serve, policy_failed
from core.telemetry.redaction import without_secrets

LOCAL_SCHEME = "file://"
VARIABLES = "variables/variables."
SETTLED_S = 10.0
"""Age in seconds from which the files of a directory seen for the first time count as stable."""

QUIET_S = 0.9
"""How long the files of a version must be the same, however soon it is listed again: as from one poll to the next.

Between two files a writer may pause.
"""

REMOTE_SETTLED_S = 60.0
"""The same for object stores: a file appears there only when all of it is there, so a large one comes late."""

NOT_LISTED = "Could not find base path"
"""The beginning of every problem of a base path that could not be listed (TensorFlow Serving)."""

CHANGING = "waits until its files stop changing"
MISSED = "is missing from the newest listing"
"""Why a version waits that one listing of a remote store did not have."""

MovedIn = Mapping[str, float]
"""Paths that were put there by one rename, each with the time (since the epoch) at which the system had told it."""

NONE_MOVED_IN: MovedIn = MappingProxyType({})

_SHARD = re.compile(r"variables/variables\.data-(\d{5})-of-(\d{5})", re.ASCII)


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a version directory.

    `changed_s` is the time of its last change in seconds since the epoch: on local file systems the later of
    modification and status change (which `cp -p` and `tar` cannot set back), None where storage does not say. `etag`
    is the store's own name for the content, empty where it gives none.
    """

    path: str
    size_bytes: int
    changed_s: float | None = None
    etag: str = ""


DirectoryFiles = frozenset[FileEntry]
"""All files below one version directory, with paths relative to it; equal as long as nothing changes."""


@dataclass(frozen=True, slots=True)
class VersionDirectory:
    """The folder that holds a version's model, and the files found there.

    `unreadable` says why they could not be listed, if so. `beside` has files of the version's own folder that are not
    in this one, where a subpath leads from there to here, as far as `shown_outside` keeps them.
    """

    path: str
    files: DirectoryFiles = frozenset()
    unreadable: str = ""
    beside: frozenset[str] = frozenset()

    @property
    def fingerprint(self) -> str:
        """A short text that changes when any file does."""
        lines = sorted(f"{one.path}\0{one.size_bytes}\0{one.changed_s}\0{one.etag}" for one in self.files)
        return hashlib.sha256("\n".join(lines).encode(errors="backslashreplace")).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class VersionListing:
    """The contents of a base path at one moment.

    `ignored` names the directories that are not versions, each with the reason. `error` says why the base path could
    not be listed; then nothing is known, and nothing may be unloaded because of it. `outside` has files below the base
    path where there are no versions, as far as `shown_outside` keeps them: they show what is there instead.
    """

    versions: Mapping[int, VersionDirectory] = field(default_factory=dict)
    ignored: Mapping[str, str] = field(default_factory=dict)
    error: str = ""
    outside: frozenset[str] = frozenset()


class Source(Protocol):
    """A storage that holds model versions."""

    def list_versions(self, base_path: str, policy: VersionPolicy, subpath: str = "") -> VersionListing:
        """List the versions below a base path with their files; a failure is the listing's error and is not raised.

        The policy decides which of two directories with the same number counts (`version_directories`). A subpath leads
        from each version's directory to its model.
        """


@dataclass(frozen=True, slots=True)
class Judged:
    """What is known of a model's storage.

    `listing` holds the versions that count, None until a first listing succeeds; `waiting` those that are not
    completely written, each with the reason; `is_unsure` says that only a second listing can show what to serve.
    `problem` says why there is nothing to load, or why a version that should be served is not going to be complete;
    `error` why the newest listing failed, if it did. `found` is the newest good listing as the store gave it: the next
    one is compared with that. `hints` are the reasons in `waiting` that time does not mend. `resting` has the times
    since which the files of versions are the same.
    """

    listing: VersionListing | None = None
    waiting: Mapping[int, str] = field(default_factory=dict)
    is_unsure: bool = False
    problem: str = ""
    error: str = ""
    found: VersionListing | None = None
    hints: Mapping[int, str] = field(default_factory=dict)
    resting: Mapping[int, float] = field(default_factory=dict)


UNKNOWN = Judged()
"""Before a first answer of the store."""


def judged(
    now: VersionListing | None, before: Judged, model: ModelConfig, wall_s: float, moved_in: MovedIn = NONE_MOVED_IN
) -> Judged:
    """Return what is known of a model's storage after an answer of the store, or without one (None).

    An error keeps what was known, so that nothing is unloaded because a store is away. `wall_s` is the time of the
    answer by the clock that the times of files go by, as are those in `moved_in`. Without an answer the versions known
    are judged anew, because the policy may have changed.
    """
    if now is None and before.error:
        return before
    if now is None or _is_at_rest(now, before):
        problem = _problem(before.listing, before.hints, model)
        return before if problem == before.problem else replace(before, problem=problem)
    if now.error:
        text = f"{NOT_LISTED} {model.base_path} for servable {model.name} with error {now.error}"
        return replace(
            before,
            error=now.error,
            problem=without_secrets(_with_hint(text, file_hint(model.base_path, model.platform))),
        )
    listing, missed = steadied(now, before.found) if is_remote(model.base_path) else (now, frozenset[int]())
    resting = _resting(now, before, wall_s)
    shown = _moved(now, moved_in, model.version_subpath)
    unfinished = _unfinished(now, {**_compared(before, resting, wall_s), **shown}, model, wall_s)
    hints = _hints(unfinished, now, resting, model, wall_s)
    waiting = {**unfinished, **dict.fromkeys(missed, MISSED), **hints}
    is_unsure = before.found is None and bool(waiting)
    if is_version(now.outside, model.platform):
        listing = replace(listing, ignored={})  # parts of one version, and not folders that somebody named wrongly
    return Judged(listing, waiting, is_unsure, _problem(listing, hints, model), "", now, hints, resting)


def _is_at_rest(now: VersionListing, before: Judged) -> bool:
    """Whether an answer is the one before, in which every version was complete; most answers are."""
    is_whole = before.listing is not None and before.listing is before.found
    return is_whole and not before.error and not before.waiting and now == before.found


def _problem(listing: VersionListing | None, hints: Mapping[int, str], model: ModelConfig) -> str:
    """Return why there is nothing to serve, or what is wrong with a version that should be."""
    if listing is None:
        return ""
    found = frozenset(listing.versions)
    try:
        aspired = model.policy.select(found)
    except PolicyFailed as error:
        return without_secrets(policy_failed(model.name, error))
    if not aspired:
        hint = base_path_hint(model.base_path, listing.outside, model.platform) if not found else ""
        return without_secrets(_with_hint(nothing_to_serve(model.name, model.base_path, model.policy, found), hint))
    wrong = max(aspired & hints.keys(), default=None)
    return "" if wrong is None else without_secrets(f"{listing.versions[wrong].path} {hints[wrong]}")


def _with_hint(text: str, hint: str) -> str:
    return f"{text} {hint}." if hint and text.endswith("?") else f"{text}. {hint}." if hint else text


def _hints(
    unfinished: Mapping[int, str],
    now: VersionListing,
    resting: Mapping[int, float],
    model: ModelConfig,
    wall_s: float,
) -> Mapping[int, str]:
    """Return what is wrong with versions that lack their model file, although nothing was written for some seconds."""
    lacks = _lacks_model(model.platform)
    lacking = {number: now.versions[number] for number, why in unfinished.items() if why == lacks}
    return {
        number: f"{lacks}: {_hint(one, model)}"
        for number, one in lacking.items()
        if wall_s - resting[number] >= SETTLED_S or (one.files and _settled(one.files, wall_s - SETTLED_S))
    }


def _hint(version: VersionDirectory, model: ModelConfig) -> str:
    if not version.files and model.version_subpath:
        return subpath_hint(model.version_subpath, version.beside, model.platform)
    return f"it {version_hint((one.path for one in version.files), model.platform)}"


def _resting(now: VersionListing, before: Judged, wall_s: float) -> Mapping[int, float]:
    """Return since when the files of each version are as they are, as far as listings showed it."""
    known = before.found.versions if before.found is not None else {}
    same = {number for number, one in now.versions.items() if number in known and known[number].files == one.files}
    return {number: before.resting.get(number, wall_s) if number in same else wall_s for number in now.versions}


def _compared(before: Judged, resting: Mapping[int, float], wall_s: float) -> Mapping[int, VersionDirectory]:
    """Return what shows, by being the same as now, that a version is complete.

    That is the listing before, unless a version waits and was listed too soon (a clock may have been set back).
    """
    known = before.found.versions if before.found is not None else {}
    early = {number for number in before.waiting if 0.0 <= wall_s - resting.get(number, wall_s) < QUIET_S}
    return {number: one for number, one in known.items() if number not in early}


def _moved(now: VersionListing, moved_in: MovedIn, subpath: str) -> Mapping[int, VersionDirectory]:
    """Return the versions that were moved into place: they are not being written, unless a file changed since."""
    return {
        number: one
        for number, one in (now.versions.items() if moved_in else ())
        if any(at in moved_in and _settled(one.files, moved_in[at]) for at in version_places(one.path, subpath))
    }


def _unfinished(
    now: VersionListing, known: Mapping[int, VersionDirectory], model: ModelConfig, wall_s: float
) -> Mapping[int, str]:
    """Return the versions that are not completely written, each with what it waits for."""
    reasons = {
        number: _reason_to_wait(directory, known.get(number), model, wall_s)
        for number, directory in now.versions.items()
    }
    return {number: reason for number, reason in reasons.items() if reason}


def _reason_to_wait(now: VersionDirectory, before: VersionDirectory | None, model: ModelConfig, wall_s: float) -> str:
    if now.unreadable:
        return f"waits until its files can be read: {now.unreadable}"
    marker_file = model.resources.marker_file
    marked = {FileEntry(marker_file, 0)} if marker_file in now.beside else frozenset[FileEntry]()
    return missing(
        now.files | marked,
        before.files if before is not None else None,
        marker_file=marker_file,
        platform=model.platform,
        now_s=wall_s,
        settled_s=REMOTE_SETTLED_S if is_remote(model.base_path) else SETTLED_S,
    )


def is_remote(path: str) -> bool:
    """Whether a base path or version path is a URL of a store, and not a local folder."""
    return "://" in path and not path.startswith(LOCAL_SCHEME)


def local_path(path: str) -> str:
    """Return the path of a local file or folder, which may be given as `file:///folder` or `file://localhost/folder`."""
    plain = path.removeprefix(LOCAL_SCHEME)
    return plain.removeprefix("localhost") if plain != path and plain.startswith("localhost/") else plain


def steadied(now: VersionListing, before: VersionListing | None) -> tuple[VersionListing, frozenset[int]]:
    """Return a listing of a remote store with the versions that only this one misses, and their numbers.

    Both listings are as the store gave them. A version is gone when two in a row lack it; one that is kept must not be
    loaded.
    """
    lost = {number: one for number, one in before.versions.items() if number not in now.versions} if before else {}
    return replace(now, versions={**now.versions, **lost}), frozenset(lost)


def missing(
    now: DirectoryFiles,
    before: DirectoryFiles | None,
    *,
    marker_file: str = "",
    platform: PlatformKind = ANY,
    now_s: float | None = None,
    settled_s: float = SETTLED_S,
) -> str:
    """Return what a version directory still waits for; empty when it can be loaded.

    It needs a file of its platform and, where it has variables, their index and all shards. It must also be stable,
    which any of three things shows: its marker file is there, nothing changed since `before` (an earlier listing), or,
    on first sight with `now_s` (seconds since the epoch) given, no file changed in the last
    `settled_s` seconds. The last rule saves a tick when the server starts or a finished directory is moved into place;
    files of unknown age, or from the future because clocks differ, cost that tick.
    """
    sizes = {one.path: one.size_bytes for one in now}
    if marker_file and marker_file not in sizes:
        return f"waits for the marker file {marker_file}"
    lacking = _lacking_model(sizes, platform) or _lacking_variables(sizes)
    if lacking or marker_file or now == before:
        return lacking
    if before is None and now_s is not None and _settled(now, now_s - settled_s):
        return ""
    return CHANGING


def _lacks_model(platform: PlatformKind) -> str:
    return f"waits for {platform.files[0]}" if platform.files else ""


def _lacking_model(sizes: Mapping[str, int], platform: PlatformKind) -> str:
    present = [name for name in platform.files if name in sizes]
    if not present:
        return _lacks_model(platform)
    return "" if any(sizes[name] for name in present) else f"waits for the content of {present[0]}"


def _lacking_variables(sizes: Mapping[str, int]) -> str:
    if not any(path.startswith(VARIABLES) for path in sizes):
        return ""
    if f"{VARIABLES}index" not in sizes:
        return f"waits for {VARIABLES}index"
    shards = {(int(found[1]), int(found[2])) for path in sizes if (found := _SHARD.fullmatch(path))}
    counts = {count for _, count in shards if count}
    whole = any(all((number, count) in shards for number in range(count)) for count in counts)
    return "" if whole else f"waits for all shards {VARIABLES}data-*"


def _settled(files: DirectoryFiles, since_s: float) -> bool:
    return all(one.changed_s is not None and one.changed_s <= since_s for one in files)
