"""Which directories are versions, when one is completely written, and what an answer of a store means."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.config.extensions import ANY, ONNX, TENSORFLOW, PlatformKind
from core.config.model_config import ModelConfig, ModelResources
from core.config.version_policy import All, Latest, PolicyFailed, Specific, registered_policy
from core.storage.directory_names import not_a_version, version_directories
from core.storage.version_listing import (
    MISSED,
    REMOTE_SETTLED_S,
    SETTLED_S,
    UNKNOWN,
    DirectoryFiles,
    FileEntry,
    Judged,
    VersionDirectory,
    VersionListing,
    is_remote,
    judged,
    local_path,
    missing,
    steadied,
)

MODEL = FileEntry("saved_model.pb", 100, 50.0)
INDEX = FileEntry("variables/variables.index", 10, 50.0)
SHARD_1 = FileEntry("variables/variables.data-00000-of-00002", 10, 50.0)
SHARD_2 = FileEntry("variables/variables.data-00001-of-00002", 10, 50.0)
WHOLE: DirectoryFiles = frozenset({MODEL, INDEX, SHARD_1, SHARD_2})


@pytest.mark.parametrize(
    "name", ["42", "0", "00123", "+7", " 7 ", "20170111173521", "9223372036854775807", "-0", "0" * 300]
)
def test_whole_numbers_are_versions(name: str) -> None:
    """A version is any 64-bit number of zero or more, with the tolerance of TensorFlow's parser."""
    assert not_a_version(name) == ""


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("foo", "not a whole number"),
        ("1.bak", "not a whole number"),
        ("0x1", "not a whole number"),
        ("1.0", "not a whole number"),
        ("1_0", "not a whole number"),
        ("٣", "not a whole number"),
        ("", "not a whole number"),
        ("-1", "negative number"),
        ("9223372036854775808", "number too large"),
        ("9" * 300, "number too large"),
    ],
)
def test_other_names_are_ignored_with_a_reason(name: str, reason: str) -> None:
    """The status page can say why a directory does not count."""
    assert not_a_version(name) == reason


@given(st.text(max_size=300))
def test_every_name_is_judged(name: str) -> None:
    """No name breaks the listing of its neighbours."""
    directories, ignored = version_directories([name], Latest())

    assert len(directories) + len(ignored) == bool(name.partition("/")[0])


def test_case_K2_names_that_are_no_numbers_give_no_version() -> None:
    """A base path with other names only has no versions, and says why."""
    assert version_directories(["non_numerical_child"], Latest()) == ({}, {"non_numerical_child": "not a whole number"})


def test_case_K9_leading_zeros_name_the_same_version() -> None:
    """Version 17 may lie in `00017`, and is loaded from there."""
    assert version_directories(["00017", "30"], Specific(frozenset({17, 30})))[0] == {17: "00017", 30: "30"}


def test_case_K14_versions_keep_their_directory_names() -> None:
    """Version 2 lies in `02` whatever the policy."""
    assert version_directories(["1", "02", "3"], Latest(2))[0][2] == "02"


@pytest.mark.parametrize(("policy", "winner"), [(Latest(), "1"), (Specific(frozenset({1})), "1"), (All(), "0001")])
def test_of_two_names_for_one_version_the_policy_decides(policy: Latest | Specific | All, winner: str) -> None:
    """Policy all takes the first name, the others the last, and the rest is shown as ignored."""
    directories, ignored = version_directories(["001", "1", "0001"], policy)

    assert directories == {1: winner}
    assert set(ignored.values()) == {f"same version as {winner}"}
    assert len(ignored) == 2


def test_deep_paths_count_by_their_first_part() -> None:
    """Object stores list keys; each directory counts once."""
    assert version_directories(["3/saved_model.pb", "3/assets/x", "/odd"], Latest())[0] == {3: "3"}


