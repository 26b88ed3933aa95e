"""The documents say what is there: every flag, every module, every link; and nothing about a developer's machine."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from core.config.arguments import ArgumentsOutcome, parse_flags
from core.config.flag_table import FLAGS
from core.config.yaml_settings import read_yaml_settings
from core.delivery.plan import NO_DELIVERY, RuleKind
from core.telemetry.metric_names import BY_NAME
from deployments.delivery_commands.rollout import ORDERS
from tests.support import architecture
from tests.support.monitoring_files import rules
from tests.support.project import ROOT

FOLDERS = (".ci", "benchmarks", "clients", "configs", "core", "deployments", "docs", "examples", "findings", "tests")
SKIPPED = re.compile(r"/__pycache__/|/variables/|\.egg-info/|\.so$")
FLAG_ROW = re.compile(r"^\| `(\w+)` \| ", re.MULTILINE)
FLAG_NOTE = re.compile(r"^\| `(\w+)` \| (.*?) \|$", re.MULTILINE)
OF_ZERO = re.compile(r"(?<![\w.])0(?:, the default,)? ((?:means|follows|does|sets|opens|lists|takes|for|or) ?[^;:]*)")
DEFAULT = re.compile(r"(?:^|(?<!below)[ `])([\w.]+)`?( MiB| s)?(?:, the default|,? by default| \(default\))")
UNITS = {"": 1, " s": 1, " MiB": 2**20}
OFF_AND_ON = {"off": False, "on": True, "true": True, "false": False}
STATUS_ROW = re.compile(r"^\| `\w+` \| (?!same|differs|not yet)", re.MULTILINE)
LINK_TEXT = re.compile(r"\[([^\]]*)\]\([^)]*\)")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
YAML_BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)
MODULE_PATH = re.compile(r"`((?:core|deployments)/[\w/]+(?:\.py)?)/?`")
HOME_PATH = re.compile(rb"(?<![\w.~}$)])/(?:(?:home|Users|work|workspace|opt/pypi)/\w|root/\.)")
UNFINISHED_MERGE = re.compile(rb"^(?:<{7}|>{7}) ", re.MULTILINE)
PACKAGE_SOURCE = re.compile(
    rb"--(?:extra-)?index-url[ =]|--find-links[ =]|https?://[^\s\"']*(?:pypi|artifactory|nexus|/simple)"
)


def project_files() -> Iterator[Path]:
    """Yield the files of the project that a reader or a tool may open."""
    yield from (path for path in ROOT.iterdir() if path.is_file() and path.name not in {".coverage", ".git"})
    for folder in FOLDERS:
        yield from (
            path for path in (ROOT / folder).rglob("*") if path.is_file() and not SKIPPED.search(path.as_posix())
        )


def found_in_files(pattern: re.Pattern[bytes]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}: {found[0].decode(errors='replace')}"
        for path in project_files()
        for found in pattern.finditer(path.read_bytes())
    ]


def markdown_files() -> list[Path]:
    return sorted(path for path in project_files() if path.suffix == ".md")


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_every_flag_has_a_row_in_the_compatibility_tables() -> None:
    """A flag that is added or dropped changes the document, and no flag is described that does not exist."""
    [_, flags, *_] = re.split(r"^## ", text("docs/compatibility.md"), flags=re.MULTILINE)

    rows = FLAG_ROW.findall(flags)

    assert sorted(rows) == sorted(FLAGS)


def test_every_flag_of_tensorflow_serving_is_same_differs_or_not_yet() -> None:
    """The second column has three words only."""
    [_, flags, *_] = re.split(r"^## |^Ours alone", text("docs/compatibility.md"), flags=re.MULTILINE)

    assert STATUS_ROW.findall(flags) == []


def notes_about_flags() -> dict[str, str]:
    """Return what the tables of flags say of each, as plain text."""
    [_, flags, *_] = re.split(r"^## ", text("docs/compatibility.md"), flags=re.MULTILINE)
    return {name: LINK_TEXT.sub(r"\1", note) for name, note in FLAG_NOTE.findall(flags)}


def test_help_and_documents_say_the_same_of_zero() -> None:
    """What 0 stands for is said in the same words, wherever both say it."""
    notes = notes_about_flags()
    told = {name: (meaning_of_zero(flag.help), meaning_of_zero(notes[name])) for name, flag in FLAGS.items()}
    both = {name: words for name, words in told.items() if all(words)}

    assert both.keys() >= {"num_load_threads", "tensorflow_session_parallelism", "router_replicas", "grpc_max_threads"}
    assert {name: words for name, words in both.items() if words[0] != words[1]} == {}


def meaning_of_zero(told: str) -> str:
    found = OF_ZERO.search(told.replace("`", ""))
    return found[1].rstrip(". ").partition(", see ")[0] if found else ""


def test_defaults_in_the_documents_are_those_of_the_flags() -> None:
    """A note that names the default names the right one."""
    named = {name: found.groups("") for name, note in notes_about_flags().items() if (found := DEFAULT.search(note))}
    wrong = {name: told for name, told in named.items() if not is_default(name, *told)}

    assert len(named) > 10
    assert wrong == {}


def is_default(name: str, told: str, unit: str) -> bool:
    default = FLAGS[name].default
    if isinstance(default, bool):
        return OFF_AND_ON.get(told) is default
    return told == default if isinstance(default, str) else float(told) * UNITS[unit] == default


def test_the_architecture_has_the_words_of_every_room() -> None:
    """Each room is described as its `__init__` says, each module as its own summary says; `make docs` writes both."""
    assert architecture.written() == architecture.sections()


@pytest.mark.parametrize("package", list(architecture.ROOMS))
def test_every_room_is_in_the_architecture(package: str) -> None:
    """A room that is added gets its section, and its place among the arrows."""
    folders = {path.parent.name for path in (ROOT / package).glob("*/__init__.py")} - {"protos"}

    assert folders == set(architecture.ROOMS[package].split())


@pytest.mark.parametrize("document", markdown_files(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_to_files(document: Path) -> None:
    """Every relative link of a document leads to a file or folder of the project."""
    targets = [link.partition("#")[0] for link in LINK.findall(document.read_text(encoding="utf-8"))]
    relative = [one for one in targets if one and "://" not in one]

    assert [one for one in relative if not (document.parent / one).exists()] == []


def test_decisions_are_numbered_once() -> None:
    """A decision is cited by its number."""
    numbers = [path.name[:4] for path in (ROOT / "docs" / "decisions").iterdir()]

    assert len(set(numbers)) == len(numbers)


def test_no_file_names_a_path_of_a_developers_machine() -> None:
    """What worked on one machine only must not become part of the project."""
    assert found_in_files(HOME_PATH) == []


def test_no_file_names_a_source_of_packages() -> None:
    """Where packages come from is the user's choice."""
    assert found_in_files(PACKAGE_SOURCE) == []


