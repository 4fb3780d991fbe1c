"""Ray Tune beside an endless pass: a virtual trial for each arm, from its proposal to its end.

The pass decides itself; Ray Tune shows. A trial reports what its arm has measured. While the arm is paused, so is its
trial, which then has no process.
"""

import logging
import shutil
import uuid
from typing import Any

import ray
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from side4video.core.paths import home
from side4video.distributed.tune import HEAD
from side4video.distributed.virtual_trial import VirtualTrial


class _ArmsOfPass(Searcher):
    """Hands out the arms of a pass, in the order in which they are proposed."""

    def __init__(self, results_actor: Any, results_actor_name: str) -> None:
        super().__init__()
        self._results_actor, self._name, self._count = results_actor, results_actor_name, 0

    def suggest(self, trial_id: str) -> Any:  # noqa: ARG002 - Ray's signature
        """The next arm; None for as long as there is none."""
        arm = ray.get(self._results_actor.proposed_arm.remote(self._count))
        if arm is None:
            return None
        if not arm:
            return Searcher.FINISHED
        self._count += 1
        return {"results_actor": self._name, "arm": arm}

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """Do nothing: the pass knows."""

    def save(self, checkpoint_path: str) -> None:
        """Keep nothing: sweeps resume from the pass's checkpoint."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing."""


class _PausingScheduler(FIFOScheduler):
    """Pauses the trials of paused arms, and lets those go on that have something to report."""

    def __init__(self, results_actor: Any) -> None:
        super().__init__()
        self._results_actor = results_actor
        self._reported: dict[str, int] = {}

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:  # noqa: ARG002
        """Pause it where its arm is paused."""
        self._reported[trial.trial_id] = self._reported.get(trial.trial_id, 0) + 1
        return TrialScheduler.PAUSE if result.get("paused") and not result.get("done") else TrialScheduler.CONTINUE

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """A new trial, else one whose arm is in a seat again or has ended."""
        trials = tune_controller.get_trials()
        for trial in trials:
            if trial.status == Trial.PENDING:
                return trial
        for trial in (each for each in trials if each.status == Trial.PAUSED):
            index = self._reported.get(trial.trial_id, 0)
            if ray.get(self._results_actor.is_ready.remote(trial.config["arm"], index)):
                return trial
        return None

    def __reduce__(self) -> tuple[Any, ...]:
        # Ray Tune pickles its scheduler to restore a run. Here sweeps resume from the pass's checkpoint.
        return (FIFOScheduler, ())


def show_trials(*, results_actor_name: str, results_actor: Any, at_once: int) -> None:
    """Run a virtual trial for each arm until the results actor is closed; `at_once` processes at the same time."""
    storage, name = home() / "tune", uuid.uuid4().hex[:12]
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    try:
        tune.Tuner(
            tune.with_resources(VirtualTrial, HEAD),
            param_space={"results_actor": results_actor_name},
            tune_config=tune.TuneConfig(
                num_samples=-1,
                max_concurrent_trials=at_once,
                scheduler=_PausingScheduler(results_actor),
                search_alg=_ArmsOfPass(results_actor, results_actor_name),
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name=name,
                storage_path=str(storage),
                verbose=0,
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        ).fit()
    finally:
        shutil.rmtree(storage / name, ignore_errors=True)