def test_fingerprint_changes_with_any_file() -> None:
    """A version that failed is tried again when its files change."""
    changed = frozenset({MODEL, FileEntry("variables/variables.index", 10, 51.0)})

    assert VersionDirectory("/m/1", WHOLE).fingerprint == VersionDirectory("/n/1", WHOLE).fingerprint
    assert VersionDirectory("/m/1", WHOLE).fingerprint != VersionDirectory("/m/1", changed).fingerprint


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (frozenset(), "waits for saved_model.pb"),
        (WHOLE - {MODEL}, "waits for saved_model.pb"),
        (frozenset({FileEntry("saved_model.pb", 0)}), "waits for the content of saved_model.pb"),
        (WHOLE - {INDEX}, "waits for variables/variables.index"),
        (WHOLE - {SHARD_2}, "waits for all shards variables/variables.data-*"),
        (WHOLE - {SHARD_1, SHARD_2}, "waits for all shards variables/variables.data-*"),
    ],
)
def test_a_version_with_missing_parts_waits(files: DirectoryFiles, reason: str) -> None:
    """A half-copied directory never reaches a replica, however long it lies still."""
    assert missing(files, files) == reason


@pytest.mark.parametrize(
    "files",
    [
        WHOLE,
        frozenset({MODEL}),
        frozenset({FileEntry("saved_model.pbtxt", 1)}),
        frozenset({FileEntry("model.tflite", 1)}),
        frozenset({MODEL, FileEntry("variables/.keep", 0)}),
    ],
)
def test_a_whole_version_that_did_not_change_is_complete(files: DirectoryFiles) -> None:
    """Every kind of model counts once it has all its parts and lies still for a tick."""
    assert missing(files, files) == ""


ONNX_MODEL, ONNX_DATA = FileEntry("model.onnx", 10, 50.0), FileEntry("weights.bin", 10, 50.0)


@pytest.mark.parametrize(
    ("platform", "files", "reason"),
    [
        (ANY, {ONNX_MODEL}, ""),
        (ONNX, {ONNX_MODEL, ONNX_DATA}, ""),
        (ONNX, {ONNX_DATA}, "waits for model.onnx"),
        (ONNX, {FileEntry("model.onnx", 0)}, "waits for the content of model.onnx"),
        (ONNX, WHOLE, "waits for model.onnx"),
        (TENSORFLOW, {ONNX_MODEL}, "waits for saved_model.pb"),
        (PlatformKind("matrix", ("weights.npy",)), {FileEntry("weights.npy", 1)}, ""),
        (PlatformKind("folders"), {ONNX_DATA}, ""),
        (PlatformKind("folders"), set(), ""),
    ],
)
def test_a_version_needs_a_file_of_its_platform(platform: PlatformKind, files: set[FileEntry], reason: str) -> None:
    """Of one that names no files, whatever lies still is a version; external data may have any name."""
    assert missing(frozenset(files), frozenset(files), platform=platform) == reason


def test_external_data_that_still_comes_keeps_a_version_waiting() -> None:
    """Its name is known to nobody before the model is read."""
    now = frozenset({ONNX_MODEL, ONNX_DATA})

    assert missing(now, frozenset({ONNX_MODEL}), platform=ONNX) == "waits until its files stop changing"


def test_the_hint_follows_the_declared_platform() -> None:
    """A SavedModel where ONNX is declared waits for ever, and says why."""
    model = ModelConfig("m", "/m", platform=ONNX)
    files = VersionListing({1: VersionDirectory("/m/1", frozenset({FileEntry("saved_model.pb", 1, 1.0)}))})

    known = judged(files, UNKNOWN, model, NOW_S)

    assert known.waiting[1].startswith(
        "waits for model.onnx: it holds saved_model.pb, which is for platform tensorflow"
    )
    assert known.problem.startswith("/m/1 waits for model.onnx")


def test_a_platform_without_files_gets_no_hints() -> None:
    """Nothing is known to be wrong there."""
    model = ModelConfig("m", "/m", platform=PlatformKind("folders"))
    files = VersionListing({1: VersionDirectory("/m/1", frozenset({FileEntry("a", 1, 1.0)}))})

    assert judged(files, UNKNOWN, model, NOW_S).waiting == {}


