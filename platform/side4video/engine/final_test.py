"""The one evaluation on the test split, when a student's training ends and a validation split chose its weights."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from side4video.engine.checkpoint import load_tensors
from side4video.engine.evaluate import Evaluation
from side4video.engine.process_group import ProcessGroup
from side4video.engine.student import Student


@dataclass(frozen=True)
class FinalTest:
    """How the end of a student's training is decided and evaluated, where there is a validation split."""

    evaluate: Callable[[list[Student]], dict[str, Evaluation]]
    """Evaluates students on the test split. Collective."""
    takes_best: bool = True
    """Whether the weights of the best epoch on the validation split are evaluated; otherwise those of the last."""
    patience: int = 0
    """Evaluations without a better value after which a student ends; 0: none ends early."""
    least_change: float = 0.0
    """A value counts as better if it is better by more than this."""

    def ends(self, student: Student, values: Sequence[float]) -> bool:
        """Whether a student ends early: `values` are its main metric on the validation split, oldest first."""
        if not self.patience or not values:
            return False
        metric = student.task.main_metric
        best, since = values[0], 0
        for value in values[1:]:
            is_better = metric.is_better(value, than=best) and abs(value - best) > self.least_change
            best, since = (value, 0) if is_better else (best, since + 1)
        return since >= self.patience

    def run(self, students: Sequence[Student], stored: Mapping[str, Path]) -> dict[str, Evaluation]:
        """Evaluate students on the test split. Collective.

        `stored` are the weights to evaluate, by student; who is not in it is evaluated as it is. Only the first worker
        has the files. Afterwards all students have their own weights again.
        """
        with _borrowed_weights([student for student in students if student.name in stored], stored):
            return self.evaluate(list(students))


@contextmanager
def _borrowed_weights(students: Sequence[Student], stored: Mapping[str, Path]) -> Iterator[None]:
    """Students with stored weights inside the block, and with their own after it."""
    own = [{name: each.detach().clone() for name, each in _state(student).items()} for student in students]
    try:
        for student in students:
            _load(student, stored[student.name], student.process)
        yield
    finally:
        for student, tensors in zip(students, own, strict=True):
            student.evaluated.load_state_dict(tensors)


def _load(student: Student, file: Path, process: ProcessGroup) -> None:
    def read() -> None:
        if process.is_first:
            load_tensors(student.evaluated, file)

    process.run_on_all_workers(read)
    process.broadcast_tensors(list(_state(student).values()))


def _state(student: Student) -> Mapping[str, Tensor]:
    return student.evaluated.state_dict()
