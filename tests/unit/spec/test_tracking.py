import pytest
from pydantic import ValidationError

from side4video.core.errors import InputError
from side4video.spec.tracking import HIDDEN_LOGIN, FilesTrackingSpec, MLflowTrackingSpec
from side4video.tracking.mlflow.connection import artifact_folder, resolve_uri
from side4video.tracking.redaction import redact_text


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "http://127.0.0.1:5000",
        "https://host/mlflow",
        "sqlite:////abs/a.db",
        "sqlite+pysqlite:////abs/a.db",
        "postgresql://u:p@h/db",
        "mysql+pymysql://h/db",
    ],
)
def test_stores_that_are_the_same_everywhere(uri):
    assert MLflowTrackingSpec(uri=uri).uri == uri


@pytest.mark.parametrize(
    "uri",
    ["mlruns", "./mlruns", "/abs/mlruns", "file:///abs/mlruns", "sqlite:///a.db", "sqlite://", "http://", "databricks"],
)
def test_file_stores_and_relative_paths_are_refused(uri):
    with pytest.raises(ValidationError, match="empty for the default store"):
        MLflowTrackingSpec(uri=uri)


@pytest.mark.parametrize("uri", ["postgresql://me:hunter2@host/db", "http://me:hunter2@host:5000"])
def test_the_address_of_a_stored_document_is_read(uri):
    stored = redact_text(uri)
    assert stored.partition("://")[2].startswith(HIDDEN_LOGIN)
    assert MLflowTrackingSpec(uri=stored).uri == stored


@pytest.mark.parametrize(
    "uri",
    ["postgresql://me:hunter2@x@host/db", "postgresql://me:hunter2/x@host/db", "postgresql://me:hunter2@host:x/db"],
)
def test_an_address_that_is_read_in_two_ways_is_refused_and_not_shown(uri):
    with pytest.raises(InputError, match=r"fix: leave the password out") as refused:
        resolve_uri(uri)
    assert "hunter2" not in str(refused.value)


def test_a_service_needs_no_host():
    assert resolve_uri("postgresql://") == "postgresql://"


@pytest.mark.parametrize("name", ["", "  ", "x" * 501])
def test_experiment_names_that_mlflow_refuses(name):
    with pytest.raises(ValidationError, match="1 to 500"):
        MLflowTrackingSpec(experiment=name)


def test_default_store_lies_in_the_platforms_folder(home):
    assert resolve_uri("") == f"sqlite:///{home}/mlflow.db"
    assert artifact_folder(resolve_uri("")) == home / "artifacts"


def test_environment_names_the_store_and_is_checked_like_the_document(home, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://host:5000")
    assert resolve_uri("") == "http://host:5000"
    assert resolve_uri("sqlite:////abs/a.db") == "sqlite:////abs/a.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "mlruns")
    with pytest.raises(InputError, match=r"^MLFLOW_TRACKING_URI: `mlruns` is not"):
        resolve_uri("")


def test_a_refused_address_does_not_show_its_password():
    with pytest.raises(InputError) as caught:
        resolve_uri("ftp://me:hunter2@host")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("folder", ["", "/shared/records", "~/records", "${DATA}/records"])
def test_folders_that_are_the_same_everywhere(folder):
    assert FilesTrackingSpec(folder=folder).folder == folder


@pytest.mark.parametrize("folder", ["records", "./records", "../records"])
def test_relative_folders_are_refused(folder):
    with pytest.raises(ValidationError, match="relative"):
        FilesTrackingSpec(folder=folder)


def test_an_experiment_of_files_is_a_folder():
    with pytest.raises(ValidationError, match="name of a folder"):
        FilesTrackingSpec(experiment="../other")
