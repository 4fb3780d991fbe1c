"""Optuna's proposals as a function of recorded results: the same results give the same arms, after any interruption."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from side4video.core.seeds import derive_seed
from side4video.spec.space import sample_overrides
from side4video.spec.sweep import OptunaSearch


@dataclass
class Proposal:
    """What Optuna chose for one arm, and what became of it. All fields are JSON values."""

    choices: dict[str, Any]
    distributions: dict[str, str]
    """Optuna's own text of each choice's distribution."""
    overrides: dict[str, Any]
    """The changes to the base."""
    names: list[str] = field(default_factory=list)
    """The arms of this proposal, one for each seed."""


@dataclass(frozen=True)
class Outcome:
    """What is known of a proposal."""

    state: Literal["running", "complete", "stopped", "failed"]
    values: Mapping[int, float]
    """Mean over the seeds, by epoch, counted from 1."""


class OptunaSampler:
    """Takes choices from an Optuna trial (`spec.space.Sampler`)."""

    def __init__(self, trial: Any) -> None:
        self._trial = trial

    def choose(self, name: str, count: int) -> int:
        """See `Sampler`."""
        return self._trial.suggest_categorical(name, list(range(count)))

    def number(self, name: str, low: float, high: float, *, is_log: bool) -> float:
        """See `Sampler`."""
        return self._trial.suggest_float(name, low, high, log=is_log)

    def integer(self, name: str, low: int, high: int, *, step: int) -> int:
        """See `Sampler`."""
        return self._trial.suggest_int(name, low, high, step=step)


def propose(search: OptunaSearch, past: Sequence[tuple[Proposal, Outcome]], *, mode: Literal["max", "min"]) -> Proposal:
    """The next proposal, given all earlier ones in order.

    Arms that still train count as bad (`constant_liar`), so that proposals made at the same time differ. Arms that a
    scheduler stopped or paused count by their last value.
    """
    import optuna
    from optuna.distributions import distribution_to_json

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    number = len(past)
    sampler = optuna.samplers.TPESampler(
        seed=derive_seed(search.seed, "proposal", number) % 2**32,
        n_startup_trials=search.startup,
        constant_liar=True,
    )
    study = optuna.create_study(direction="maximize" if mode == "max" else "minimize", sampler=sampler)
    for proposal, outcome in past:
        study.add_trial(_as_trial(proposal, outcome))
    trial = study.ask()
    overrides = sample_overrides(dict(search.space), OptunaSampler(trial))
    distributions = {name: distribution_to_json(each) for name, each in trial.distributions.items()}
    return Proposal(dict(trial.params), distributions, overrides)


def _as_trial(proposal: Proposal, outcome: Outcome) -> Any:
    from optuna.distributions import json_to_distribution
    from optuna.trial import TrialState, create_trial

    states = {
        "running": TrialState.RUNNING,
        "complete": TrialState.COMPLETE,
        "stopped": TrialState.PRUNED,
        "failed": TrialState.FAIL,
    }
    values = {epoch: value for epoch, value in outcome.values.items() if value == value}
    state = states[outcome.state]
    if state in (TrialState.COMPLETE, TrialState.PRUNED) and not values:
        state = TrialState.FAIL
    return create_trial(
        state=state,
        params=proposal.choices,
        distributions={name: json_to_distribution(text) for name, text in proposal.distributions.items()},
        value=values[max(values)] if state in (TrialState.COMPLETE, TrialState.PRUNED) else None,
        intermediate_values=values,
    )
