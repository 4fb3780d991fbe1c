"""Each name of `compat` is in the installed MLflow: in its Python code, or in the scripts of its pages."""

import tomllib
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import mlflow
import pytest
from mlflow.server import security_utils
from mlflow.utils import mlflow_tags
from packaging.specifiers import SpecifierSet

from side4video.core.errors import Side4VideoError
from side4video.tracking.mlflow import compat
from side4video.tracking.mlflow.links import compare_link, experiment_link
from side4video.tracking.mlflow.saved_views import runs_view, sweep_view

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture(scope="module")
def scripts():
    files = (Path(mlflow.__file__).parent / "server/js/build/static/js").rglob("*.js")
    return "\n".join(file.read_text(errors="replace") for file in files)


def keys(document):
    """All keys of a nested document, without the names of columns."""
    if isinstance(document, list):
        return {key for each in document for key in keys(each)}
    if not isinstance(document, dict):
        return set()
    return {
        key for name, value in document.items() for key in {name} | (set() if name == "columnWidths" else keys(value))
    }


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (compat.PARENT_TAG, mlflow_tags.MLFLOW_PARENT_RUN_ID),
        (compat.DESCRIPTION_TAG, mlflow_tags.MLFLOW_RUN_NOTE),
        (compat.COMMIT_TAG, mlflow_tags.MLFLOW_GIT_COMMIT),
        (compat.SOURCE_TAG, mlflow_tags.MLFLOW_SOURCE_NAME),
        (compat.SOURCE_TYPE_TAG, mlflow_tags.MLFLOW_SOURCE_TYPE),
        (compat.MODEL_VERSIONS_TAG, mlflow_tags.MLFLOW_MODEL_VERSIONS),
    ],
)
def test_tags_are_those_of_mlflow(ours, theirs):
    assert ours == theirs


@pytest.mark.parametrize(
    "text",
    [
        compat.PARENT_TAG,
        compat.DESCRIPTION_TAG,
        compat.KIND_TAG,
        compat.KIND,
        compat.VIEW_TAG.removesuffix("."),
        compat.MODEL_VERSIONS_TAG,
        f"/{compat.EXPERIMENT_ROUTE}/",
        f"/{compat.RUNS_ROUTE}/",
        f"/{compat.COMPARE_ROUTE}",
        *compat.WORKFLOW.split("="),
        f'"{compat.CHARTS}"',
    ],
)
def test_the_pages_use_each_tag_and_route(scripts, text):
    assert text in scripts


def test_the_pages_use_each_key_of_our_links(scripts):
    links = [
        experiment_link("", "1", "m", chart=True, view="v"),
        compare_link("", ["a"], "1", ["m"]),
    ]
    names = {key for link in links for key in parse_qs(urlsplit(urlsplit(link).fragment).query)}
    assert len(names) >= 7
    assert {key for key in names if key not in scripts} == set()


def test_the_pages_use_each_field_of_our_views(scripts):
    fields = keys(sweep_view("f", parameters=["p"], metrics=["m"], uuid="u")) | keys(runs_view())
    assert set(compat.RUNS_PAGE_STATE) < fields
    assert {field for field in fields if field not in scripts} == set()


def test_a_name_that_no_page_uses_is_noticed(scripts):
    assert "orderByKeyOfAnotherVersion" not in scripts


def test_the_logger_of_the_database_is_that_of_the_module():
    from mlflow.store.db import utils

    assert compat.DATABASE_LOGGER == utils.__name__ == utils._logger.name


def test_the_default_hosts_have_this_machine():
    assert any("localhost" in host for host in compat.default_allowed_hosts())


def test_a_function_that_is_gone_is_an_error_with_the_version(monkeypatch):
    monkeypatch.delattr(security_utils, "get_default_allowed_hosts")
    with pytest.raises(Side4VideoError, match=rf"MLflow {mlflow.__version__} has no .*get_default_allowed_hosts"):
        compat.default_allowed_hosts()


def test_the_installed_version_is_within_the_bounds():
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    bounds = next(each for each in needed if each.startswith("mlflow"))
    assert "<" in bounds
    assert mlflow.__version__ in SpecifierSet(bounds.removeprefix("mlflow"))
