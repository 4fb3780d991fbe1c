"""What guesses reach in an evaluation, to print beside what a model reached. What every guess reaches is not shown."""

from side4video.data.clip import Split
from side4video.spec.experiment import Experiment
from side4video.tasks.metrics import metric_spec

_RECALLS = (1, 5, 10)
_TOPS = (1, 5)


def guessed(task: str, choices: int) -> dict[str, float]:
    """What guesses reach by names of metrics: among so many equal classes, or among the videos of a retrieval."""
    if not choices or task not in ("recognition", "retrieval"):  # of several labels or heads there is no one guess
        return {}
    if task == "retrieval":
        reached = {count: min(1.0, count / choices) for count in _RECALLS}
        return {f"{way}_r{count}": value for way in ("t2v", "v2t") for count, value in reached.items()}
    return {f"top{count}": min(1.0, count / choices) for count in _TOPS}


def reached_by_all(task: str, choices: int) -> frozenset[str]:
    """Names of metrics that say nothing, because every guess reaches them, such as top-5 of five classes.

    Tables, curves and lines for people leave them out, of any split; records keep them.
    """
    return frozenset(name for name, value in guessed(task, choices).items() if value == 1)


def metric_name(key: str) -> str:
    """The name of a metric without its split: `top5` of `eval/top5` and of `best_val/top5`."""
    return key.rpartition("/")[2]


def always_reached(spec: Experiment, split: Split = "test") -> frozenset[str]:
    """See `reached_by_all`, for an evaluation of an experiment on a split."""
    return reached_by_all(spec.task.kind, _choices(spec, split))


def always_reached_in_epochs(spec: Experiment) -> frozenset[str]:
    """The same for the evaluation after each epoch: on the validation split, or on the test split without one."""
    return always_reached(spec, "val" if "val" in spec.data.listed.splits() else "test")


def chance_metrics(spec: Experiment) -> dict[str, float]:
    """The metrics of guesses on the test split, by the keys of the measured ones; empty without test videos."""
    found = guessed(spec.task.kind, _choices(spec, "test"))
    return {f"eval/{name}": value for name, value in found.items() if not name.startswith("v2t")}


def chance_text(spec: Experiment) -> str:
    """One line for the user; empty if there is nothing to say."""
    found = {metric_spec(key): value for key, value in chance_metrics(spec).items() if value < 1}
    said = ", ".join(f"{metric.title} {metric.text(value)}" for metric, value in found.items())
    return f"By chance: {said}." if said else ""


def _choices(spec: Experiment, split: Split) -> int:
    """Classes, or videos of the split."""
    if spec.task.kind not in ("recognition", "retrieval"):
        return 0
    dataset = spec.data.listed
    return len(dataset.clips(split) if spec.task.kind == "retrieval" else dataset.classes())
