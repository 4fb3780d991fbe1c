from side4video.tracking.mlflow.links import compare_link, experiment_link, run_link


def test_experiment_link_sorts_by_the_metric_best_first():
    assert experiment_link("http://127.0.0.1:5000/", "6", "val/acc") == (
        "http://127.0.0.1:5000/#/experiments/6/runs?orderByKey=metrics.%60val%2Facc%60&orderByAsc=false&workflowType=machine_learning"
    )


def test_experiment_link_with_charts():
    link = experiment_link("http://h:1", "6", "val/acc", chart=True)
    assert link == (
        "http://h:1/#/experiments/6/runs?orderByKey=metrics.%60val%2Facc%60&orderByAsc=false&compareRunsMode=CHART&workflowType=machine_learning"
    )


def test_plain_links_only_say_what_the_pages_are_about():
    assert experiment_link("http://h:1", "6") == "http://h:1/#/experiments/6/runs?workflowType=machine_learning"
    assert run_link("http://h:1", "6", "abc") == "http://h:1/#/experiments/6/runs/abc?workflowType=machine_learning"


def test_compare_link_names_runs_experiment_and_axes():
    assert compare_link("http://h:1", ["id1", "id2"], "6", ["val/acc"]) == (
        "http://h:1/#/compare-runs?runs=%5B%22id1%22%2C%22id2%22%5D&experiments=%5B%226%22%5D"
        "&metrics=%5B%22val%2Facc%22%5D&selectedMetrics=%5B%22val%2Facc%22%5D&workflowType=machine_learning"
    )


def test_a_saved_view_is_named():
    link = experiment_link("", "6", chart=True, view="abc")
    assert link == "/#/experiments/6/runs?compareRunsMode=CHART&viewStateShareKey=abc&workflowType=machine_learning"
