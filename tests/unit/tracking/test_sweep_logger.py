"""A sweep's own run: it has metrics, the table and a description."""

import pytest

from side4video.core.metric import Metric
from side4video.reports.arms import SUMMARY, best_metrics
from side4video.tracking.file_store import FileStore
from side4video.tracking.mlflow.compat import DESCRIPTION_TAG
from side4video.tracking.sweep_logger import COMPARISON, SweepLogger
from side4video.tracking.tags import DIGEST_TAG, STATE_TAG, SWEEP_TAG

FIGURES = {"arms": 2.0, "seconds": 12.5, "predicted_speedup": 1.5}
BEST = {"eval/top1": 0.75, "best/top1": 0.8, "memory/peak_gib": 0.25}


@pytest.fixture(params=["mlflow", "files"])
def any_store(request, tmp_path):
    if request.param == "files":
        return FileStore(tmp_path / "records").prepare()
    return request.getfixturevalue("store").prepare()


def opened(store):
    parent = store.start_run(name="s", key="sweep/k", tags={SWEEP_TAG: "other"}, reopen_finished=True)
    tags = {SWEEP_TAG: "k", DIGEST_TAG: "d"}
    arm = store.start_run(name="arm", key="k/arm", tags=tags, params={"arm/dim": 64}, parent=parent)
    store.log(arm, [Metric.now(name, value, 0) for name, value in BEST.items()])
    return SweepLogger(store, parent, "k")


def close(logger, folder, *, best=BEST):
    table = folder / COMPARISON
    table.write_text("# s\n\n| arm | top-1 (%) |\n| --- | ---: |\n| wide | 75.0 |\n")
    logger.close(is_complete=True, artifacts=[table], figures=FIGURES, metric="eval/top1", best=best)
    logger.store.flush(logger.parent)
    return logger.store.get(logger.parent)


def has_the_result(run):
    expected = {**BEST, "sweep/arms": 2.0, "sweep/seconds": 12.5}
    return expected.items() <= run.metrics.items()


def test_the_run_of_a_sweep_has_metrics_the_table_and_a_description(any_store, tmp_path):
    logger = opened(any_store)
    run = close(logger, tmp_path)
    assert has_the_result(run)
    assert "| wide | 75.0 |" in run.tags[DESCRIPTION_TAG]
    assert "| wide | 75.0 |" in any_store.download(run.run_id, COMPARISON, tmp_path / "out").read_text()
    assert run.tags[STATE_TAG] == "finished"


def test_twin_that_tells_only_tags_has_no_metrics(any_store, tmp_path):
    logger = opened(any_store)
    any_store.set_tags(logger.parent, {name: str(value) for name, value in FIGURES.items()})
    assert not has_the_result(any_store.get(logger.parent))


def test_a_sweep_that_continues_has_its_new_values(any_store, tmp_path):
    close(opened(any_store), tmp_path)
    run = close(opened(any_store), tmp_path, best={"eval/top1": 0.9})
    assert run.metrics["eval/top1"] == 0.9
    assert [each.value for each in any_store.history(run.run_id, "eval/top1")] == [0.75, 0.9]


def test_the_best_arm_gives_the_metrics(tmp_path):
    from side4video.reports.arms import ArmResult, SeedResult

    def row(label, *values, state="finished"):
        runs = [
            SeedResult(f"{label}{seed}", seed, state, {"eval/top1": value, "train/loss": 1.0, "eval/loss": 1 - value})
            for seed, value in enumerate(values)
        ]
        return ArmResult("", label, {}, tuple(runs))

    rows = [row("good", 0.5, 0.7), row("poor", 0.2), row("cut short", 0.9, state="stopped")]
    assert best_metrics(rows, metric="eval/top1", mode="max") == pytest.approx({"eval/top1": 0.6, "eval/loss": 0.4})
    assert best_metrics(rows, metric="eval/loss", mode="max") == pytest.approx({"eval/top1": 0.2, "eval/loss": 0.8})
    assert best_metrics(rows[2:], metric="eval/top1", mode="max") == {}
    assert all(name.endswith("/") for name in SUMMARY)
