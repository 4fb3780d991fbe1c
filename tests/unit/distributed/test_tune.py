"""Halving follows the document's metric and mode: in Ray Tune's scheduler, and in the order of the results actor.

No cluster is started: Ray Tune's tuner and Ray itself are played.
"""

import asyncio
import math
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from ray import tune
from ray.tune.schedulers import TrialScheduler

from side4video.distributed.results_actor import ResultsActor
from side4video.distributed.sweep_trials import SweepTrials
from side4video.distributed.tune import run_trials
from sweeps import make_sweep

GRID = {"grid": {"optimization.learning_rate": [1e-3, 3e-4, 1e-4, 3e-5, 1e-5]}}
OPTUNA = {
    "optuna": {
        "arms": 5,
        "space": {"method.layers": {"kind": "choice", "values": [1, 2]}},
    }
}
MODES = {"max": "eval/top1", "min": "eval/loss"}


def document(mode, reduction=2, **way):
    scheduler = {"kind": "asha", "reduction": reduction}
    return make_sweep("halved", metric=MODES[mode], mode=mode, scheduler=scheduler, **(way or GRID)).spec


# ---- Ray Tune's scheduler


class Tuner:
    """Ray Tune's tuner, which keeps what it was made with and runs nothing."""

    made = None

    def __init__(self, trainable, *, tune_config, **options):
        type(self).made = tune_config

    def fit(self):
        pass


@dataclass
class Trial:
    """A trial as a scheduler sees it."""

    trial_id: str
    config: dict = field(default_factory=dict)
    stopping_criterion: dict = field(default_factory=dict)


def scheduler_of(spec, monkeypatch):
    """The scheduler of a sweep, told of metric and mode as Ray Tune tells it."""
    monkeypatch.setattr(tune, "Tuner", Tuner)
    run_trials(spec, results_actor_name="actor", results_actor=None, arms=["a", "b"], batch=2, proposed=lambda *_: "")
    config = Tuner.made
    config.scheduler.set_search_properties(config.metric, config.mode)
    return config.scheduler


def goes_on(scheduler, values, metric):
    """Which trials go on after their first epoch; they report in this order."""
    trials = {name: Trial(name) for name in values}
    for trial in trials.values():
        scheduler.on_trial_add(None, trial)
    results = {name: {"epoch": 1, "training_iteration": 1, metric: value} for name, value in values.items()}
    said = {name: scheduler.on_trial_result(None, trials[name], results[name]) for name in values}
    return {name for name, answer in said.items() if answer == TrialScheduler.CONTINUE}


@pytest.mark.parametrize("way", [GRID, OPTUNA], ids=["grid", "optuna"])
@pytest.mark.parametrize(("mode", "better"), [("max", 0.9), ("min", 0.1)])
def test_who_is_worse_by_the_documents_mode_is_stopped(mode, better, way, monkeypatch):
    scheduler = scheduler_of(document(mode, **way), monkeypatch)
    worse = 1 - better
    found = goes_on(scheduler, {"first": 0.5, "better": better, "worse": worse}, MODES[mode])
    assert found == {"first", "better"}


# ---- the results actor


class Method:
    def __init__(self, method):
        self.remote = method


class Actor:
    """An actor in this process: what it is asked, it answers to whoever waits."""

    def __init__(self, of):
        self.of = of

    def __getattr__(self, name):
        return Method(getattr(self.of, name))


class Maker:
    """Makes an actor of a class, as Ray does."""

    def __init__(self, kind):
        self.kind = kind

    def options(self, **_):
        return self

    def remote(self, *arguments, **named):
        return Actor(self.kind(*arguments, **named))


RAY = SimpleNamespace(
    remote=lambda **_: Maker, get_runtime_context=lambda: SimpleNamespace(get_node_id=lambda: "0" * 56)
)


async def handed_out(results_actor, values, metric):
    """The order in which trials are given what their arms measured; nothing is stopped."""
    await results_actor.add_results(0, {arm: {metric: value} for arm, value in values.items()})
    order = []

    async def trial(arm):
        await results_actor.next(arm, 0)
        order.append(arm)
        await results_actor.decided(arm, stops=False)

    await asyncio.wait_for(asyncio.gather(*map(trial, values)), 10)
    return order


def order_of(results_actor, values, metric="m"):
    return asyncio.run(handed_out(results_actor, values, metric))


@pytest.mark.parametrize(("mode", "best_first"), [("max", "dcba"), ("min", "abcd")])
def test_the_hub_of_a_sweep_ranks_by_the_documents_metric_and_mode(mode, best_first):
    trials = SweepTrials(RAY, SimpleNamespace(sweep=SimpleNamespace(spec=document(mode))))
    values = {"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.4}
    # The weakest of the half that goes on, the best, then the others from the best to the worst.
    expected = [best_first[1], best_first[0], best_first[2], best_first[3]]
    assert order_of(trials.results_actor.of, values, MODES[mode]) == expected


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("count", "reduction"), [(5, 2), (3, 2), (7, 4), (9, 4), (16, 4), (4, 3), (10, 2.5)])
def test_the_share_that_goes_on_is_rounded_up_and_begins_with_its_weakest(count, reduction, mode):
    """Of five arms halved three go on; with two, the third would find only better ones before it, and stop."""
    sign = 1 if mode == "max" else -1
    best_first = [f"{number:02d}" for number in range(count)]
    values = {arm: -sign * float(number) for number, arm in enumerate(best_first)}
    results_actor = ResultsActor(decides=True, metric="m", mode=mode, reduction=reduction)
    on = math.ceil(count / reduction)
    assert order_of(results_actor, values) == best_first[:on][::-1] + best_first[on:]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("count", "reduction"), [(5, 2), (7, 4), (9, 4)])
def test_rays_halving_keeps_that_share_of_a_pack_that_does_not_divide(count, reduction, mode, monkeypatch):
    sign = 1 if mode == "max" else -1
    values = {f"{number:02d}": -sign * float(number) for number in range(count)}
    results_actor = ResultsActor(decides=True, metric=MODES[mode], mode=mode, reduction=reduction)
    order = order_of(results_actor, values, MODES[mode])
    scheduler = scheduler_of(document(mode, reduction), monkeypatch)
    kept = goes_on(scheduler, {arm: values[arm] for arm in order}, MODES[mode])
    assert kept == set(list(values)[: math.ceil(count / reduction)])


@pytest.mark.parametrize("mode", MODES)
def test_an_arm_without_the_metric_is_the_worst(mode):
    values = {"a": {}, "b": {"m": 1.0}, "c": {"m": 2.0}}
    results_actor = ResultsActor(decides=True, metric="m", mode=mode, reduction=4)

    async def scene():
        await results_actor.add_results(0, values)
        order = []

        async def trial(arm):
            await results_actor.next(arm, 0)
            order.append(arm)
            await results_actor.decided(arm, stops=False)

        await asyncio.gather(*map(trial, values))
        return order

    assert asyncio.run(asyncio.wait_for(scene(), 10))[-1] == "a"
