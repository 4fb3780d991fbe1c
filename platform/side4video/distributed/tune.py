"""Ray Tune over virtual trials: searchers propose arms, schedulers stop them."""

import functools
import logging
import shutil
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ray import tune
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, MedianStoppingRule, TrialScheduler
from ray.tune.search import ConcurrencyLimiter, Repeater, Searcher

from side4video.arm_search.proposals import OptunaSampler
from side4video.core.paths import home
from side4video.distributed.compat import HEAD_RESOURCE
from side4video.distributed.virtual_trial import VirtualTrial
from side4video.spec.space import sample_overrides
from side4video.spec.sweep import AshaScheduler, MedianScheduler, OptunaSearch, SweepSpec

HEAD = {HEAD_RESOURCE: 0.001}
"""Resources of a virtual trial: the head node, no CPU, no GPU."""
MAX_REPLAY_TRIALS = 2
"""Concurrent trials without a scheduler or Optuna: they only repeat results, a few milliseconds each."""
MAX_EPOCHS = 1_000_000
"""More epochs than any run has."""
Proposed = Callable[[Mapping[str, Any], int], str]
"""Takes the overrides of a proposed arm and the number of trials proposed before; returns the arm's name."""


def run_trials(
    spec: SweepSpec, *, results_actor_name: str, results_actor: Any, arms: Sequence[str], batch: int, proposed: Proposed
) -> None:
    """Run the sweep's virtual trials to their end.

    `arms` are the fixed arms in the order of the packs, or empty if Optuna proposes them, `batch` at a time; `proposed`
    is called for each.
    """
    # Ray Tune's files contain nothing that the run store lacks, so they are removed at the end.
    storage = home() / "tune"
    name = uuid.uuid4().hex[:12]
    searcher = _searcher(spec, batch, results_actor_name) if spec.optuna else None
    space: dict[str, Any] = {"results_actor": results_actor_name}
    if not spec.optuna:
        space["arm"] = tune.grid_search(list(arms))
    max_concurrent = None if spec.optuna else min(len(arms), _max_concurrent_trials(spec))
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    try:
        tune.Tuner(
            tune.with_resources(VirtualTrial, HEAD),
            param_space=space,
            tune_config=tune.TuneConfig(
                metric=None if searcher else spec.metric,
                mode=None if searcher else spec.mode,
                num_samples=spec.optuna.arms * spec.seeds if spec.optuna else 1,
                max_concurrent_trials=max_concurrent,
                scheduler=_scheduler(spec),
                search_alg=searcher,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name=name,
                storage_path=str(storage),
                verbose=0,
                callbacks=[_Decisions(results_actor, proposed)],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        ).fit()
    finally:
        shutil.rmtree(storage / name, ignore_errors=True)


def _max_concurrent_trials(spec: SweepSpec) -> int:
    limit = spec.limits.virtual_trials
    return limit * spec.limits.parallel_packs if spec.uses_epoch_results else min(limit, MAX_REPLAY_TRIALS)


def _scheduler(spec: SweepSpec) -> TrialScheduler:
    # Without Optuna, Ray Tune sets metric and mode from its TuneConfig.
    common: dict[str, Any] = {"metric": spec.metric, "mode": spec.mode} if spec.optuna else {}
    match spec.scheduler:
        case AshaScheduler(grace_epochs=grace, reduction=reduction):
            return AsyncHyperBandScheduler(
                time_attr="epoch", grace_period=grace, reduction_factor=reduction, max_t=MAX_EPOCHS, **common
            )
        case MedianScheduler(grace_epochs=grace, arms=others):
            return MedianStoppingRule(time_attr="epoch", grace_period=grace, min_samples_required=others, **common)
        case _:
            return FIFOScheduler()


def _searcher(spec: SweepSpec, batch: int, results_actor_name: str) -> Searcher:
    import optuna
    from optuna.samplers import TPESampler
    from ray.tune.search.optuna import OptunaSearch as RayOptuna

    search = spec.optuna or OptunaSearch(arms=1, space={})
    propose = functools.partial(_propose, dict(search.space), results_actor_name)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = TPESampler(seed=search.seed, n_startup_trials=search.startup, constant_liar=True)
    searcher: Searcher = RayOptuna(space=propose, metric=spec.metric, mode=spec.mode, sampler=sampler)
    if spec.seeds > 1:
        searcher = Repeater(searcher, repeat=spec.seeds, set_index=False)
    # One batch ends before the next is proposed, so that proposals do not depend on the speed of arms.
    return ConcurrencyLimiter(searcher, max_concurrent=batch * spec.seeds, batch=True)


def _propose(space: Mapping[str, Any], results_actor_name: str, trial: Any) -> dict[str, Any]:
    """The configuration of a virtual trial, with the overrides that Optuna chose."""
    return {"results_actor": results_actor_name, "changes": sample_overrides(space, OptunaSampler(trial))}


class _Decisions(tune.Callback):
    """Sends Ray Tune's decisions to the results actor; runs in the driver."""

    def __init__(self, results_actor: Any, proposed: Proposed) -> None:
        self._results_actor, self._proposed = results_actor, proposed
        self._channels: dict[str, str] = {}
        self._trials_of: Counter[str] = Counter()

    def __reduce__(self) -> tuple[Any, ...]:
        # Ray Tune pickles its callbacks to restore a run. Here sweeps resume from the run store.
        return (tune.Callback, ())

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        """Assign an arm to the trial."""
        if trial.trial_id in self._channels:
            return
        config = trial.config
        # Trials start in any order; their number is the order in which they were proposed.
        arm = config.get("arm") or self._proposed(config["changes"], int(trial.experiment_tag.partition("_")[0]) - 1)
        self._trials_of[arm] += 1
        channel = arm if self._trials_of[arm] == 1 else f"{arm}~{self._trials_of[arm]}"
        self._channels[trial.trial_id] = channel
        self._results_actor.assign.remote(trial.trial_id, arm, channel)

    def on_trial_result(
        self,
        iteration: int,  # noqa: ARG002
        trials: list[Any],  # noqa: ARG002
        trial: Any,
        result: dict[str, Any],
        **info: Any,  # noqa: ARG002
    ) -> None:
        """Send whether the arm continues. A result with `state` is the arm's own end; other ends are decisions."""
        stops = bool(result.get("done")) and "state" not in result
        self._results_actor.decided.remote(self._channels[trial.trial_id], stops=stops)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        """Stop handing out results to a trial whose arm failed."""
        self._results_actor.decided.remote(self._channels.get(trial.trial_id, ""), stops=True)
