"""An empty store for each test that asks for one, and one finished run for all tests of trained models."""

import shutil

import pytest


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory):
    """An SQLite file with MLflow's tables and nothing of ours."""
    from side4video.tracking.mlflow.connection import connect

    file = tmp_path_factory.mktemp("template") / "mlflow.db"
    connect(f"sqlite:///{file}")
    return file


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The platform's folder, empty, with nothing of the user's environment."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("SIDE4VIDEO_HOME", str(folder))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return folder


@pytest.fixture
def store(home, empty_database):
    """The default store."""
    from side4video.tracking.mlflow.store import MLflowStore

    shutil.copyfile(empty_database, home / "mlflow.db")
    return MLflowStore()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run of the tiny experiment, in a store of its own."""
    from side4video.core.progress import SILENT
    from side4video.runs.launch import launch
    from tiny import tiny

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIDE4VIDEO_HOME", str(tmp_path_factory.mktemp("home")))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        spec = tiny(name="exported", data={"views": {"clips": 2, "crops": 3}})
        yield launch({"tiny": spec}, progress=SILENT)["tiny"]