def test_no_file_has_a_mark_of_an_unfinished_merge() -> None:
    """In a document no other tool would find it."""
    assert found_in_files(UNFINISHED_MERGE) == []


def test_the_serve_configs_of_the_documents_are_valid() -> None:
    """Ray Serve accepts them, and their arguments are flags that make sense together."""
    blocks = YAML_BLOCK.findall(text("docs/operations.md"))
    configs = [ServeDeploySchema.model_validate({"applications": []} | yaml.safe_load(block)) for block in blocks]
    arguments = [dict(one.args) for config in configs for one in config.applications]

    outcomes = [parse_flags([f"--{name}={value}" for name, value in one.items()]) for one in arguments]

    assert [set(one.given) for one in outcomes] == [set(one) for one in arguments]
    assert {one.outcome for one in outcomes} == {ArgumentsOutcome.START}


def test_the_settings_of_the_delivery_document_are_valid() -> None:
    """They are copied into files; each has a plan, or shares."""
    blocks = YAML_BLOCK.findall(text("docs/delivery.md"))

    settings = [model.delivery for block in blocks for model in read_yaml_settings(block).models.values()]

    assert len(settings) == len(blocks) == 2
    assert NO_DELIVERY not in settings


def test_every_setting_metric_and_command_of_a_rollout_is_described() -> None:
    """What a plan, an order or a dashboard may say is in the document for operators."""
    told = text("docs/delivery.md")
    metrics = {
        name.removeprefix("ray_model_server_") for name in BY_NAME if re.search("_(?:rollouts?|mirror|split)_", name)
    }
    words = [*(kind.value for kind in RuleKind), *ORDERS, *(metrics - {"rollout_steps_total"})]
    words += [rule["alert"] for rule in rules() if not rule["alert"].startswith("RayModelServer")]

    assert [one for one in words if one not in told] == []


def test_every_path_of_a_module_in_the_documents_leads_to_it() -> None:
    """A module that moves takes the documents along."""
    named = {
        (document.name, name)
        for document in markdown_files()
        if document.name != "CHANGELOG.md"
        for name in MODULE_PATH.findall(document.read_text(encoding="utf-8"))
    }

    assert sorted(one for one in named if not any((ROOT / f"{one[1]}{end}").exists() for end in ("", ".py"))) == []


def test_every_dependency_beyond_the_given_list_has_one_reason() -> None:
    """A decision explains each once: here are the names of the packages that are installed with the server."""
    text = (ROOT / "docs" / "decisions" / "0007-dependencies.md").read_text()
    given = re.findall(r"[\w-]+", text.partition("## Decision")[0])
    rows = [name for names in re.findall(r"^\| ([^|]+) \|", text, re.MULTILINE) for name in names.split(", ")]
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    packages = {re.split(r"[^\w-]", one)[0] for one in listed}
    written_otherwise = {"ray", "tensorflow", "grpcio", "grpcio-health-checking", "grpcio-reflection"}

    assert {one: (one in given) + rows.count(one) for one in packages - written_otherwise} == dict.fromkeys(
        packages - written_otherwise, 1
    )
