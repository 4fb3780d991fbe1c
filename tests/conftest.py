"""What every test gets: quick denormals, one thread, a home of its own."""

import gc
import shutil
import signal
from pathlib import Path

import pytest


def pytest_collection_finish():
    """What is imported stays: the garbage collector need not look through millions of objects again and again."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish():
    """Extensions complain at the end of what is left."""
    gc.unfreeze()


@pytest.fixture(autouse=True, scope="session")
def _quick_numbers():
    import torch

    # Denormals cost a CPU a hundred times a normal number's time.
    torch.set_flush_denormal(True)
    # Toys are too small to share out: on a busy machine threads would mostly wait for each other.
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _heeds_interrupts():
    """Ctrl-C reaches this process and those that tests start: one of several test processes is begun deaf to it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def _own_home(tmp_path_factory):
    """Nothing a test makes lands in the user's home, and nothing of the user's reaches a test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIDE4VIDEO_HOME", str(tmp_path_factory.mktemp("home")))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.delenv("RAY_ADDRESS", raising=False)
        yield


@pytest.fixture(autouse=True, scope="session")
def _quick_stores(tmp_path_factory):
    """A new SQLite store is a copy of an empty one: MLflow's migrations take a second of a core each time.

    Processes that a test starts make theirs as users' do.
    """
    from side4video.tracking.mlflow.connection import sqlite_path, store_lock
    from side4video.tracking.mlflow.store import MLflowStore

    template = tmp_path_factory.mktemp("store") / "mlflow.db"
    make = MLflowStore._find_or_make_experiment

    def make_quickly(store):
        database = sqlite_path(store.uri)
        if database and Path(database) != template and not Path(database).exists():
            with store_lock(store.uri):
                if not template.exists():
                    MLflowStore(f"sqlite:///{template}")._client.search_experiments()
                if not Path(database).exists():
                    shutil.copyfile(template, database)
        return make(store)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MLflowStore, "_find_or_make_experiment", make_quickly)
        yield
