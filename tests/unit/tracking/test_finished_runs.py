"""Which experiments have a result, in a real store: what counts as one, what does not, and how a sweep takes it."""

import itertools
from math import isnan, nan

import pytest

import sweeps
from side4video.core.metric import Metric
from side4video.tracking import finished_runs as finished_module
from side4video.tracking.finished_runs import completed_arms, correct_predictions, finished_runs, metric_history
from side4video.tracking.mlflow.compat import PARENT_TAG
from side4video.tracking.mlflow.store import MLflowStore
from side4video.tracking.pack_logger import PREDICTED, open_pack_logger
from side4video.tracking.run_store import StoredRun
from side4video.tracking.sweep_logger import children_of, open_sweep_logger, swept_by_arm, unfinished_folders
from side4video.tracking.tags import (
    CHECKPOINTS_TAG,
    DIGEST_TAG,
    FINGERPRINT_TAG,
    REUSED_TAG,
    ROWS_TAG,
    STATE_TAG,
    SWEEP_TAG,
    WEIGHTS_TAG,
)
from tiny import tiny

DATA = "fingerprint of the data"
SPEC = tiny()
NUMBERS = itertools.count()


def metric(key, value, step=0):
    return Metric(key, value, step, 1_700_000_000_000 + step)


def run_of(store, spec=SPEC, *, status="FINISHED", state="finished", key="", parent=None, tags=None, **named):
    """A run as a pack logger leaves it; `tags` win."""
    told = {
        DIGEST_TAG: spec.digest(),
        FINGERPRINT_TAG: DATA,
        WEIGHTS_TAG: spec.backbone.weights.identity(),
        STATE_TAG: state,
        **(tags or {}),
    }
    run_id = store.start_run(name=spec.name, key=key or f"run {next(NUMBERS)}", tags=told, parent=parent)
    if status != "RUNNING":
        store.finish(run_id, status)
    return run_id


def result(store, spec=SPEC, fingerprint=DATA):
    """The id of the run that is an experiment's result, or nothing."""
    found = finished_runs(store, [spec], fingerprint=fingerprint)
    assert found.keys() <= {spec.digest()}
    return found[spec.digest()].run_id if found else ""


# ---- what is a result


def test_a_finished_run_of_the_same_experiment_is_its_result(store):
    run_id = run_of(store)
    assert result(store) == run_id
    assert result(store, tiny(name="called-otherwise")) == run_id
    assert result(store, tiny(optimization={"learning_rate": 1e-5})) == ""


NO_RESULTS = {
    "other data": {"tags": {FINGERPRINT_TAG: "of other data"}},
    "other weights": {"tags": {WEIGHTS_TAG: "of others"}},
    "stopped by a scheduler": {"state": "stopped"},
    "diverged": {"state": "diverged", "status": "FAILED"},
    "failed": {"state": "failed", "status": "FAILED"},
    "interrupted": {"state": "interrupted", "status": "KILLED"},
    "running": {"state": "training", "status": "RUNNING"},
    "not yet stored whole": {"state": "finished", "status": "RUNNING"},
    "taken over itself": {"tags": {REUSED_TAG: "another run"}},
    "without a digest": {"tags": {DIGEST_TAG: ""}},
}


@pytest.mark.parametrize("case", NO_RESULTS)
def test_what_is_no_result(store, case):
    run_of(store, **NO_RESULTS[case])
    assert result(store) == ""


def test_twin_that_asks_for_the_digest_alone(store, monkeypatch):
    run_of(store, **NO_RESULTS["other weights"])
    monkeypatch.setattr(type(SPEC.backbone.weights), "identity", lambda self: "of others")
    assert result(store) != ""


def test_a_result_is_found_behind_runs_that_are_none(store):
    run_id = run_of(store)
    for case in NO_RESULTS.values():
        run_of(store, **case)
    assert result(store) == run_id


def two_results(store, monkeypatch):
    """The older and the newer of two runs; MLflow orders by the millisecond of the start."""
    ids = []
    for moment in (1_700_000_000_000_000_000, 1_700_000_001_000_000_000):
        monkeypatch.setattr("side4video.tracking.mlflow.store.time.time_ns", lambda moment=moment: moment)
        ids.append(run_of(store))
    return ids


def test_the_newest_result_counts(store, monkeypatch):
    _, newer = two_results(store, monkeypatch)
    assert result(store) == newer


def test_twin_that_takes_the_last_one_it_sees(store, monkeypatch):
    older, _ = two_results(store, monkeypatch)

    class OldestFirst(MLflowStore):
        def runs(self, *arguments, **options):
            return super().runs(*arguments, **options)[::-1]

    assert result(OldestFirst(store.uri)) == older


