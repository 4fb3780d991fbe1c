"""Views of MLflow's pages that are ready to be opened: the axes, the columns and the order that a sweep needs.

MLflow's own "share" keeps a view in a tag of the experiment, and opens it by a link. Without one its charts fold the
arms into their sweep, and its parallel coordinates begin with whatever comes first in the alphabet.
"""

import json
from collections.abc import Sequence
from typing import Any

from side4video.tasks.metrics import MAIN_METRICS

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
"""So wide that the names of figures can be read."""

CHART_PIXELS = 420
"""The height of the parallel coordinates."""

MAX_PARAMETERS = 8
"""Axes of what was swept; more cannot be read."""


def arms_filter(sweep: str, tag: str) -> str:
    """The filter that only the arms of a sweep match, by the tag that names it: MLflow then shows them unfolded."""
    return f"params.`arm/seed` != '' and tags.`{tag}` = '{sweep}'"


def varying(parameters: Sequence[dict[str, str]]) -> list[str]:
    """The swept parameters (`arm/*`) that are not the same in all arms, in the order of their first arm."""
    names = dict.fromkeys(name for each in parameters for name in each if name.startswith("arm/"))
    return [name for name in names if len({each.get(name) for each in parameters}) > 1][:MAX_PARAMETERS]


def sweep_view(filter: str, *, parameters: Sequence[str], metrics: Sequence[str], uuid: str) -> dict[str, Any]:  # noqa: A002
    """The state of a page that shows a sweep's arms: parallel coordinates, and a table of the same columns.

    Args:
        filter: What only the arms match.
        parameters: What was swept.
        metrics: What was measured; the last one colours the lines and orders the runs, the highest first.
        uuid: A name for the charts of this view.
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
        "selectedMetrics": list(metrics),
        "showAllRuns": True,
    }
    about = {"uuid": section, "name": "Arms", "display": True, "columns": 1, "cardHeight": CHART_PIXELS}
    return {
        **_page(filter, order_by=f"metrics.`{metrics[-1]}`", columns=["attributes.`Duration`", *columns]),
        "compareRunCharts": [chart],
        "compareRunSections": [{**about, "isReordered": False, "deleted": False, "isGenerated": False}],
    }


def runs_view() -> dict[str, Any]:
    """The state of a page that shows all runs of an experiment, the newest first, arms folded below their sweep."""
    columns = [*(f"params.`{name}`" for name in PARAMETERS), *(f"metrics.`{name}`" for name in METRICS)]
    return _page("", order_by="attributes.start_time", columns=["attributes.`Duration`", *columns])


def _page(filter: str, *, order_by: str, columns: Sequence[str]) -> dict[str, Any]:  # noqa: A002
    return {
        "searchFilter": filter,
        "orderByKey": order_by,
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": list(columns),
        "columnOrder": list(columns),
        "columnWidths": dict.fromkeys(columns, COLUMN_PIXELS),
        "runsHiddenMode": "SHOW_ALL",
        "isAccordionReordered": False,
        "autoRefreshEnabled": False,
    }


def as_tag(view: dict[str, Any]) -> str:
    """As the tag holds it."""
    return json.dumps(view, separators=(",", ":"), ensure_ascii=False)
