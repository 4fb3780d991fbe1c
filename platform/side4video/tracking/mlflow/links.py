"""Addresses of the views in MLflow's pages that answer the question at hand.

MLflow opens on a list of last values. These links open the runs sorted by the number that matters, or several
runs side by side with their axes chosen. The query lies behind the `#`, as MLflow's own pages write it.
"""

import json
from collections.abc import Sequence
from urllib.parse import quote

WORKFLOW = "workflowType=machine_learning"
"""MLflow's pages are about language models, or about training runs, whichever was seen last."""


def experiment_link(
    base: str,
    experiment_id: str,
    order_by: str = "",
    *,
    filter: str = "",  # noqa: A002
    chart: bool = False,
    view: str = "",
) -> str:
    """The runs of an experiment, the best first.

    Args:
        base: the server's address, such as `http://127.0.0.1:5000`.
        experiment_id: the experiment's id.
        order_by: a metric; the highest value comes first. Empty: the newest run comes first.
        filter: an MLflow filter. One that only child runs match shows them without their parents.
        chart: whether charts are shown instead of the table.
        view: the name of a saved view (`views`); it brings a filter and an order of its own, so leave these out.
    """
    parts = {
        "searchFilter": filter,
        "orderByKey": f"metrics.`{order_by}`" if order_by else "",
        "orderByAsc": "false" if order_by else "",
        "compareRunsMode": "CHART" if chart else "",
        "viewStateShareKey": view,
    }
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in parts.items() if value)
    return f"{base.rstrip('/')}/#/experiments/{experiment_id}/runs?" + (f"{query}&" if query else "") + WORKFLOW


def run_link(base: str, experiment_id: str, run_id: str) -> str:
    """The page of one run."""
    return f"{base.rstrip('/')}/#/experiments/{experiment_id}/runs/{run_id}?{WORKFLOW}"


def compare_link(base: str, run_ids: Sequence[str], experiment_id: str, metrics: Sequence[str] = ()) -> str:
    """Several runs side by side, with parallel coordinates that end in these metrics.

    Args:
        base: the server's address.
        run_ids: the runs.
        experiment_id: the experiment that they belong to.
        metrics: the metrics that get an axis.
    """
    lists = {"runs": run_ids, "experiments": [experiment_id], "metrics": metrics, "selectedMetrics": metrics}
    texts = {name: json.dumps(list(values), separators=(",", ":")) for name, values in lists.items() if values}
    query = "&".join(f"{name}={quote(text, safe='')}" for name, text in texts.items())
    return f"{base.rstrip('/')}/#/compare-runs?{query}&{WORKFLOW}"