def test_a_version_that_still_changes_waits() -> None:
    """Sizes and times must be those of the previous tick, even for files the rule does not know."""
    growing = WHOLE | {FileEntry("assets/vocabulary.txt", 7, 60.0)}
    grown = WHOLE | {FileEntry("assets/vocabulary.txt", 9, 61.0)}

    assert missing(grown, growing, now_s=1e6) == "waits until its files stop changing"


def test_a_version_seen_for_the_first_time_waits_for_a_second_look() -> None:
    """Without times, one listing proves nothing."""
    assert missing(WHOLE, None) == "waits until its files stop changing"


@pytest.mark.parametrize(("age_s", "complete"), [(SETTLED_S, True), (SETTLED_S - 1, False), (-5, False)])
def test_on_first_sight_old_files_count_as_still(age_s: float, *, complete: bool) -> None:
    """A start does not wait a tick for versions that were written long ago; files from the future are not trusted."""
    assert (missing(WHOLE, None, now_s=50.0 + age_s) == "") is complete


def test_on_first_sight_files_of_unknown_age_wait() -> None:
    """A storage without times costs one tick."""
    assert missing(frozenset({FileEntry("saved_model.pb", 5)}), None, now_s=1e9)


def test_a_marker_file_is_waited_for_and_then_trusted() -> None:
    """With a marker file its writer decides, and no second look is needed."""
    assert missing(WHOLE, WHOLE, marker_file="_SUCCESS") == "waits for the marker file _SUCCESS"
    assert missing(WHOLE | {FileEntry("_SUCCESS", 0)}, None, marker_file="_SUCCESS") == ""


def test_a_marker_file_does_not_replace_the_model() -> None:
    """A version whose parts are missing waits although its marker is there."""
    assert missing(frozenset({FileEntry("_SUCCESS", 0)}), None, marker_file="_SUCCESS")


def test_the_stores_name_for_the_content_is_part_of_the_fingerprint() -> None:
    """A file may be replaced by one of the same size within a second."""
    ours, theirs = (VersionDirectory("s3://b/1", frozenset({FileEntry("f", 1, 5.0, etag)})) for etag in ("a", "b"))

    assert ours.fingerprint != theirs.fingerprint


@pytest.mark.parametrize(
    ("path", "remote"),
    [("/m", False), ("file:///m", False), ("s3://b/m", True), ("memory://m", True), ("m", False), ("", False)],
)
def test_a_url_is_remote_unless_it_names_a_local_file(path: str, remote: bool) -> None:  # noqa: FBT001
    """The scheme decides."""
    assert is_remote(path) is remote


@pytest.mark.parametrize(("age_s", "complete"), [(REMOTE_SETTLED_S - 1, False), (REMOTE_SETTLED_S, True)])
def test_object_stores_must_lie_still_longer(age_s: float, complete: bool) -> None:  # noqa: FBT001
    """A large file appears only when all of it is there, so a pause between two files says little."""
    reason = missing(WHOLE, None, now_s=50.0 + age_s, settled_s=REMOTE_SETTLED_S)

    assert (reason == "") is complete


def listing(*versions: int) -> VersionListing:
    """Make a listing as a store gives it."""
    return VersionListing({version: VersionDirectory(f"s3://b/{version}", WHOLE) for version in versions})


def test_a_version_that_one_listing_misses_is_kept_once() -> None:
    """One flicker of a store must not unload anything."""
    steady, missed = steadied(listing(2), listing(1, 2))

    assert set(steady.versions) == {1, 2}
    assert missed == {1}


def test_a_version_that_two_listings_miss_is_gone() -> None:
    """The listing before is taken as the store gave it."""
    assert steadied(listing(2), listing(2)) == (listing(2), frozenset())


def test_the_first_listing_misses_nothing() -> None:
    """There is nothing to compare it with."""
    assert steadied(listing(1), None) == (listing(1), frozenset())


