"""Sweeps without Ray: rows become arms, arms share a pass, what is done is not done again."""

import json
import os
import random
import subprocess
import sys
import time
from importlib import import_module

import pytest
import torch
from click.testing import CliRunner

import sweeps
from side4video.cli.evaluate import evaluate as evaluate_command
from side4video.cli.sweep import sweep as sweep_command
from side4video.core.errors import InputError
from side4video.core.progress import SILENT
from side4video.runs.launch import launch
from side4video.tracking.mlflow.compat import PARENT_TAG
from side4video.tracking.mlflow.store import MLflowStore
from side4video.tracking.tags import REUSED_TAG


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A sweep in a store of its own: a process that comes back to this module would find its arms done."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIDE4VIDEO_HOME", str(tmp_path_factory.mktemp("finished")))
        yield sweeps.run(sweeps.make_sweep("finished"))


@pytest.fixture
def trainer():
    """Trains in this process, and notes which arms train together."""
    return sweeps.NotingTrainer()


def test_rows_that_are_one_experiment_train_once(finished):
    prepared, result = finished
    assert len(prepared.sweep.rows) == 6
    assert len(result.arms) == 4
    assert result.is_complete
    assert [len(pack.arms) for pack in prepared.plan.packs] == [4]
    assert prepared.plan.as_json()["arms"] == 6


def test_each_arm_is_a_complete_record_below_the_sweep(finished):
    _, result = finished
    store = result.sweep_logger.store
    names = ("eval/top1", "best/top1", "memory/held_for_backward_gib", "plan/held_for_backward_gib")
    names += ("plan/pack_peak_memory_gib", "plan/peak_memory_gib", "time/alone_s", "time/mean_own_step_s", "eval/epoch")
    children = result.sweep_logger.children()
    assert len(children) == 4
    for run in children.values():
        assert run.status == "FINISHED"
        assert run.tags[PARENT_TAG] == result.sweep_logger.parent
        assert set(names) <= run.metrics.keys()
        assert {"arm/layers", "arm/dim", "arm/method", "arm/seed"} <= run.params.keys()
    packs = {run.tags["side4video.pack"] for run in children.values()}
    assert len(packs) == 1
    assert store.get(result.sweep_logger.parent).tags["side4video.kind"] == "sweep"


def test_an_arm_alone_costs_what_is_its_own_and_all_that_is_shared(finished):
    for run in finished[1].sweep_logger.children().values():
        own, alone, whole = (run.metrics[f"time/mean_{name}_s"] for name in ("own_step", "alone_step", "step"))
        assert own < alone < whole


def test_packed_arms_are_bit_by_bit_what_they_are_apart(finished, tmp_path):
    children = finished[1].sweep_logger.children()
    for number, arm in enumerate(finished[1].arms):
        alone = launch({"alone": arm.experiment}, progress=SILENT)["alone"]
        packed = children[arm.key].run_id
        first = sweeps.weights(packed, tmp_path / f"packed-{number}")
        second = sweeps.weights(alone.run_id, tmp_path / f"alone-{number}")
        assert all(torch.equal(first[name], second[name]) for name in first)
        texts = [sweeps.predictions(run, tmp_path / f"{run}-{number}") for run in (packed, alone.run_id)]
        assert texts[0] == texts[1]
        stored = MLflowStore().prepare().get(packed).metrics
        measured = {name: value for name, value in alone.metrics.items() if name.startswith(("eval/", "best/"))}
        assert {name: stored[name] for name in measured} == measured


def test_twin_whose_arms_share_a_seed_is_another(finished, tmp_path, monkeypatch):
    """An arm drawn after another from one generator is not the arm alone: the property above sees it."""
    engine = import_module("side4video.run")  # the package's `run` is a function

    monkeypatch.setattr(engine, "seeded", lambda seed: _nothing())
    _, result = sweeps.run(sweeps.make_sweep("twin"), rerun=True)
    first, second = finished[1].sweep_logger.children(), result.sweep_logger.children()
    key = finished[1].arms[-1].key
    left = sweeps.weights(first[key].run_id, tmp_path / "left")
    right = sweeps.weights(second[key].run_id, tmp_path / "right")
    assert not all(torch.equal(left[name], right[name]) for name in left)
    for run in second.values():  # nobody may take these over
        result.sweep_logger.store.set_tags(run.run_id, {"state": "failed"})


