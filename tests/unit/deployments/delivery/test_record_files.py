"""Tests of the files of records."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from core.delivery.rollout_record import RolloutRecord
from core.storage.store_errors import StorageFailed
from deployments.delivery.record_files import RecordFiles, file_of
from deployments.delivery.state_folder import LocalFolder

RECORD = RolloutRecord(stable=7, generation=4, owner="a")
LATER = RolloutRecord(stable=8, generation=5, owner="a")


def files(folder: Path) -> RecordFiles:
    """Return the files as a fresh process finds them."""
    made = RecordFiles(LocalFolder(folder))
    made.look()
    return made


def test_what_is_written_is_there_for_the_next_process(tmp_path: Path) -> None:
    """Each model has its own."""
    first = files(tmp_path)
    first.write("m", RECORD)
    first.write("n", LATER)
    first.write("m", LATER)

    second = files(tmp_path)

    assert (second.record("m"), second.record("n"), second.record("other")) == (LATER, LATER, None)


@pytest.mark.parametrize(
    "name", ["a/b", "../m", ".", "", "é", "with space", "m.json", "x" * 300, "nul\0", "CON", "M", "%2F"]
)
def test_every_name_of_a_model_is_that_of_a_file(tmp_path: Path, name: str) -> None:
    """None leads out of the folder."""
    files(tmp_path / "states").write(name, RECORD)

    assert [one.name for one in tmp_path.iterdir()] == ["states"]
    assert files(tmp_path / "states").record(name) == RECORD


def test_models_with_similar_names_do_not_share_a_file() -> None:
    """Also where a name is cut."""
    names = ["a/b", "a%2Fb", "a.b", "a%2Eb", "x" * 300, "x" * 301, "x" * 300 + "/"]

    assert len({file_of(one) for one in names}) == len(names)


@pytest.mark.parametrize("garbage", [b"", b"{", b"[1]", b"\xff\xfe", b'{"stable": "seven"}', b'{"phase": "x"}'])
def test_what_cannot_be_read_is_kept_beside(tmp_path: Path, garbage: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """The rollout begins without it, and the first record does not write over it."""
    (tmp_path / file_of("m")).write_bytes(garbage)
    made = files(tmp_path)

    assert made.record("m") is None
    assert "rollout_state_unreadable" in caplog.text
    made.write("m", RECORD)
    made.write("m", LATER)

    assert {one.name: one.read_bytes() for one in tmp_path.iterdir()}["m.json.kept-0"] == garbage
    assert files(tmp_path).record("m") == LATER


def test_what_was_not_read_is_kept_beside_too(tmp_path: Path) -> None:
    """The folder did not answer when the server started; a second one does not replace what is kept."""
    files(tmp_path).write("m", RECORD)
    RecordFiles(LocalFolder(tmp_path)).write("m", LATER)
    RecordFiles(LocalFolder(tmp_path)).write("m", RECORD)

    assert sorted(one.name for one in tmp_path.iterdir()) == ["m.json", "m.json.kept-0", "m.json.kept-1"]
    assert files(tmp_path).record("m") == RECORD


def test_of_two_servers_in_one_folder_the_second_writer_is_told(tmp_path: Path) -> None:
    """It would take the other one's decisions back."""
    ours, theirs = files(tmp_path), files(tmp_path)
    ours.write("m", RECORD)
    theirs.look()
    theirs.record("m")
    theirs.write("m", RolloutRecord(stable=1, generation=9, owner="b"))

    with pytest.raises(StorageFailed, match=r"m\.json was written by somebody else \(b\)"):
        ours.write("m", LATER)

    assert files(tmp_path).record("m").owner == "b"


def test_a_file_that_somebody_deleted_is_written_again(tmp_path: Path) -> None:
    """Nothing is lost by it."""
    made = files(tmp_path)
    made.write("m", RECORD)
    (tmp_path / "m.json").unlink()

    made.write("m", LATER)

    assert files(tmp_path).record("m") == LATER


def test_the_file_of_a_model_that_is_gone_is_removed(tmp_path: Path) -> None:
    """But not one that this process does not know."""
    made = files(tmp_path)
    made.write("m", RECORD)
    made.remove("m")
    made.remove("m")
    assert list(tmp_path.iterdir()) == []

    files(tmp_path).write("n", RECORD)
    made.remove("n")

    assert files(tmp_path).record("n") == RECORD


class HangingFolder(LocalFolder):
    """A folder on a store that does not answer for a while."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.may_answer = threading.Event()

    def write(self, name: str, content: bytes) -> None:
        """Wait first."""
        self.may_answer.wait(30)
        super().write(name, content)


def test_a_folder_that_hangs_holds_nobody_up(tmp_path: Path) -> None:
    """Questions fail at once until it has answered the one that hangs."""
    folder = HangingFolder(tmp_path)
    made = RecordFiles(folder, answers_within_s=0.05)
    with pytest.raises(StorageFailed, match="has not answered"):
        made.write("m", RECORD)

    with pytest.raises(StorageFailed, match="does not answer"):
        made.look()
    folder.may_answer.set()
