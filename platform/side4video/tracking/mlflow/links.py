"""Links into MLflow's pages: runs sorted by a metric, one run, or several runs side by side.

The query is behind the `#`, as in MLflow's own links.
"""

import json
from collections.abc import Sequence
from urllib.parse import quote

from side4video.tracking.mlflow import compat


def experiment_link(base: str, experiment_id: str, order_by: str = "", *, chart: bool = False, view: str = "") -> str:
    """The runs of an experiment on the server at `base`, such as `http://127.0.0.1:5000`.

    The highest value of the metric `order_by` comes first; without it, the newest run. `chart` shows charts instead of
    the table. `view` names a saved view (`saved_views`), which has its own filter and order.
    """
    parts = {
        compat.ORDER_BY: f"metrics.`{order_by}`" if order_by else "",
        compat.ASCENDING: "false" if order_by else "",
        compat.COMPARE_MODE: compat.CHARTS if chart else "",
        compat.VIEW: view,
    }
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in parts.items() if value)
    return f"{_runs_page(base, experiment_id)}?" + (f"{query}&" if query else "") + compat.WORKFLOW


def run_link(base: str, experiment_id: str, run_id: str) -> str:
    """The page of one run."""
    return f"{_runs_page(base, experiment_id)}/{run_id}?{compat.WORKFLOW}"


def compare_link(base: str, run_ids: Sequence[str], experiment_id: str, metrics: Sequence[str] = ()) -> str:
    """Several runs side by side, with parallel coordinates.

    `metrics` are those with an axis.
    """
    lists = {"runs": run_ids, "experiments": [experiment_id], "metrics": metrics, compat.SELECTED_METRICS: metrics}
    texts = {name: json.dumps(list(values), separators=(",", ":")) for name, values in lists.items() if values}
    query = "&".join(f"{name}={quote(text, safe='')}" for name, text in texts.items())
    return f"{base.rstrip('/')}/#/{compat.COMPARE_ROUTE}?{query}&{compat.WORKFLOW}"


def _runs_page(base: str, experiment_id: str) -> str:
    return f"{base.rstrip('/')}/#/{compat.EXPERIMENT_ROUTE}/{experiment_id}/{compat.RUNS_ROUTE}"