def test_what_a_listing_says_of_a_version_replaces_what_was_known() -> None:
    """Only whole versions are kept, no files."""
    changed = VersionListing({1: VersionDirectory("s3://b/1", frozenset({MODEL}))})

    assert steadied(changed, listing(1)) == (changed, frozenset())


LOCAL = ModelConfig("m", "/m")
REMOTE = ModelConfig("m", "s3://b")
NOW_S = 1000.0
STILL = "waits until its files stop changing"
NO_VERSIONS = (
    "No versions of servable m found under base path /m. "
    "Did you forget to name your leaf directory as a number (eg. '/1/')?"
)


def young(*versions: int) -> VersionListing:
    """Make a listing of versions whose files have just changed."""
    files = frozenset({FileEntry("saved_model.pb", 5, NOW_S)})
    return VersionListing({version: VersionDirectory(f"/m/{version}", files) for version in versions})


def looked(version: int, ago_s: float) -> Judged:
    """Return what is known after a look at a version that had just changed."""
    return Judged(found=young(version), waiting={version: STILL}, resting={version: NOW_S - ago_s})


@pytest.mark.parametrize(
    ("model", "now", "before", "expected"),
    [
        pytest.param(LOCAL, listing(1), UNKNOWN, ({1}, {}, False, ""), id="old_files_at_first_sight"),
        pytest.param(LOCAL, young(1), UNKNOWN, ({1}, {1: STILL}, True, ""), id="young_files_at_first_sight"),
        pytest.param(LOCAL, young(1), looked(1, ago_s=1.0), ({1}, {}, False, ""), id="two_looks_agree"),
        pytest.param(LOCAL, young(1), looked(1, ago_s=0.3), ({1}, {1: STILL}, False, ""), id="the_second_came_too_soon"),
        pytest.param(LOCAL, young(1), looked(1, ago_s=-9.0), ({1}, {}, False, ""), id="the_clock_was_set_back"),
        pytest.param(
            LOCAL, young(1), Judged(found=young(1), resting={1: NOW_S}), ({1}, {}, False, ""), id="what_is_complete_stays"
        ),
        pytest.param(
            LOCAL, young(1, 2), looked(1, ago_s=1.0), ({1, 2}, {2: STILL}, False, ""), id="a_later_version_is_sure"
        ),
        pytest.param(LOCAL, listing(2), Judged(found=listing(1, 2)), ({2}, {}, False, ""), id="local_versions_go"),
        pytest.param(
            REMOTE, listing(2), Judged(found=listing(1, 2)), ({1, 2}, {1: MISSED}, False, ""), id="remote_ones_stay"
        ),
        pytest.param(
            REMOTE, listing(2), Judged(listing(1, 2), found=listing(2)), ({2}, {}, False, ""), id="and_go_one_look_later"
        ),
        pytest.param(LOCAL, listing(), UNKNOWN, (set(), {}, False, NO_VERSIONS), id="nothing_there"),
        pytest.param(LOCAL, None, UNKNOWN, (None, {}, False, ""), id="no_answer_yet"),
        pytest.param(
            LOCAL, VersionListing(error="x"), UNKNOWN,
            (None, {}, False, "Could not find base path /m for servable m with error x"), id="a_first_look_that_fails",
        ),
        pytest.param(
            LOCAL, VersionListing(error="x"), Judged(listing(1), {1: STILL}, is_unsure=True),
            ({1}, {1: STILL}, True, "Could not find base path /m for servable m with error x"), id="a_later_one_changes_nothing",
        ),
        pytest.param(LOCAL, None, Judged(listing(1), problem="y", error="x"), ({1}, {}, False, "y"), id="an_error_lasts"),
        pytest.param(LOCAL, listing(1), Judged(problem="y", error="x"), ({1}, {}, False, ""), id="until_a_listing_comes"),
    ],
)  # fmt: skip
def test_an_answer_of_a_store_is_judged(
    model: ModelConfig, now: VersionListing | None, before: Judged, expected: tuple[set[int] | None, object, bool, str]
) -> None:
    """Which versions count, which of them wait, whether a second look is needed, and why there is nothing to load."""
    after = judged(now, before, model, NOW_S)

    versions = set(after.listing.versions) if after.listing is not None else None
    assert (versions, after.waiting, after.is_unsure, after.problem) == expected


