"""A missing driver of PostgreSQL is said in one line, before anything starts."""

import pytest
from click.testing import CliRunner

import tiny
from side4video.core.errors import InputError
from side4video.spec import check_database_driver as checked
from side4video.spec.tracking import MLflowTrackingSpec

ADDRESS = "postgresql://me:hunter2@127.0.0.1:1/db"


@pytest.fixture
def missing(monkeypatch):
    monkeypatch.setattr(checked, "find_spec", lambda name: None)


def test_the_fix_is_the_extra(missing):
    with pytest.raises(InputError, match=r"^tracking\.uri: .* psycopg.*fix: pip install 'side4video\[postgresql\]'$"):
        checked.check_store_driver(MLflowTrackingSpec(uri=ADDRESS))


def test_another_driver_is_a_package_of_its_own(missing):
    with pytest.raises(InputError, match=r"psycopg2.*fix: pip install 'psycopg2-binary'"):
        checked.check_database_driver(ADDRESS.replace("://", "+psycopg2://"), where="tracking.uri")


def test_the_variable_counts_where_the_document_is_silent(missing, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", ADDRESS)
    with pytest.raises(InputError, match=r"^MLFLOW_TRACKING_URI: ") as refused:
        checked.check_store_driver(MLflowTrackingSpec())
    assert "hunter2" not in str(refused.value)


def test_other_stores_need_none(missing):
    for uri in ("", "http://host:5000", "sqlite:////a/b.db"):
        checked.check_store_driver(MLflowTrackingSpec(uri=uri))


def test_validate_says_it(missing, tmp_path):
    import yaml

    from side4video.cli.validate import validate

    file = tmp_path / "spec.yaml"
    file.write_text(yaml.safe_dump(tiny.merged(tiny.DOCUMENT, {"tracking": {"uri": ADDRESS}})))
    found = CliRunner().invoke(validate, [str(file)])
    assert found.exit_code != 0
    assert "side4video[postgresql]" in str(found.exception) + found.output