def test_results_of_other_projects_in_the_store_count(store):
    run_id = run_of(MLflowStore(store.uri, "another project").prepare())
    assert result(store) == run_id


def test_several_experiments_are_asked_for_at_once(store):
    others = [tiny(seed=seed) for seed in (1, 2, 3)]
    ids = {spec.digest(): run_of(store, spec) for spec in others[:2]}
    found = finished_runs(store, [SPEC, *others], fingerprint=DATA)
    assert {digest: run.run_id for digest, run in found.items()} == ids
    assert finished_runs(store, [], fingerprint=DATA) == {}


def closed(state="finished"):
    """The result of a student."""
    return {
        "state": state,
        "steps": 4,
        "steps_trained": 4,
        "metrics": {"eval/top1": 0.5},
        "trainable_parameters": 10,
        "memory": {},
        "time": {},
        "broken_clips": [],
        "backbone_fingerprint": "sha",
    }


def test_what_a_journal_writes_is_a_result(store):
    pack_logger = open_pack_logger(
        {"student": SPEC},
        plans={"student": dict.fromkeys(PREDICTED, 1.0)},
        fingerprint=DATA,
        checkpoint_folder="/nowhere",
    )
    assert result(store) == ""
    pack_logger.close("student", closed(), None)
    assert result(store) == pack_logger.run_ids["student"]


# ---- what a run measured


def test_a_curve_pairs_epochs_and_values_by_step(store):
    run_id = run_of(store)
    epochs = [metric("eval/epoch", epoch, step) for step, epoch in ((9, 2.0), (4, 0.0), (6, 1.0), (20, 5.0))]
    values = [metric("eval/top1", value, step) for step, value in ((6, 0.25), (9, 0.75), (4, 0.5), (30, 1.0))]
    store.log(run_id, [*values, *epochs])
    assert [(each.epoch, each.metrics) for each in metric_history(store, run_id, "eval/top1")] == [
        (0, {"eval/top1": 0.5}),
        (1, {"eval/top1": 0.25}),
        (2, {"eval/top1": 0.75}),
    ]


def test_twin_that_pairs_them_in_their_order(store):
    """As many epochs as values do not mean that they belong together."""
    run_id = run_of(store)
    store.log(run_id, [metric("eval/epoch", 1.0, 6), metric("eval/top1", 0.5, 4)])
    paired = zip(store.history(run_id, "eval/epoch"), store.history(run_id, "eval/top1"), strict=True)
    assert len(list(paired)) == 1
    assert metric_history(store, run_id, "eval/top1") == []


def test_a_run_that_was_never_evaluated_has_no_curve(store):
    assert metric_history(store, run_of(store), "eval/top1") == []


def test_a_value_that_is_no_number_stays_one(store):
    run_id = run_of(store)
    store.log(run_id, [metric("eval/epoch", 0.0), metric("eval/loss", nan)])
    assert isnan(metric_history(store, run_id, "eval/loss")[0].metrics["eval/loss"])


def test_predictions_say_which_videos_were_right():
    text = "index,label,prediction,correct,score,label_score\n7,up,up,1,0.9,0.9\n3,down,up,0,0.6,0.2\n5,,up,,0.5,\n"
    assert correct_predictions(text) == {7: True, 3: False}
    assert correct_predictions("index,label,prediction,correct,score,label_score\n") == {}


def test_predictions_are_read_as_they_are_written(tmp_path):
    import numpy as np

    from side4video.tasks.recognition.class_scores import ClassEvaluation

    scores = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]])
    evaluation = ClassEvaluation(
        classes=("left", "right"),
        metrics={},
        class_metrics={},
        loss=0.0,
        views=1,
        indices_V=np.array([4, 2, 9]),
        labels_V=np.array([0, 1, 1]),
        scores_VC=scores,
    )
    evaluation.write(tmp_path)
    assert correct_predictions((tmp_path / "predictions.csv").read_text()) == {4: True, 2: False, 9: True}


# ---- a sweep's own runs


@pytest.fixture
def sweep():
    """Two arms, of which one stands in two rows."""
    arms = [{"label": "deep"}, {"label": "flat", "overrides": {"method.layers": 1}}, {"label": "deep again"}]
    return sweeps.make_sweep("a-sweep", tables={"t": {"arms": arms}})


@pytest.fixture
def record(store, sweep):
    return open_sweep_logger(sweep, key="the key", plan={})