def test_the_same_complete_versions_again_are_the_very_same_value() -> None:
    """The watcher compares what is known of hundreds of models in every tick."""
    before = judged(listing(1), UNKNOWN, LOCAL, NOW_S)

    assert judged(listing(1), before, LOCAL, NOW_S + 1.0) is before
    assert judged(None, before, LOCAL, NOW_S + 1.0) is before
    assert judged(listing(1, 2), before, LOCAL, NOW_S + 1.0).listing == listing(1, 2)


def test_a_version_that_was_moved_into_place_is_complete_at_first_sight() -> None:
    """Nobody writes there; others in the same folder are judged by themselves, and what it lacks it still lacks."""
    seen = VersionListing({**young(1, 2).versions, 3: VersionDirectory("/m/3", frozenset({FileEntry("x", 1, NOW_S)}))})

    after = judged(seen, Judged(found=listing()), LOCAL, NOW_S, {"/m/2": NOW_S, "/m/3": NOW_S})

    assert after.waiting == {1: STILL, 3: "waits for saved_model.pb"}
    assert judged(seen, after, LOCAL, NOW_S + 0.1).waiting == after.waiting


@pytest.mark.parametrize("changed_s", [NOW_S, None])
def test_a_version_that_changed_after_it_was_moved_into_place_is_being_written(changed_s: float | None) -> None:
    """Somebody moved an empty folder there, or put another one in its place; unknown times show nothing."""
    files = frozenset({FileEntry("saved_model.pb", 5, changed_s), FileEntry("old", 5, NOW_S - 5.0)})
    seen = VersionListing({1: VersionDirectory("/m/1", files)})

    assert judged(seen, Judged(found=listing()), LOCAL, NOW_S, {"/m/1": NOW_S - 0.1}).waiting == {1: STILL}


def test_what_is_known_is_judged_anew_when_the_policy_changes() -> None:
    """A tick without an answer of the store still follows the configuration."""
    specific = ModelConfig("m", "/m", Specific(frozenset({7})))
    known = judged(listing(1, 2), UNKNOWN, LOCAL, NOW_S)

    changed = judged(None, known, specific, NOW_S)

    assert changed.problem == "The version policy of servable m lists only 7; base path /m has 2, 1"
    assert judged(None, changed, LOCAL, NOW_S) == known


def test_the_marker_file_of_the_model_decides() -> None:
    """Without it a version waits, however long it lies still."""
    marked = ModelConfig("m", "/m", resources=ModelResources(marker_file="_SUCCESS"))

    assert judged(listing(1), UNKNOWN, marked, NOW_S).waiting == {1: "waits for the marker file _SUCCESS"}


def test_a_directory_that_cannot_be_read_waits() -> None:
    """Nothing can be said of its files; its neighbours are not affected."""
    mixed = VersionListing({**listing(1).versions, 2: VersionDirectory("/m/2", unreadable="Permission denied")})

    assert judged(mixed, UNKNOWN, LOCAL, NOW_S).waiting == {2: "waits until its files can be read: Permission denied"}


def test_a_password_in_a_base_path_is_not_part_of_a_problem() -> None:
    """Everybody may ask for the status of models."""
    problem = judged(VersionListing(error="x"), UNKNOWN, ModelConfig("m", "sftp://user:secret@host/m"), NOW_S).problem

    assert "sftp://***@host/m" in problem
    assert "secret" not in problem


def keras(changed_s: float | None) -> VersionListing:
    """Make a listing of version 1 with a Keras archive in place of a SavedModel."""
    files = frozenset({FileEntry("model.keras", 5, changed_s)})
    return VersionListing({1: VersionDirectory("/m/1", files), 0: VersionDirectory("/m/0", WHOLE)})


