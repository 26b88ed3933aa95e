"""Tests of the names of servables and of their applications."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.versions.servable import ServableId, app_name, servables_of

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300)


def test_an_application_is_named_for_model_and_version() -> None:
    """Plain names stay readable."""
    assert app_name(ServableId("half_plus_two", 123)) == "half_plus_two:123"


def test_a_servable_prints_as_tensorflow_servings_texts_have_it() -> None:
    """Error texts quote servables in this form."""
    assert str(ServableId("m", 1)) == "{name: m version: 1}"


@given(names, st.integers(0, 2**63 - 1))
def test_application_names_are_harmless_for_files_and_urls(name, version) -> None:
    """Whatever a model is called, its application's name has only plain characters and a bounded length."""
    app = app_name(ServableId(name, version))

    assert re.fullmatch(r"[A-Za-z0-9_.~%-]+:[0-9]+", app)
    assert len(app) < 150


@given(names, names, st.integers(0, 20), st.integers(0, 20))
def test_different_servables_have_different_applications(one, other, version, other_version) -> None:
    """No two versions can be confused."""
    same = (one, version) == (other, other_version)

    assert (app_name(ServableId(one, version)) == app_name(ServableId(other, other_version))) is same


def test_long_names_with_the_same_beginning_differ() -> None:
    """A name that is cut is told apart by its digest."""
    one, other = app_name(ServableId("m" * 200 + "a", 1)), app_name(ServableId("m" * 200 + "b", 1))

    assert one != other
    assert one.startswith("m" * 100 + "~")


def test_servables_sort_by_name_and_version() -> None:
    """Order of processing and of listings."""
    assert sorted([ServableId("b", 1), ServableId("a", 10), ServableId("a", 9)]) == [
        ServableId("a", 9),
        ServableId("a", 10),
        ServableId("b", 1),
    ]


@given(st.lists(names, max_size=5), st.integers(0, 2**63 - 1))
def test_applications_lead_back_to_the_versions_of_known_models(models, version) -> None:
    """Also where the name of the application holds only a part of the model's."""
    servables = {app_name(one): one for one in (ServableId(name, version) for name in models)}

    assert servables_of(servables, models) == servables


@pytest.mark.parametrize("app", ["other:1", "m", "m:", "m:latest", "m:01", "m:-1", "m:1:2", "m:٣", ":1"])
def test_other_applications_are_nobodys_versions(app: str) -> None:
    """What looks like a version but would not have been named so is not taken for one."""
    assert servables_of([app, "m:2"], ["m"]) == {"m:2": ServableId("m", 2)}