def source_of(store, arm):
    """A whole run of an arm's experiment, by somebody else."""
    tags = {
        SWEEP_TAG: "another sweep",
        CHECKPOINTS_TAG: "/their/place",
        "method": "side4video",
        "mlflow.note.content": "mine",
    }
    run_id = run_of(store, arm.experiment, tags=tags, status="RUNNING")
    for epoch, value in enumerate((0.25, 0.75, 0.5)):
        step = 2 * epoch + 1
        store.log(run_id, [metric("eval/top1", value, step), metric("eval/epoch", epoch, step)])
    store.log(run_id, [metric("best/top1", 0.75, 5), metric("memory/peak_gib", 0.5, 5), metric("eval/loss", nan, 5)])
    store.log_text(run_id, "index,label\n1,up\n", "predictions.csv")
    store.log_text(run_id, "{}", "class_accuracy.json")
    store.log_text(run_id, "large", "checkpoint/weights.safetensors")
    store.finish(run_id)
    return store.get(run_id)


@pytest.fixture
def adopted(store, sweep, record):
    """A result and the run that took it over."""
    arm = sweep.arms[0]
    source = source_of(store, arm)
    record.copy_result(arm, source, swept_by_arm(sweep.arms)[arm.key])
    return source, record.children()[arm.key]


def test_a_result_is_taken_over_with_its_figures(adopted):
    source, run = adopted
    assert run.run_id != source.run_id
    same = {name: value for name, value in source.metrics.items() if value == value}
    assert {name: run.metrics[name] for name in same} == same
    assert isnan(run.metrics["eval/loss"])


def test_it_is_taken_over_with_its_curve(store, adopted):
    """A scheduler that decided by it decides alike when the sweep is begun again."""
    source, run = adopted
    assert metric_history(store, run.run_id, "eval/top1") == metric_history(store, source.run_id, "eval/top1")
    assert len(metric_history(store, run.run_id, "eval/top1")) == 3


def test_it_is_taken_over_with_predictions_and_without_weights(store, adopted, tmp_path):
    source, run = adopted
    texts = [store.download(each.run_id, "predictions.csv", tmp_path / each.run_id).read_text() for each in adopted]
    assert texts[0] == texts[1]
    assert not any(item.path == "checkpoint" for item in store._client.list_artifacts(run.run_id))
    assert source.tags[WEIGHTS_TAG] == run.tags[WEIGHTS_TAG]


def test_it_is_the_arm_of_this_sweep(sweep, record, adopted):
    source, run = adopted
    assert (run.status, run.tags[STATE_TAG]) == ("FINISHED", "finished")
    assert run.tags[REUSED_TAG] == source.run_id
    assert run.tags[SWEEP_TAG] == "the key"
    assert run.tags[PARENT_TAG] == record.parent
    assert run.tags[ROWS_TAG] == "t: deep | t: deep again"
    note = run.tags["mlflow.note.content"]
    assert note.startswith(f"Copied from [run {source.run_id[:8]}]")
    assert note.endswith("mine")
    assert run.name == sweep.arms[0].title
    assert (run.params["arm/layers"], run.params["method.layers"]) == ("2", "2")