HINTED = "waits for saved_model.pb: it holds model.keras, a Keras archive"


def test_a_folder_of_another_format_gets_a_hint_when_nothing_is_written_any_more() -> None:
    """Files that are old at the first look are hinted at once; the problem names the folder."""
    young_one = judged(keras(NOW_S - 1), UNKNOWN, LOCAL, NOW_S)
    old_one = judged(keras(NOW_S - SETTLED_S), UNKNOWN, LOCAL, NOW_S)

    assert (young_one.waiting[1], young_one.problem) == ("waits for saved_model.pb", "")
    assert old_one.waiting[1].startswith(HINTED)
    assert old_one.problem.startswith(f"/m/1 {HINTED}")


@pytest.mark.parametrize("files", [keras(None), keras(NOW_S + 500), VersionListing({1: VersionDirectory("/m/1")})])
def test_files_without_a_time_get_a_hint_when_some_seconds_changed_nothing(files: VersionListing) -> None:
    """As in stores without times, with clocks that differ, and in an empty folder."""
    known = judged(files, UNKNOWN, LOCAL, NOW_S)
    soon = judged(files, known, LOCAL, NOW_S + SETTLED_S - 1)
    later = judged(files, soon, LOCAL, NOW_S + SETTLED_S)

    assert [":" in one.waiting[1] for one in (known, soon, later)] == [False, False, True]


def test_a_change_begins_the_time_anew() -> None:
    """A copy that takes minutes is not called wrong."""
    known = judged(keras(None), UNKNOWN, LOCAL, NOW_S)
    changed = VersionListing({1: VersionDirectory("/m/1", frozenset({FileEntry("model.keras", 6)}))})

    assert judged(changed, known, LOCAL, NOW_S + SETTLED_S).waiting[1] == "waits for saved_model.pb"


def test_the_hint_is_a_problem_only_for_versions_that_should_be_served() -> None:
    """What the policy leaves out hurts nobody; the reason is among the waiting ones all the same."""
    other = ModelConfig("m", "/m", Specific(frozenset({0})))
    after = judged(keras(0.0), UNKNOWN, other, NOW_S)

    assert (after.problem, after.waiting[1].startswith(HINTED)) == ("", True)
    assert judged(None, after, LOCAL, NOW_S).problem.startswith("/m/1 ")


def test_a_missing_marker_is_the_only_reason_to_wait() -> None:
    """Its absence says that the version is not finished, whatever else is there."""
    marked = ModelConfig("m", "/m", resources=ModelResources(marker_file="_SUCCESS"))

    assert judged(keras(0.0), UNKNOWN, marked, NOW_S).waiting[1] == "waits for the marker file _SUCCESS"


def test_a_base_path_that_is_a_version_has_one_hint_and_no_ignored_rows() -> None:
    """Its files are parts of one version, and not versions with wrong names."""
    found = VersionListing(
        {},
        {"saved_model.pb": "not a whole number", "variables": "not a whole number"},
        outside=frozenset({"saved_model.pb"}),
    )

    after = judged(found, UNKNOWN, ModelConfig("m", "/m/3"), NOW_S)

    assert after.problem.endswith("(eg. '/1/')? It is itself a version: use its parent /m as the base path.")
    assert after.listing is not None
    assert not after.listing.ignored


def test_a_base_path_that_names_a_file_has_a_hint() -> None:
    """Beside the error of the store."""
    after = judged(VersionListing(error="NOT_FOUND: x"), UNKNOWN, ModelConfig("m", "s3://b/model.keras"), NOW_S)

    assert "with error NOT_FOUND: x. It names a file, a Keras archive" in after.problem


def inside(subpath: str, *files: FileEntry, beside: tuple[str, ...] = ()) -> VersionListing:
    """Return a listing of a version whose model lies deeper."""
    return VersionListing({1: VersionDirectory(f"/m/1/{subpath}", frozenset(files), beside=frozenset(beside))})


