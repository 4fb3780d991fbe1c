"""The section `evaluation` of an experiment: when models are evaluated, and which epoch's weights are taken."""

from typing import Annotated, Literal

from side4video.core.bounds import Count, Few, PositiveOrNone
from side4video.core.spec import ADDED_LATER, Spec


class EarlyStoppingSpec(Spec):
    """The run ends when the main metric on the validation split has not become better for some evaluations."""

    patience: Few
    """Number of evaluations without a better value after which the run ends."""
    least_change: PositiveOrNone = 0.0
    """A value counts as better if it is better by more than this. Accuracies are fractions: 0.001 is 0.1 points."""


class EvaluationSpec(Spec):
    """When and how models are evaluated: on the validation split if there is one, otherwise on the test split.

    With a validation split, the test split is evaluated once, at the end.
    """

    every_epochs: Count = 1
    """Evaluate every this many epochs, and after the last one."""
    choose_epoch: Annotated[Literal["auto", "last", "best"], ADDED_LATER] = "auto"
    """The epoch whose weights `predict`, `evaluate` and `export` take. `auto`: the best on the validation split if
    there is one, otherwise the last. `best` without a validation split: the best on the test split, as papers often
    report; such a value is too high, because the test clips chose it."""
    early_stopping: Annotated[EarlyStoppingSpec | None, ADDED_LATER] = None
    """End the run when the metric on the validation split no longer improves. Needs a validation split."""
    batch_size: Count = 32
    """Clips (temporal views) of one evaluation batch. Batches are the same for any number of workers."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Precision of the students in evaluation (torch autocast). The authors evaluate in fp32."""
