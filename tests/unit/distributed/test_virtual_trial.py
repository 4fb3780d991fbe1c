"""Virtual trials are many and small: their process imports Ray and no torch."""

import asyncio
import subprocess
import sys

import pytest

from side4video.distributed.results_actor import ResultsActor

LIGHT = ["side4video.distributed.virtual_trial", "side4video.distributed.results_actor"]
HEAVY = ("torch", "torchvision", "timm", "open_clip", "mlflow", "optuna")


def loaded(modules, libraries):
    """Which of some libraries a fresh process has after importing some modules."""
    code = f"import sys, {', '.join(modules)}\nprint(*[name for name in {libraries} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_virtual_trials_process_has_no_torch():
    assert loaded(LIGHT, HEAVY) == []


def test_a_library_that_is_loaded_is_noticed():
    assert loaded(LIGHT, ("ray", "torch")) == ["ray"]


# ---- results that a trial reports


class Actor:
    """A results actor without a cluster: its methods have `remote`, like those of a Ray actor."""

    def __init__(self, results_actor):
        self.results_actor = results_actor

    def __getattr__(self, name):
        method = getattr(self.results_actor, name)
        return type("Method", (), {"remote": staticmethod(method)})()


@pytest.fixture
def begin(monkeypatch):
    """Make a trial without a cluster; no call may wait."""
    from side4video.distributed import virtual_trial as module

    loop = asyncio.new_event_loop()

    def do(call):
        return loop.run_until_complete(asyncio.wait_for(call, 2))

    def trial(results_actor, config):
        monkeypatch.setattr(module.ray, "get_actor", lambda name: Actor(results_actor))
        monkeypatch.setattr(module.ray, "get", do)
        made = module.VirtualTrial.__new__(module.VirtualTrial)
        made._trial_info = type("Info", (), {"trial_id": "trial 1"})()
        made.setup({"results_actor": "any", **config})
        return made, do

    yield trial
    loop.close()


def test_a_trial_gives_one_result_a_step_and_then_the_end(begin):
    results_actor = ResultsActor(decides=False)
    trial, do = begin(results_actor, {"arm": "a"})
    do(results_actor.add_results(0, {"a": {"eval/top1": 0.5}}))
    do(results_actor.add_results(3, {"a": {"eval/top1": 0.75}}))
    do(results_actor.end({"a": "finished"}))
    steps = [trial.step() for _ in range(3)]
    assert [(step["epoch"], step["eval/top1"], step["done"]) for step in steps] == [
        (1, 0.5, False),
        (4, 0.75, False),
        (4, 0.75, True),
    ]


def test_a_trial_that_serves_another_arm_begins_anew(begin):
    results_actor = ResultsActor(decides=False)
    trial, do = begin(results_actor, {"arm": "a"})
    do(results_actor.add_results(0, {"a": {"eval/top1": 0.5}, "b": {"eval/top1": 0.25}}))
    assert trial.step()["eval/top1"] == 0.5
    assert trial.reset_config({"results_actor": "any", "arm": "b"})
    assert trial.step()["eval/top1"] == 0.25


def test_a_trial_without_an_arm_asks_which_one_it_is(begin):
    results_actor = ResultsActor(decides=False)
    trial, do = begin(results_actor, {})
    do(results_actor.add_results(0, {"a": {"eval/top1": 0.5}}))
    do(results_actor.assign("trial 1", "a", "a~2"))
    assert trial.step()["eval/top1"] == 0.5
    assert trial.channel == "a~2"


@pytest.mark.parametrize(("epochs", "reason"), [(0, "no memory"), (1, "no memory"), (0, "")])
def test_a_trial_whose_arm_failed_fails_with_its_reason(begin, epochs, reason):
    results_actor = ResultsActor(decides=False)
    trial, do = begin(results_actor, {"arm": "a"})
    for epoch in range(epochs):
        do(results_actor.add_results(epoch, {"a": {"eval/top1": 0.5}}))
    do(results_actor.end({"a": "failed"}, reason))
    for _ in range(epochs):
        trial.step()
    with pytest.raises(RuntimeError, match=reason or "ended before its first evaluation"):
        trial.step()


def test_an_arm_that_ended_before_its_first_evaluation_has_no_result_to_report(begin):
    results_actor = ResultsActor(decides=False)
    trial, do = begin(results_actor, {"arm": "a"})
    do(results_actor.end({"a": "diverged"}))
    with pytest.raises(RuntimeError, match="before its first evaluation"):
        trial.step()
