"""Tables of evaluations on other data: base, novel, harmonic mean over seeds, and parts of a figure."""

import json

import pytest
from click.testing import CliRunner

from side4video.cli.report import report
from side4video.core.errors import InputError
from side4video.core.metric import Metric
from side4video.reports.paper import TABLES
from side4video.reports.paper_report import paper_grid
from side4video.reports.transfer import transfer_grid
from side4video.tasks.recognition.metrics import harmonic_mean
from side4video.tracking.stores import store_at
from side4video.tracking.tags import DIGEST_TAG, RUN_KIND_TAG, STATE_TAG, SWEEP_KIND, SWEEP_TAG


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("SIDE4VIDEO_HOME", str(tmp_path / "home"))
    return store_at("").prepare()


def add(store, name, metrics, *, params=None, **tags):
    run_id = store.start_run(
        name=name,
        key=f"{name}-{len(store.runs(all_experiments=True))}",
        tags={STATE_TAG: "finished", **({} if RUN_KIND_TAG in tags else {DIGEST_TAG: name}), **tags},
        params=params or {},
    )
    store.log(run_id, [Metric.now(key, value, 0) for key, value in metrics.items()])
    store.finish(run_id)
    return run_id


def sweep(store, arms):
    add(store, "my-sweep", {}, **{RUN_KIND_TAG: SWEEP_KIND, SWEEP_TAG: "key"})
    for name, seed, method, metrics in arms:
        params = {"seed": seed, "method": {"kind": method}, "data": {"classes": "base"}}
        add(store, name, metrics, params=params, **{SWEEP_TAG: "key"})


def values(grid):
    names = [column.heading for column in grid.columns]
    return {row.cells[0]: dict(zip(names, row.cells, strict=True)) for row in grid.rows}


def test_arms_of_a_sweep_over_seeds(store):
    folds = {"on/hmdb51/1/top1": 0.2, "on/hmdb51/2/top1": 0.4}
    arms = [
        ("t: ours", 0, "side4video", {"eval/top1": 0.6, "on/novel/top1": 0.4, **folds}),
        ("t: ours · seed 1", 1, "side4video", {"eval/top1": 0.8, "on/novel/top1": 0.4, "on/hmdb51/1/top1": 0.4}),
        ("t: frozen", 0, "zero-shot", {"eval/top1": 0.5, "on/novel/top1": 0.0}),
    ]
    sweep(store, arms)
    rows = values(transfer_grid(store, "my-sweep", "base-to-novel"))
    assert list(rows["ours"]) == ["arm", "seeds", "base", "novel", "harmonic mean"]
    assert rows["ours"]["seeds"] == "2"
    assert rows["ours"]["base"] == "70.0 ± 14.1"
    assert rows["ours"]["novel"] == "40.0 ± 0.0"
    expected = [100 * harmonic_mean(0.6, 0.4), 100 * harmonic_mean(0.8, 0.4)]
    assert rows["ours"]["harmonic mean"].startswith(f"{sum(expected) / 2:.1f} ± ")
    assert rows["frozen"]["harmonic mean"] == "0.0"
    others = values(transfer_grid(store, "my-sweep", "zero-shot"))
    assert others == {"ours": {"arm": "ours", "seeds": "2", "hmdb51": "30.0 (1 of 2 seeds)"}}  # one seed lacks a fold


def test_a_row_of_all_numbers_of_clips(store):
    add(store, "my-sweep", {}, **{RUN_KIND_TAG: SWEEP_KIND, SWEEP_TAG: "key"})
    for kind in ("linear", "side4video"):
        for shots, seed, top1 in ((2, 0, 0.2), (2, 1, 0.4), (16, 0, 0.6), (4, 0, 0.5)):
            ending = f" · seed {seed}" if seed else ""
            params = {"seed": seed, "method": {"kind": kind}, "data": {"shots": shots}}
            name = f"few: kind={kind}, shots={shots}{ending}"
            add(store, name, {"eval/top1": top1}, params=params, **{SWEEP_TAG: "key"})
    rows = values(transfer_grid(store, "my-sweep", "few-shot"))
    assert list(rows) == ["kind=linear", "kind=side4video"]
    assert list(rows["kind=linear"]) == ["arm", "seeds", "2 clips", "4 clips", "16 clips"]
    assert rows["kind=linear"]["2 clips"] == "30.0 ± 14.1"
    assert rows["kind=linear"]["16 clips"] == "60.0 (1 of 2 seeds)"


def test_a_mean_has_all_parts_in_each_run(store):
    folds = [{"on/hmdb51/1/top1": 0.2, "on/hmdb51/2/top1": 0.4}, {"on/hmdb51/1/top1": 0.4}]
    arms = [
        (f"t: ours · seed {seed}", seed, "side4video", {"eval/top1": 0.6, **each}) for seed, each in enumerate(folds)
    ]
    sweep(store, arms)
    grid = transfer_grid(store, "my-sweep", "zero-shot")
    assert "hmdb51 is the mean of the parts 1, 2. Without all: t: ours · seed 1 (1)." in grid.notes


def test_a_whole_and_its_parts_are_two_columns(store):
    metrics = {"eval/top1": 0.6, "on/other/top1": 0.9, "on/other/1/top1": 0.1, "on/other/2/top1": 0.2}
    sweep(store, [("t: ours", 0, "side4video", metrics)])
    row = values(transfer_grid(store, "my-sweep", "zero-shot"))["ours"]
    assert (row["other"], row["other/*"]) == ("90.0", "15.0")  # not 40.0, the mean of the three


