"""What is known of an interpreter's build, and what is said about it."""

from __future__ import annotations

import pytest

from core.admin.python_build import PythonBuild, python_build, python_warnings

PLAIN = {"CONFIG_ARGS": "'--enable-shared'", "PY_CFLAGS": "-O3 -Wall", "PGO_PROF_USE_FLAG": "-fprofile-use"}


@pytest.mark.parametrize(
    ("variables", "build"),
    [
        (PLAIN, PythonBuild.PLAIN),
        ({**PLAIN, "CONFIG_ARGS": "'--enable-shared' '--enable-optimizations'"}, PythonBuild.OPTIMIZED),
        ({**PLAIN, "CONFIG_ARGS": "'--with-lto=full'"}, PythonBuild.OPTIMIZED),
        ({**PLAIN, "PY_CFLAGS": "-O2 -flto=auto"}, PythonBuild.OPTIMIZED),
        ({**PLAIN, "PY_CFLAGS_NODIST": "-fprofile-use"}, PythonBuild.OPTIMIZED),
        ({**PLAIN, "PGO_PROF_USE_FLAG": ""}, PythonBuild.UNKNOWN),
        ({}, PythonBuild.UNKNOWN),
        ({"CONFIG_ARGS": None, "PY_CFLAGS": 0}, PythonBuild.UNKNOWN),
    ],
)
def test_a_build_is_read_from_the_configuration(variables: dict[str, object], build: PythonBuild) -> None:
    """The flags that a plain build would be optimized by are recorded, too, and say nothing; Debian hides its own."""
    assert python_build(variables) is build


@pytest.mark.parametrize("build", [PythonBuild.OPTIMIZED, PythonBuild.UNKNOWN])
def test_nothing_is_said_about_an_interpreter_that_may_be_fast(build: PythonBuild) -> None:
    """A warning that may be wrong is worse than none."""
    assert python_warnings("3.11.7", "/bin/python", build, "") == ()


def test_what_makes_a_server_slow_is_said_with_the_way_out() -> None:
    """Both are repaired by whoever installs, not by the server."""
    slow, uncompiled = python_warnings("3.11.7", "/bin/python", PythonBuild.PLAIN, "/site/ray")

    assert slow.startswith("Python 3.11.7 (/bin/python) was built without optimization")
    assert "Compile it once: /bin/python -m compileall -q /site/ray" in uncompiled