class _nothing:  # noqa: N801
    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


def test_what_is_finished_is_not_run_again(finished, trainer):
    prepared, result = sweeps.run(sweeps.make_sweep("finished"), trainer=trainer)
    assert trainer.trained == []
    assert result.sweep_logger.parent == finished[1].sweep_logger.parent
    assert sweeps.table(result) == sweeps.table(finished[1])
    assert len(prepared.plan.done) == 4


def test_another_sweep_takes_over_what_it_shares(finished, trainer, tmp_path):
    grid = {"method.layers": [1, 2], "optimization.weight_decay": [0.15, 0.05]}
    _, result = sweeps.run(sweeps.make_sweep("other", grid=grid), trainer=trainer)
    assert [len(labels) for labels in trainer.trained] == [2]
    runs = list(result.sweep_logger.children().values())
    taken = [run for run in runs if REUSED_TAG in run.tags]
    assert len(runs) == 4
    assert len(taken) == 2
    source = result.sweep_logger.store.get(taken[0].tags[REUSED_TAG])
    assert taken[0].metrics["eval/top1"] == source.metrics["eval/top1"]
    assert sweeps.predictions(taken[0].run_id, tmp_path) == sweeps.predictions(source.run_id, tmp_path / "source")
    again = CliRunner().invoke(evaluate_command, [taken[0].run_id, "--json", "--weights", "last"])
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout)["metrics"]["eval/top1"] == source.metrics["eval/top1"]


def test_rerun_runs_all_of_it(finished, trainer):
    _, result = sweeps.run(sweeps.make_sweep("finished"), rerun=True, trainer=trainer)
    assert [len(labels) for labels in trainer.trained] == [4]
    assert result.sweep_logger.parent != finished[1].sweep_logger.parent
    assert sweeps.table(result) == sweeps.table(finished[1])


def test_other_data_are_another_experiment(finished, trainer):
    sweep = sweeps.make_sweep("finished", {"data": {"dataset": {"seed": 1}}})
    sweeps.run(sweep, trainer=trainer)
    assert [len(labels) for labels in trainer.trained] == [4]


@pytest.mark.parametrize("packing", ["off", 3])
def test_packing_changes_no_result(finished, trainer, packing):
    _, result = sweeps.run(sweeps.make_sweep("finished", packing=packing), rerun=True, trainer=trainer)
    assert max(map(len, trainer.trained)) == (1 if packing == "off" else 2)
    assert sweeps.table(result) == sweeps.table(finished[1])


def test_a_pack_that_fails_leaves_the_others_and_is_run_again(trainer):
    sweep = sweeps.make_sweep("failing", {"seed": 5}, packing=2)
    trainer.failing_pack = 2
    _, result = sweeps.run(sweep, trainer=trainer)
    assert not result.is_complete
    assert len(result.failures) == 2
    assert {state for state, _ in sweeps.table(result).values()} == {"finished", "failed"}
    again = sweeps.NotingTrainer()
    _, result = sweeps.run(sweep, trainer=again)
    assert result.is_complete
    assert [len(labels) for labels in again.trained] == [2]


def test_the_time_may_be_over(trainer):
    sweep = sweeps.make_sweep("short", {"seed": 6}, packing=2, limits={"hours": 1e-7})
    _, result = sweeps.run(sweep, trainer=trainer)
    assert len(result.left) == 4
    assert not result.is_complete


def test_a_scheduler_needs_ray():
    with pytest.raises(InputError, match="--local"):
        sweeps.run(sweeps.make_sweep("asha", scheduler="asha"))