def test_a_figure_of_some_seeds_says_so(store):
    arms = [(f"t: ours · seed {seed}", seed, "side4video", {"eval/top1": 0.6}) for seed in range(3)]
    arms[1] = (*arms[1][:3], {"eval/top1": 0.6, "on/novel/top1": 0.4})
    sweep(store, arms)
    row = values(transfer_grid(store, "my-sweep", "base-to-novel"))["ours"]
    assert row["seeds"] == "3"
    assert row["base"] == "60.0 ± 0.0"
    assert row["novel"] == "40.0 (1 of 3 seeds)"
    assert row["harmonic mean"] == "48.0 (1 of 3 seeds)"


@pytest.mark.parametrize(
    ("field", "value", "found"),
    [
        ("dataset_fingerprint", "bbbb", "data aaaa and bbbb"),
        ("trained_share", 0.5, "trained share 1 and 0.5"),
        ("split", "val", "split test and val"),
        ("views", 12, "views 1 and 12"),
        ("dataset_fingerprint", "aaaa+all, 4 shots, seed 1", "data aaaa and aaaa+all"),
        ("weights", "the best epoch", ""),
    ],
)
def test_arms_that_were_evaluated_on_unlike_things(store, field, value, found):
    metrics = {"eval/top1": 0.6, "on/k600/top1": 0.4}
    sweep(store, [(f"t: {name}", 0, name, metrics) for name in ("one", "two")])
    document = {"dataset_fingerprint": "aaaa", "split": "test", "trained_share": 1.0, "views": 1, "weights": ""}
    for run in store.runs(all_experiments=True, with_tags=(DIGEST_TAG,)):
        changed = {field: value} if run.name == "t: two" else {}
        store.log_json(run.run_id, {**document, **changed}, "evaluations/k600.json")
    if not found:
        assert set(values(transfer_grid(store, "my-sweep", "zero-shot"))) == {"one", "two"}
        return
    with pytest.raises(InputError) as caught:
        transfer_grid(store, "my-sweep", "zero-shot")
    assert str(caught.value).startswith("on/k600: t: one and t: two were evaluated on unlike things: ")
    assert found in str(caught.value)


def test_a_sweep_that_was_not_evaluated_elsewhere(store):
    sweep(store, [("t: ours", 0, "side4video", {"eval/top1": 0.6})])
    fixes = {
        "base-to-novel": "fix: side4video evaluate my-sweep --set data.classes=novel",
        "zero-shot": "fix: side4video evaluate my-sweep --on FILE",
        "few-shot": "fix: grid: {data.shots: [2, 4, 8, 16]}",
    }
    for form, fix in fixes.items():
        with pytest.raises(InputError) as caught:
            transfer_grid(store, "my-sweep", form)
        assert fix in str(caught.value)


def test_no_such_sweep(store):
    with pytest.raises(InputError, match="--sweep: nosuch is no sweep of this store"):
        transfer_grid(store, "nosuch", "zero-shot")


def test_our_figures_beside_the_published_ones(store):
    document = {"data": {"classes": "base"}, "task": {"kind": "recognition"}}
    for seed, novel in ((0, 0.5), (1, 0.6)):
        metrics = {"eval/top1": 0.7, "on/novel/top1": novel, "on/novel/harmonic_mean": harmonic_mean(0.7, novel)}
        add(store, "base-to-novel-hmdb51-side4video-vitb16", metrics, params={**document, "seed": seed})
    grid = paper_grid(TABLES["base-to-novel"], store)
    (row,) = [row for row in grid.rows if row.group == "HMDB51" and row.cells[0] == "Side4Video with texts"]
    assert "measured" in row.cells
    assert "55.0 ± 7.1" in row.cells
    assert row.is_own


def test_folds_are_averaged(store):
    metrics = {f"on/hmdb51/{fold}/top1": value for fold, value in ((1, 0.4), (2, 0.5), (3, 0.6))}
    add(store, "zero-shot-k400-aim-vitb16", {"eval/top1": 0.8, **metrics}, params={"seed": 0})
    grid = paper_grid(TABLES["zero-shot"], store)
    (row,) = [row for row in grid.rows if row.cells[0] == "AIM"]
    assert "50.0 ± 10.0" in row.cells
    assert "-0.3" in row.cells  # less the published 50.3


def test_a_seed_with_fewer_folds_is_left_out(store):
    for seed, folds in ((0, {1: 0.4, 2: 0.5}), (1, {1: 0.9})):
        metrics = {f"on/hmdb51/{fold}/top1": value for fold, value in folds.items()}
        params = {"seed": seed}
        add(store, "zero-shot-k400-aim-vitb16", {"eval/top1": 0.8, **metrics}, params=params)
    grid = paper_grid(TABLES["zero-shot"], store)
    (row,) = [row for row in grid.rows if row.cells[0] == "AIM"]
    assert any(cell.startswith("45.0") for cell in row.cells)


def test_the_commands_answer_as_json(store):
    for name in ("zero-shot", "base-to-novel", "few-shot"):
        done = CliRunner().invoke(report, [name, "--json"], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        rows = json.loads(done.stdout)["rows"]
        assert sum("quoted" in row.values() for row in rows) >= 5