DEEPER = ModelConfig("m", "/m", version_subpath="data/model")


@pytest.mark.parametrize("moved", ["/m/1", "/m/1/data", "/m/1/data/model"])
def test_a_version_is_complete_when_its_model_or_a_folder_above_was_moved_into_place(moved: str) -> None:
    """A registry's artifact is moved as a whole."""
    young = FileEntry("saved_model.pb", 100, NOW_S)

    waiting = judged(inside("data/model", young), UNKNOWN, DEEPER, NOW_S, {"/m": NOW_S, "/m/1/x": NOW_S}).waiting
    moved_in = judged(inside("data/model", young), UNKNOWN, DEEPER, NOW_S, {moved: NOW_S}).waiting

    assert (set(waiting), set(moved_in)) == ({1}, set())


@pytest.mark.parametrize("beside", [("_SUCCESS", "MLmodel"), ("MLmodel",)])
def test_a_marker_may_lie_in_the_folder_of_the_version_itself(beside: tuple[str, ...]) -> None:
    """Where the writer of an artifact puts it; beside the model it counts as ever."""
    model = replace(DEEPER, resources=ModelResources(marker_file="_SUCCESS"))
    young = FileEntry("saved_model.pb", 100, NOW_S)

    above = judged(inside("data/model", young, beside=beside), UNKNOWN, model, NOW_S)
    within = judged(inside("data/model", young, FileEntry("_SUCCESS", 0, NOW_S)), UNKNOWN, model, NOW_S)

    assert set(above.waiting) == (set() if "_SUCCESS" in beside else {1})
    assert not within.waiting


def test_a_subpath_that_leads_nowhere_is_a_problem_with_a_hint() -> None:
    """After the time in which a writer could have come to it."""
    seen = inside("data/model", beside=("MLmodel", "tf2model/saved_model.pb"))
    first = judged(seen, UNKNOWN, DEEPER, NOW_S)
    later = judged(seen, first, DEEPER, NOW_S + SETTLED_S)

    assert first.problem == ""
    assert later.problem == (
        "/m/1/data/model waits for saved_model.pb: version_subpath data/model leads to no files; a SavedModel lies in "
        "tf2model/: set version_subpath to tf2model"
    )


@pytest.mark.parametrize(
    ("path", "plain"),
    [
        ("/m", "/m"),
        ("file:///m", "/m"),
        ("file://localhost/m", "/m"),
        ("localhost/m", "localhost/m"),
        ("file://m", "m"),
    ],
)
def test_local_paths_may_be_urls(path: str, plain: str) -> None:
    """With or without the name of this machine."""
    assert local_path(path) == plain


class Failing:
    """A policy of a package that fails."""

    def select(self, found: frozenset[int]) -> frozenset[int]:
        raise PolicyFailed(f"version policy odd failed: KeyError: <object at {hex(id(object()))}>")


def test_a_policy_that_fails_is_the_problem_of_its_model() -> None:
    """The text stays the same while the error does, or each tick would publish another one."""
    model = ModelConfig("m", "/m", Failing())
    listing = VersionListing({1: VersionDirectory("/m/1", WHOLE)})

    first = judged(listing, UNKNOWN, model, 1e9)
    second = judged(None, first, model, 1e9)

    assert first.problem == second.problem
    assert first.problem.startswith("Servable m: version policy odd failed: KeyError: ")
    assert first.problem.endswith("; the versions that are loaded stay")
    assert first.listing == listing


def test_a_registered_policy_that_selects_nothing_is_a_problem_too() -> None:
    """As with the others, the text says what is there."""
    model = ModelConfig("m", "/m", registered_policy("none", {}, lambda: Specific(frozenset())))

    found = judged(VersionListing({1: VersionDirectory("/m/1", WHOLE)}), UNKNOWN, model, 1e9)

    assert found.problem == "The version policy of servable m lists no versions; base path /m has 1"
