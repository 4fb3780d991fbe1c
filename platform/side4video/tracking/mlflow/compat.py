"""Every name of MLflow that is no part of its documented API, and what breaks without it.

A newer MLflow may rename any of them. `tests/unit/tracking/mlflow/test_compat.py` compares each with the installed
MLflow; `pyproject.toml` bounds the version. Importing this module does not import mlflow.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from side4video.core.errors import Side4VideoError

# ---- tags that MLflow's pages read

PARENT_TAG = "mlflow.parentRunId"
"""The run that a run belongs to. Without it, arms are not shown below their sweep."""
DESCRIPTION_TAG = "mlflow.note.content"
"""The description of a run or an experiment. Without it, pages show none."""
KIND_TAG, KIND = "mlflow.experimentKind", "custom_model_development"
"""The purpose of an experiment. Without it, pages ask for it."""
VIEW_TAG = "mlflow.sharedViewState."
"""Start of the name of the tag that holds a saved view; the view's name follows. Without it, links open no view."""
COMMIT_TAG = "mlflow.source.git.commit"
"""The commit. Without it, a run's page shows no version."""
SOURCE_TAG, SOURCE_TYPE_TAG, LOCAL_SOURCE = "mlflow.source.name", "mlflow.source.type", "LOCAL"
"""The command of a run and where it ran. Without them, a run's page shows no source."""
MODEL_VERSIONS_TAG = "mlflow.modelVersions"
"""The registered versions of a logged model, as JSON. Without it, a model's page does not link to its version."""

# ---- routes and query keys of MLflow's pages, behind the `#` of an address; without them, links open the wrong page

EXPERIMENT_ROUTE, RUNS_ROUTE, COMPARE_ROUTE = "experiments", "runs", "compare-runs"
WORKFLOW = "workflowType=machine_learning"
"""Selects the pages for training runs. Otherwise they may be those for language models, whichever was seen last."""
FILTER, ORDER_BY, ASCENDING = "searchFilter", "orderByKey", "orderByAsc"
"""Keys of a list of runs, in its address and in a saved view."""
COMPARE_MODE, CHARTS, VIEW = "compareRunsMode", "CHART", "viewStateShareKey"
"""The key and value that show charts instead of the table, and the key of a saved view's name."""
SELECTED_METRICS = "selectedMetrics"
"""The metrics with an axis, in the address of a comparison and in a chart of a saved view."""

RUNS_PAGE_STATE: Mapping[str, Any] = {
    "startTime": "ALL",
    "lifecycleFilter": "Active",
    "datasetsFilter": [],
    "modelVersionFilter": "All Runs",
    "runsHiddenMode": "SHOW_ALL",
    "isAccordionReordered": False,
    "autoRefreshEnabled": False,
}
"""The fields of a saved view that are the same in all of ours. Without them, MLflow does not open the view."""

# ---- Python

DATABASE_LOGGER = "mlflow.store.db.utils"
"""Logs failures of a database that also raise exceptions. Without the name, they appear on the terminal."""


def default_allowed_hosts() -> list[str]:
    """The host names that `mlflow server` accepts by default: this machine and private networks.

    Setting further names replaces the default, so without this a server for several machines would refuse this machine.

    Raises:
        Side4VideoError: If the installed MLflow does not have the function.
    """
    path = "mlflow.server.security_utils"
    try:
        return list(import_module(path).get_default_allowed_hosts())
    except (ImportError, AttributeError) as error:
        import mlflow

        raise Side4VideoError(
            f"MLflow {mlflow.__version__} has no {path}.get_default_allowed_hosts, which side4video needs to let other "
            "machines use the server · fix: install the version of MLflow in constraints.txt"
        ) from error


def newest_revision() -> str:
    """The revision of the tables that the installed MLflow reads and writes."""
    return str(import_module("mlflow.store.db.utils")._get_latest_schema_revision())


def known_revisions() -> frozenset[str]:
    """The revisions of tables that the installed MLflow knows: its own and all older ones."""
    utilities = import_module("mlflow.store.db.utils")
    script = import_module("alembic.script").ScriptDirectory.from_config(utilities._get_alembic_config(db_url=""))
    return frozenset(each.revision for each in script.walk_revisions())


def make_tables(uri: str, artifacts: str) -> None:
    """Make all tables of a new database, and close it again."""
    store = import_module("mlflow.store.tracking.sqlalchemy_store").SqlAlchemyStore(uri, artifacts)
    store.engine.dispose()
