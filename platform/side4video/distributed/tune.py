"""Ray Tune over virtual trials: who proposes arms, who stops them, and what becomes of that."""

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

from side4video.core.paths import home
from side4video.distributed.compat import HEAD_RESOURCE
from side4video.distributed.virtual_trial import VirtualTrial
from side4video.spec.space import draw
from side4video.spec.sweep import AshaScheduler, MedianScheduler, OptunaSearch, SweepSpec

HEAD = {HEAD_RESOURCE: 0.001}
"""What a virtual trial asks for: to be on the head, no core, no GPU."""
TRIALS_OF_NO_CONSEQUENCE = 2
"""Trials at a time where nobody decides: they repeat what is known, a few milliseconds each."""
LONGEST = 1_000_000
"""More epochs than anybody trains."""
Proposed = Callable[[Mapping[str, Any], int], str]
"""Takes the overrides of a proposed arm and how many trials were proposed before it; gives the arm's name."""


def run_trials(
    spec: SweepSpec, *, results_actor_name: str, results_actor: Any, arms: Sequence[str], batch: int, proposed: Proposed
) -> None:
    """Run the sweep's virtual trials to their end.

    Args:
        spec: The sweep.
        results_actor_name: The hub actor's name.
        results_actor: The hub actor.
        arms: The fixed arms, in the order of the packs; none where Optuna proposes them.
        batch: Arms that Optuna proposes at a time.
        proposed: Hears of a proposed arm.
    """
    # What Ray Tune writes says nothing that MLflow does not: it lies beside the platform's own, and goes.
    storage = home() / "tune"
    name = uuid.uuid4().hex[:12]
    searcher = _searcher(spec, batch, results_actor_name) if spec.optuna else None
    space = (
        {"hub": results_actor_name} if spec.optuna else {"hub": results_actor_name, "arm": tune.grid_search(list(arms))}
    )
    at_a_time = None if spec.optuna else min(len(arms), _trials_at_a_time(spec))
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    try:
        tune.Tuner(
            tune.with_resources(VirtualTrial, HEAD),
            param_space=space,
            tune_config=tune.TuneConfig(
                metric=None if searcher else spec.metric,
                mode=None if searcher else spec.mode,
                num_samples=spec.optuna.arms * spec.seeds if spec.optuna else 1,
                max_concurrent_trials=at_a_time,
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


def _trials_at_a_time(spec: SweepSpec) -> int:
    most = spec.limits.virtual_trials
    return most * spec.limits.parallel_packs if spec.decides else min(most, TRIALS_OF_NO_CONSEQUENCE)


def _scheduler(spec: SweepSpec) -> TrialScheduler:
    # Optuna brings metric and mode along; else Ray Tune hands them on from its own configuration.
    common: dict[str, Any] = {"metric": spec.metric, "mode": spec.mode} if spec.optuna else {}
    match spec.scheduler:
        case AshaScheduler(grace_epochs=grace, reduction=reduction):
            return AsyncHyperBandScheduler(
                time_attr="epoch", grace_period=grace, reduction_factor=reduction, max_t=LONGEST, **common
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
    # One batch ends before the next is proposed, and is told as a whole: the same, however fast its arms were.
    return ConcurrencyLimiter(searcher, max_concurrent=batch * spec.seeds, batch=True)


def _propose(space: Mapping[str, Any], results_actor_name: str, trial: Any) -> dict[str, Any]:
    """The configuration of a virtual trial whose arm an Optuna trial chooses."""
    return {"hub": results_actor_name, "changes": draw(space, _OptunaChooser(trial))}


class _OptunaChooser:
    """Lets an Optuna trial decide."""

    def __init__(self, trial: Any) -> None:
        self._trial = trial

    def choose(self, name: str, count: int) -> int:
        return self._trial.suggest_categorical(name, list(range(count)))

    def number(self, name: str, low: float, high: float, *, is_log: bool) -> float:
        return self._trial.suggest_float(name, low, high, log=is_log)

    def integer(self, name: str, low: int, high: int, *, step: int) -> int:
        return self._trial.suggest_int(name, low, high, step=step)


class _Decisions(tune.Callback):
    """Tells the hub what Ray Tune decides; runs in the driver."""

    def __init__(self, results_actor: Any, proposed: Proposed) -> None:
        self._hub, self._proposed = results_actor, proposed
        self._channels: dict[str, str] = {}
        self._trials_of: Counter[str] = Counter()

    def __reduce__(self) -> tuple[Any, ...]:
        # Ray Tune writes its callbacks down so that it could be restored; here the ledger does that.
        return (tune.Callback, ())

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        """Say which arm the trial stands for."""
        if trial.trial_id in self._channels:
            return
        config = trial.config
        # Trials start in any order; the number that Ray Tune gave them says in which order they were proposed.
        arm = config.get("arm") or self._proposed(config["changes"], int(trial.experiment_tag.partition("_")[0]) - 1)
        self._trials_of[arm] += 1
        channel = arm if self._trials_of[arm] == 1 else f"{arm}~{self._trials_of[arm]}"
        self._channels[trial.trial_id] = channel
        self._hub.assign.remote(trial.trial_id, arm, channel)

    def on_trial_result(
        self,
        iteration: int,  # noqa: ARG002
        trials: list[Any],  # noqa: ARG002
        trial: Any,
        result: dict[str, Any],
        **info: Any,  # noqa: ARG002
    ) -> None:
        """Say whether the arm goes on. The relay's own end has a `state`; any other end is a decision."""
        stops = bool(result.get("done")) and "state" not in result
        self._hub.decided.remote(self._channels[trial.trial_id], stops=stops)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        """A trial whose arm failed fetches nothing more."""
        self._hub.decided.remote(self._channels.get(trial.trial_id, ""), stops=True)