def test_the_command_compares_and_leaves_a_report(finished, tmp_path):
    file = sweeps.as_yaml(tmp_path / "sweep.yaml", sweeps.document("finished"))
    done = CliRunner().invoke(sweep_command, [str(file), "--local", "--report", str(tmp_path / "report")])
    assert done.exit_code == 0, done.output
    assert "dim 128" in done.stdout
    names = {"comparison.md", "comparison.csv", "comparison.html", "parallel-coordinates.png", "pareto.png"}
    assert names <= {path.name for path in (tmp_path / "report").iterdir()}
    store = MLflowStore().prepare()
    assert store.download(finished[1].sweep_logger.parent, "comparison.csv", tmp_path).read_text().count("\n") == 7
    answer = json.loads(CliRunner().invoke(sweep_command, [str(file), "--local", "--json"]).stdout)
    assert answer["complete"]
    assert [arm["had_a_result"] for arm in answer["arms"]] == [True] * 4


def test_checkpoints_of_a_pack_are_evaluated_in_one_pass(finished, monkeypatch):
    from side4video.models.towers.frozen_tower import FrozenTower

    passes = []
    stream = FrozenTower.stream
    monkeypatch.setattr(FrozenTower, "stream", lambda self, *a, **k: (passes.append(1), stream(self, *a, **k))[1])
    ids = [run.run_id for run in finished[1].sweep_logger.children().values()]
    views = ["--set", "data.views={clips: 2, crops: 3}", "--json"]
    together = json.loads(CliRunner().invoke(evaluate_command, [*ids, *views]).stdout)
    at_once = len(passes)
    assert [answer["run_id"] for answer in together] == ids
    apart = [json.loads(CliRunner().invoke(evaluate_command, [run, *views]).stdout) for run in ids]
    assert apart == together
    assert len(passes) == at_once * (1 + len(ids))
    table = CliRunner().invoke(evaluate_command, ids)
    assert "4 runs on one pass" in table.stdout


def test_runs_of_other_data_are_not_evaluated_in_one_pass(finished):
    other = launch({"other": sweeps.make_sweep("x", {"data": {"frames": 5}}).base_experiment}, progress=SILENT)
    ids = [next(iter(finished[1].sweep_logger.children().values())).run_id, other["other"].run_id]
    refused = CliRunner().invoke(evaluate_command, ids)
    assert isinstance(refused.exception, InputError)
    assert "data" in str(refused.exception)


# ---- killed at any point


def start(file, home):
    environment = {**os.environ, "SIDE4VIDEO_HOME": str(home)}
    command = [sys.executable, "-m", "side4video", "sweep", str(file), "--local", "--json"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(answer):
    return {
        arm["hash"]: (arm["state"], arm["metrics"]["eval/top1"], arm["metrics"]["eval/loss"]) for arm in answer["arms"]
    }


def ends_of_finished(home):
    """When each finished arm ended: an arm that ran again would have another end."""
    store = MLflowStore(f"sqlite:///{home / 'mlflow.db'}").prepare()
    runs = store.runs("tags.state = 'finished' and tags.`side4video.digest` != ''")
    return {run.tags["side4video.digest"]: run.end_ms for run in runs}


@pytest.mark.long
@pytest.mark.slow
def test_killed_three_times_it_ends_as_if_it_had_not_been(tmp_path):
    whole = sweeps.document("killed", {"optimization": {"length": {"epochs": 6}}}, packing=2)
    file = sweeps.as_yaml(tmp_path / "sweep.yaml", whole)
    undisturbed = start(file, tmp_path / "undisturbed")
    out, error = undisturbed.communicate(timeout=200)
    assert undisturbed.returncode == 0, error
    lines = len(error.splitlines())
    ends: dict[str, int] = {}
    for _ in range(3):
        process = start(file, tmp_path / "killed")
        deadline, wanted = time.monotonic() + 200, random.randrange(8, lines)
        for number, _line in enumerate(process.stderr):
            if number >= wanted or time.monotonic() > deadline:
                break
        time.sleep(random.random() * 0.3)
        process.kill()
        process.communicate()
        now = ends_of_finished(tmp_path / "killed")
        assert ends.items() <= now.items()
        ends = now
    process = start(file, tmp_path / "killed")
    again, error = process.communicate(timeout=200)
    assert process.returncode == 0, error
    assert ended(json.loads(again)) == ended(json.loads(out))
    assert ends.items() <= ends_of_finished(tmp_path / "killed").items()
