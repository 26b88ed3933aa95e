"""Files of requirements: what an environment depends on, and why it could not be made."""

from __future__ import annotations

import pytest

from core.errors import InvalidArgument, Unavailable
from core.platforms.python_requirements import (
    LARGEST_FILE,
    constraints_text,
    environment_key,
    install_failure,
    is_empty,
    required_names,
    requirements_text,
)


@pytest.mark.parametrize(
    ("text", "expected"), [("", True), ("\n  \n# six\n", True), ("six", False), ("#\n-r a", False)]
)
def test_comments_ask_for_nothing(text: str, expected: bool) -> None:  # noqa: FBT001
    """Without a line of its own nothing is installed, and uv is not needed."""
    assert is_empty(text) is expected


@pytest.mark.parametrize("content", [b"six\xff", b"#" * (LARGEST_FILE + 1), b"PK\x03\x04\x80"])
def test_a_file_of_another_kind_is_refused(content: bytes) -> None:
    """The text names the file."""
    with pytest.raises(InvalidArgument, match=r"^/m/1/requirements\.txt is"):
        requirements_text(content, "/m/1/requirements.txt")


def test_versions_with_the_same_requirements_share_an_environment() -> None:
    """What the server runs on and the interpreter count too."""
    key = environment_key("six\n", "numpy==2\n", "cpython-311", "/m/1")

    assert key == environment_key("six\n", "numpy==2\n", "cpython-311", "/m/2")
    assert key not in {
        environment_key("six>1\n", "numpy==2\n", "cpython-311", "/m/1"),
        environment_key("six\n", "numpy==3\n", "cpython-311", "/m/1"),
        environment_key("six\n", "numpy==2\n", "cpython-312", "/m/1"),
    }


@pytest.mark.parametrize("line", ["-r more.txt", "-c c.txt", "--editable .", "./a.whl", "/srv/a.whl", "  -e ."])
def test_requirements_in_further_files_belong_to_one_version(line: str) -> None:
    """Their content may differ although the line is the same."""
    assert environment_key(f"six\n{line}\n", "", "", "/m/1") != environment_key(f"six\n{line}\n", "", "", "/m/2")


def test_names_of_requirements_are_normalized_and_those_of_extras_left_out() -> None:
    """As metadata writes them."""
    lines = ["Foo.Bar_baz>=1; python_version>'3'", "x (>=2)", "y[z]>1", "gone>1; extra == 'all'", "  "]

    assert list(required_names(lines)) == ["foo-bar-baz", "x", "y"]


def test_constraints_are_exact_versions() -> None:
    """In an order of their own, because they are part of the key."""
    assert constraints_text({"b": "2", "a": "1"}) == "a==1\nb==2\n"


def test_a_failure_is_told_in_the_installers_words() -> None:
    """Without secrets, on one line, and without what was printed before."""
    output = "Using CPython 3.11\nerror: No solution found\n  cause: https://user:pw@index/six was not found\n"

    failure = install_failure("/m/1/requirements.txt", output)

    assert isinstance(failure, InvalidArgument)
    assert str(failure) == (
        "The requirements of /m/1/requirements.txt cannot be installed: "
        "No solution found cause: https://***@index/six was not found"
    )


@pytest.mark.parametrize("output", ["error: Failed to fetch: http://x", "error: x\n cause: Connection refused"])
def test_a_failure_of_the_network_may_pass(output: str) -> None:
    """The load is tried again."""
    assert isinstance(install_failure("r.txt", output), Unavailable)


def test_a_silent_failure_is_told_too() -> None:
    """An installer that was killed says nothing."""
    assert str(install_failure("r.txt", "")).endswith("uv ended without a word")