def test_taking_over_twice_makes_one_run_while_it_is_not_whole(store, sweep, record, monkeypatch):
    """As when the command ends in the middle of it and is begun again."""
    arm = sweep.arms[0]
    source = source_of(store, arm)
    with monkeypatch.context() as patch:
        patch.setattr(MLflowStore, "log", lambda self, run_id, metrics: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            record.copy_result(arm, source, {})
    assert not completed_arms(store, "the key", [arm], fingerprint=DATA)[arm.key].is_in_sweep("the key")
    assert unfinished_folders(record.children(), [arm.key]) == {}
    record.copy_result(arm, source, {})
    assert len([run for run in store.runs() if run.tags.get(REUSED_TAG)]) == 1
    assert completed_arms(store, "the key", [arm], fingerprint=DATA)[arm.key].is_in_sweep("the key")


def test_children_are_the_newest_runs_of_each_arm(store, sweep, record, monkeypatch):
    one, other = sweep.arms
    tags = {SWEEP_TAG: "the key"}
    old, new = [], []
    for moment, ids in ((1_700_000_000, old), (1_700_000_001, new)):
        monkeypatch.setattr("side4video.tracking.mlflow.store.time.time_ns", lambda moment=moment: moment * 10**9)
        ids += [run_of(store, arm.experiment, tags=tags, parent=record.parent) for arm in (one, other)]
    run_of(store, tiny(seed=9), tags={SWEEP_TAG: "another key"})
    assert {key: run.run_id for key, run in record.children().items()} == {one.key: new[0], other.key: new[1]}
    assert children_of(store, "no such key") == {}


def test_the_sweeps_run_is_no_child_of_itself(record):
    assert record.children() == {}


# ---- where checkpoints lie


def child(state, place, *, status="FAILED", **tags):
    told = {STATE_TAG: state, **({CHECKPOINTS_TAG: place} if place else {}), **tags}
    return StoredRun("id", "name", status, {}, {}, told, "", "0", 0, 0)


CHILDREN = {
    "a": child("failed", "/one"),
    "b": child("interrupted", "/one", status="KILLED"),
    "c": child("training", "/two", status="RUNNING"),
    "finished": child("finished", "/one", status="FINISHED"),
    "stopped": child("stopped", "/one", status="FINISHED"),
    "diverged": child("diverged", "/one"),
    "not stored whole": child("finished", "/one", status="RUNNING"),
    "no place": child("failed", ""),
    "adopted by halves": child("finished", "/theirs", status="RUNNING", **{REUSED_TAG: "a run"}),
    "not missing": child("failed", "/one"),
}


def places(**options):
    missing = [*(key for key in CHILDREN if key != "not missing"), "never begun"]
    return unfinished_folders(CHILDREN, missing, **options)


def test_arms_that_were_begun_are_grouped_by_their_place():
    assert places() == {"/one": ["a", "b", "not stored whole"], "/two": ["c"]}


def test_twin_that_goes_on_with_settled_arms():
    assert "finished" in places(states=())["/one"]


# ---- what need not run


def test_a_sweeps_own_run_is_preferred_to_anybody_elses(store, sweep):
    arm = sweep.arms[0]
    own = run_of(store, arm.experiment, tags={SWEEP_TAG: "the key"})
    run_of(store, arm.experiment)
    found = completed_arms(store, "the key", sweep.arms, fingerprint=DATA)
    assert {key: (each.run_id, each.is_in_sweep("the key")) for key, each in found.items()} == {arm.key: (own, True)}


def test_anybody_elses_is_taken_where_the_sweep_has_none(store, sweep):
    ids = {arm.key: run_of(store, arm.experiment) for arm in sweep.arms}
    found = completed_arms(store, "the key", sweep.arms, fingerprint=DATA)
    assert {key: each.run_id for key, each in found.items()} == ids
    assert not any(each.is_in_sweep("the key") for each in found.values())


OWN = {"tags": {SWEEP_TAG: "the key"}}


@pytest.mark.parametrize("state", ["stopped", "diverged"])
def test_an_own_arm_that_was_stopped_or_diverged_is_settled(store, sweep, state):
    arm = sweep.arms[0]
    run_of(store, arm.experiment, state=state, status="FAILED" if state == "diverged" else "FINISHED", **OWN)
    assert completed_arms(store, "the key", sweep.arms, fingerprint=DATA)[arm.key].is_in_sweep("the key")
    assert completed_arms(store, "another key", sweep.arms, fingerprint=DATA) == {}


@pytest.mark.parametrize(
    ("state", "status"),
    [("failed", "FAILED"), ("interrupted", "KILLED"), ("training", "RUNNING"), ("finished", "RUNNING")],
)
def test_an_own_arm_that_did_not_end_is_not_settled(store, sweep, state, status):
    run_of(store, sweep.arms[0].experiment, state=state, status=status, **OWN)
    assert completed_arms(store, "the key", sweep.arms, fingerprint=DATA) == {}


def test_an_own_arm_on_other_data_is_not_settled(store, sweep):
    run_of(store, sweep.arms[0].experiment, **OWN)
    assert completed_arms(store, "the key", sweep.arms, fingerprint="of other data") == {}


def test_an_arm_that_is_not_asked_for_is_not_told(store, sweep):
    for arm in sweep.arms:
        run_of(store, arm.experiment, **OWN)
    assert completed_arms(store, "the key", sweep.arms[:1], fingerprint=DATA).keys() == {sweep.arms[0].key}


def test_twin_that_asks_others_first(store, sweep, monkeypatch):
    monkeypatch.setattr(finished_module, "children_of", lambda store, key: {})
    run_of(store, sweep.arms[0].experiment, **OWN)
    run_of(store, sweep.arms[0].experiment)
    assert not completed_arms(store, "the key", sweep.arms, fingerprint=DATA)[sweep.arms[0].key].is_in_sweep("the key")


def test_what_is_deleted_in_the_store_is_no_result_any_more(store):
    run_id = run_of(store)
    assert result(store) == run_id
    store._client.delete_run(run_id)
    assert result(store) == ""
