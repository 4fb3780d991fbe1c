"""Views of a sweep that are ready to be opened: axes, columns, order, and the filter that unfolds the arms."""

import json

import pytest

from side4video.core.metric import Metric
from side4video.tracking.mlflow.compat import VIEW_TAG
from side4video.tracking.mlflow.saved_views import MAX_PARAMETERS, as_tag, runs_view, sweep_view, varying
from side4video.tracking.sweep_logger import children_of
from side4video.tracking.tags import SWEEP_TAG

LIMIT = 5000
"""Characters of an experiment's tag that every store takes."""


def test_what_is_the_same_in_all_arms_gets_no_axis():
    arms = [
        {"arm/dim": "64", "arm/seed": "0", "arm/layers": "1", "method.dim": "64"},
        {"arm/dim": "64", "arm/seed": "0", "arm/layers": "2", "method.dim": "128"},
        {"arm/dim": "64", "arm/seed": "0"},
    ]
    assert varying(arms) == ["arm/layers"]
    assert varying([]) == []
    many = [{f"arm/{n}": str(k) for n in range(40)} for k in range(2)]
    assert len(varying(many)) == MAX_PARAMETERS


def test_the_axes_end_in_what_is_compared():
    view = sweep_view("f", parameters=["arm/layers"], metrics=["memory/peak_gib", "eval/top1"], uuid="u")
    (chart,) = view["compareRunCharts"]
    assert (chart["type"], chart["selectedParams"]) == ("PARALLEL", ["arm/layers"])
    assert chart["selectedMetrics"] == ["memory/peak_gib", "eval/top1"]
    assert chart["metricSectionId"] == view["compareRunSections"][0]["uuid"]
    assert (view["orderByKey"], view["orderByAsc"]) == ("metrics.`eval/top1`", False)
    assert view["searchFilter"] == "f"
    assert {"params.`arm/layers`", "metrics.`memory/peak_gib`"} <= set(view["selectedColumns"])


def test_a_view_fits_into_a_tag():
    names = [f"arm/{'x' * 40}{n}" for n in range(MAX_PARAMETERS)]
    filter = "f" * 200  # noqa: A001
    assert len(as_tag(sweep_view(filter, parameters=names, metrics=["a" * 40, "b" * 40], uuid="u" * 32))) < LIMIT
    assert len(as_tag(runs_view())) < LIMIT


@pytest.fixture
def sweep(store):
    """A sweep of two arms in the store, and another one's arm."""
    parent = store.start_run(name="s", key="sweep/k", tags={SWEEP_TAG: "k"})
    for layers, key, of in (("1", "a", "k"), ("2", "b", "k"), ("3", "c", "other")):
        run = store.start_run(
            name=key,
            key=key,
            tags={SWEEP_TAG: of, "side4video.digest": key},
            params={"arm/layers": layers, "arm/seed": "0"},
            parent=parent,
        )
        store.log(run, [Metric("eval/top1", 0.5, 1, 1), Metric("plan/peak_memory_gib", 0.1, 1, 1)])
    return store


def saved(store, name):
    tags = store._client.get_experiment(store.experiment_id).tags
    return json.loads(tags[VIEW_TAG + name])


def test_the_filter_matches_the_arms_of_the_sweep_alone(sweep):
    sweep.save_sweep_view("k", list(children_of(sweep, "k").values()), metric="eval/top1")
    found = sweep.runs(saved(sweep, "k")["searchFilter"])
    assert {run.name for run in found} == {"a", "b"}


def test_memory_is_measured_if_all_arms_have_it_else_planned(sweep):
    arms = list(children_of(sweep, "k").values())
    assert sweep.save_sweep_view("k", arms, metric="eval/top1") == ["plan/peak_memory_gib", "eval/top1"]
    sweep.log(arms[0].run_id, [Metric("memory/peak_gib", 0.2, 1, 1)])
    arms = list(children_of(sweep, "k").values())
    assert sweep.save_sweep_view("k", arms, metric="eval/top1")[0] == "plan/peak_memory_gib"
    sweep.log(arms[1].run_id, [Metric("memory/peak_gib", 0.2, 1, 1)])
    arms = list(children_of(sweep, "k").values())
    assert sweep.save_sweep_view("k", arms, metric="eval/top1")[0] == "memory/peak_gib"
    chart = saved(sweep, "k")["compareRunCharts"][0]
    assert (chart["selectedParams"], chart["selectedMetrics"]) == (["arm/layers"], ["memory/peak_gib", "eval/top1"])
