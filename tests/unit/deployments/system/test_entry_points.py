"""What packages register is found by name, imported when it is asked for, and left out with a reason when it is broken."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from deployments.system.entry_points import ExtensionPoint, Registered, registered, registered_names
from tests.support.extension_packages import install, on_path

PLATFORM = """
    from core.config.extensions import PlatformKind

    class Odd:
        kind = PlatformKind({kind})

        def estimate(self, path): ...
        def load(self, spec): ...

    ODD = Odd()
"""

Install = Callable[..., Registered]


@pytest.fixture
def platforms(tmp_path: Path) -> Iterator[Install]:
    """Install packages that register platforms, and return what is registered then."""
    with ExitStack() as stack:
        stack.enter_context(on_path(tmp_path))

        def install_all(*packages: tuple[str, Mapping[str, str]], **modules: str) -> Registered:
            for name, entries in packages:
                install(tmp_path, name, {"platforms": entries}, modules)
            registered.cache_clear()
            return registered(ExtensionPoint.PLATFORMS)

        yield install_all


def test_an_object_is_imported_when_it_is_asked_for(platforms: Install) -> None:
    """Its name alone costs nothing, and runs none of its code."""
    found = platforms(("odd", {"odd": "odd_module:ODD"}), odd_module=PLATFORM.format(kind='"odd", ("odd.txt",)'))

    assert list(found) == ["odd"]
    assert list(registered_names()) == ["platforms odd: package odd 1.0"]
    assert "odd_module" not in sys.modules
    assert found["odd"].kind.files == ("odd.txt",)
    assert found.why_not("odd") == ""


def test_an_unknown_name_is_not_there_and_has_no_reason(platforms: Install) -> None:
    """Nobody registers it."""
    found = platforms()

    assert "odd" not in found
    assert found.why_not("odd") == ""
    assert len(found) == 0


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import no_such_module", "cannot be imported: ModuleNotFoundError: No module named 'no_such_module'"),
        ("ODD: int", "cannot be imported: AttributeError: module 'odd_module' has no attribute 'ODD'"),
        ("raise SystemExit(3)", "cannot be imported: SystemExit: 3"),
        ("1 +", "cannot be imported: SyntaxError"),
        ("ODD = None", "does not fit: its kind is not a PlatformKind"),
        (PLATFORM.format(kind='"even", ("odd.txt",)'), "does not fit: its kind has the name even"),
        (PLATFORM.format(kind='"odd"'), "does not fit: its kind names no files"),
        (PLATFORM.format(kind='"odd", (1,)'), "does not fit: its kind names no files"),
        (
            PLATFORM.format(kind='"odd", ("odd.txt",)').replace("def load", "def open"),
            "does not fit: it has no load",
        ),
        (
            PLATFORM.format(kind='"odd", ("odd.txt",)').replace("def load", "def a").replace("def estimate", "def b"),
            "does not fit: it has no estimate and no load",
        ),
    ],
)
def test_a_broken_object_is_left_out_with_the_reason(
    platforms: Install, caplog: pytest.LogCaptureFixture, text: str, reason: str
) -> None:
    """The reason names the package and the object; the log has it once."""
    found = platforms(("odd", {"odd": "odd_module:ODD"}), odd_module=text)

    assert "odd" not in found
    assert found.get("odd") is None
    assert found.why_not("odd").startswith("package odd 1.0 registers it as odd_module:ODD, which ")
    assert reason in found.why_not("odd")
    warnings = [one for one in caplog.records if one.getMessage().startswith("extension_left_out")]
    assert len(warnings) == 1


def test_a_broken_package_hides_no_other(platforms: Install) -> None:
    """Each name stands for itself."""
    good = PLATFORM.format(kind='"odd", ("odd.txt",)')
    found = platforms(("odd", {"odd": "odd_module:ODD"}), ("bad", {"bad": "bad_module:X"}), odd_module=good)

    assert "bad" not in found
    assert "odd" in found


def test_a_name_of_two_packages_belongs_to_neither(platforms: Install) -> None:
    """Which of them is first on the path is an accident."""
    found = platforms(("a", {"odd": "module_a:X"}), ("b", {"odd": "module_b:X"}))

    assert "odd" not in found
    assert found.why_not("odd") == "package a 1.0 and package b 1.0 both register it; uninstall one of them"


def test_metadata_that_cannot_be_read_is_not_the_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A server must not fail to start for it."""
    install(tmp_path, "odd", {"platforms": {"odd": "m:X"}})
    (tmp_path / "odd-1.0.dist-info" / "entry_points.txt").write_bytes(b"[ray_model_server.platforms]\n\xff = m:X\n")

    with on_path(tmp_path):
        assert list(registered(ExtensionPoint.PLATFORMS)) == []

    assert "extensions_unreadable point=platforms" in caplog.text


@pytest.mark.parametrize("value", ["", "no module", "a:b:c", "../x:y"])
def test_a_value_that_is_not_a_reference_is_a_broken_extension(platforms: Install, value: str) -> None:
    """Whatever the metadata holds."""
    found = platforms(("odd", {"odd": value}))

    assert "odd" not in found


def test_the_same_object_by_two_packages_is_one(platforms: Install) -> None:
    """A package that was renamed may be there under both names for a while."""
    good = PLATFORM.format(kind='"odd", ("odd.txt",)')
    found = platforms(("a", {"odd": "odd_module:ODD"}), ("b", {"odd": "odd_module:ODD"}), odd_module=good)

    assert "odd" in found


@pytest.mark.parametrize(
    ("point", "name"),
    [
        (ExtensionPoint.PLATFORMS, "tensorflow"),
        (ExtensionPoint.PLATFORMS, "any"),
        (ExtensionPoint.SOURCES, "s3"),
        (ExtensionPoint.SOURCES, "file"),
        (ExtensionPoint.LOG_COLLECTORS, "tf_record"),
        (ExtensionPoint.VERSION_POLICIES, "latest"),
    ],
)
def test_built_in_names_cannot_be_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, point: ExtensionPoint, name: str
) -> None:
    """What a configuration means must not depend on what is installed."""
    install(tmp_path, "thief", {point.value: {name: "thief_module:X"}}, {"thief_module": "X = int"})

    with on_path(tmp_path), caplog.at_level(logging.WARNING):
        found = registered(point)

    assert name not in found
    assert list(found) == []
    assert "thief 1.0 registers it, and it is built in" in caplog.text


@pytest.mark.parametrize(
    "point", [ExtensionPoint.SOURCES, ExtensionPoint.LOG_COLLECTORS, ExtensionPoint.VERSION_POLICIES]
)
def test_the_other_points_take_classes_and_functions(tmp_path: Path, point: ExtensionPoint) -> None:
    """They are called to make what is needed."""
    install(tmp_path, "p", {point.value: {"a": "p_module:A", "b": "p_module:B"}}, {"p_module": "A = 3\nB = dict"})

    with on_path(tmp_path):
        found = registered(point)
        assert ("a" in found, "b" in found) == (False, True)
        assert found.why_not("a").endswith("does not fit: it cannot be called")
