"""Saved views of MLflow's pages, with the charts, columns and order that a sweep needs.

MLflow's "share" stores a view in a tag of the experiment and opens it by a link. By default its charts hide arms below
their sweep, and its parallel coordinates show the first parameters of the alphabet.
"""

import json
from collections.abc import Sequence
from typing import Any

from side4video.tasks.metrics import MAIN_METRICS
from side4video.tracking.mlflow import compat

RUNS_VIEW = "side4video-runs"
"""The name of the view of all runs."""

PARAMETERS = ("method.kind", "method.layers", "method.dim")
METRICS = (
    MAIN_METRICS[0],
    MAIN_METRICS[0].replace("eval/", "best/"),
    "memory/peak_gib",
    "model/trainable_parameters",
    "time/mean_clips_per_s",
)
"""Columns of the view of all runs."""

COLUMN_PIXELS = 135
"""Column width in which metric names are readable."""

CHART_PIXELS = 420
"""Height of the parallel coordinates."""

MAX_PARAMETERS = 8
"""Maximum number of axes for swept parameters; more are not readable."""


def arms_filter(sweep: str, tag: str) -> str:
    """An MLflow filter for the arms of a sweep. Parents do not match it, so MLflow lists the arms themselves."""
    return f"params.`arm/seed` != '' and tags.`{tag}` = '{sweep}'"


def varying(parameters: Sequence[dict[str, str]]) -> list[str]:
    """The swept parameters (`arm/*`) that differ between arms, in the order of their first arm."""
    names = dict.fromkeys(name for each in parameters for name in each if name.startswith("arm/"))
    return [name for name in names if len({each.get(name) for each in parameters}) > 1][:MAX_PARAMETERS]


def sweep_view(filter: str, *, parameters: Sequence[str], metrics: Sequence[str], uuid: str) -> dict[str, Any]:  # noqa: A002
    """The view of a sweep's arms: parallel coordinates, and a table of the same columns.

    The last metric colours the lines and orders the runs, the highest first; `uuid` identifies the charts of this view.
    """
    section = f"{uuid}-section"
    columns = [*(f"params.`{name}`" for name in parameters), *(f"metrics.`{name}`" for name in metrics)]
    chart = {
        "type": "PARALLEL",
        "uuid": f"{uuid}-parallel",
        "metricSectionId": section,
        "deleted": False,
        "isGenerated": False,
        "selectedParams": list(parameters),
        compat.SELECTED_METRICS: list(metrics),
        "showAllRuns": True,
    }
    chart_section = {"uuid": section, "name": "Arms", "display": True, "columns": 1, "cardHeight": CHART_PIXELS}
    return {
        **_page(filter, order_by=f"metrics.`{metrics[-1]}`", columns=["attributes.`Duration`", *columns]),
        "compareRunCharts": [chart],
        "compareRunSections": [{**chart_section, "isReordered": False, "deleted": False, "isGenerated": False}],
    }


def runs_view() -> dict[str, Any]:
    """The view of all runs of an experiment, the newest first, with arms below their sweep."""
    columns = [*(f"params.`{name}`" for name in PARAMETERS), *(f"metrics.`{name}`" for name in METRICS)]
    return _page("", order_by="attributes.start_time", columns=["attributes.`Duration`", *columns])


def _page(filter: str, *, order_by: str, columns: Sequence[str]) -> dict[str, Any]:  # noqa: A002
    return {
        **compat.RUNS_PAGE_STATE,
        compat.FILTER: filter,
        compat.ORDER_BY: order_by,
        compat.ASCENDING: False,
        "selectedColumns": list(columns),
        "columnOrder": list(columns),
        "columnWidths": dict.fromkeys(columns, COLUMN_PIXELS),
    }


def as_tag(view: dict[str, Any]) -> str:
    """The text of the tag."""
    return json.dumps(view, separators=(",", ":"), ensure_ascii=False)
