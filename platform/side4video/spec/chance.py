"""What guesses reach in an evaluation, to print beside what a model reached. What every guess reaches is not shown."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean

from side4video.data.annotations.label_columns import ALL_HEADS
from side4video.data.clip import Clip, Split
from side4video.spec.experiment import Experiment
from side4video.tasks.metrics import metric_spec, summary
from side4video.tasks.multi_head.metrics import FIRST, OF_HEADS

_RECALLS = (1, 5, 10)
_TOPS = (1, 5)


def guessed(task: str, choices: int) -> dict[str, float]:
    """What guesses reach by names of metrics: among so many equal classes, or among the videos of a retrieval."""
    if not choices or task not in ("recognition", "retrieval"):  # see `guessed_heads` and `guessed_labels`
        return {}
    if task == "retrieval":
        reached = {count: min(1.0, count / choices) for count in _RECALLS}
        return {f"{way}_r{count}": value for way in ("t2v", "v2t") for count, value in reached.items()}
    return {f"top{count}": min(1.0, count / choices) for count in _TOPS}


def guessed_heads(heads: Mapping[str, int]) -> dict[str, float]:
    """What guesses reach of the task `multi-head`, by the number of classes of each head: any class is as likely."""
    if not heads:
        return {}
    choices = {ALL_HEADS: math.prod(heads.values()), **heads}
    places = {"top1": 1, "top5": FIRST, "class_recall5": FIRST}
    return {f"{head}_{end}": min(1.0, places[end] / count) for head, count in choices.items() for end in OF_HEADS}


def guessed_labels(clips: Sequence[Clip], classes: int) -> dict[str, float]:
    """What scores drawn at random reach of the task `multi-label`, on average; empty without a label.

    With R of N videos of a class in any order, the place k is of one with the probability R / N, and then R - 1 others
    are among N - 1 places. With H = 1 + 1/2 + ... + 1/N, average precision is (H + (N - H) (R - 1) / (N - 1)) / N.
    """
    counts = Counter(label for clip in clips for label in clip.labels or ())
    if not counts:
        return {}
    by_class = [_random_precision(count, len(clips)) for count in counts.values()]
    return {"map": fmean(by_class), "map_micro": _random_precision(counts.total(), len(clips) * classes)}


def _random_precision(right: int, listed: int) -> float:
    harmonic = sum(1 / place for place in range(1, listed + 1))
    return (harmonic + (listed - harmonic) * (right - 1) / max(1, listed - 1)) / listed


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
    if spec.task.kind == "multi-head":
        return frozenset(name for name, value in _guessed_heads(spec).items() if value == 1)
    return reached_by_all(spec.task.kind, _choices(spec, split))


def always_reached_in_epochs(spec: Experiment) -> frozenset[str]:
    """The same for the evaluation after each epoch: on the validation split, or on the test split without one."""
    return always_reached(spec, "val" if "val" in spec.data.listed.splits() else "test")


def chance_metrics(spec: Experiment) -> dict[str, float]:
    """The metrics of guesses on the test split, by the keys of the measured ones; empty without test videos."""
    if spec.task.kind == "multi-head":
        found = _guessed_heads(spec)
    elif spec.task.kind == "multi-label":
        dataset = spec.data.listed
        found = guessed_labels(dataset.clips("test"), len(dataset.classes()))
    else:
        found = guessed(spec.task.kind, _choices(spec, "test"))
    return {f"eval/{name}": value for name, value in found.items() if not name.startswith("v2t")}


def chance_text(spec: Experiment) -> str:
    """One line for the user; empty if there is nothing to say."""
    metrics = chance_metrics(spec)
    shown = summary(metrics) if spec.task.kind in ("multi-head", "multi-label") else dict.fromkeys(metrics)
    found = {metric_spec(key): metrics[key] for key in shown if metrics[key] < 1}
    said = ", ".join(f"{metric.title} {metric.text(value)}" for metric, value in found.items())
    return f"By chance: {said}." if said else ""


def _guessed_heads(spec: Experiment) -> dict[str, float]:
    return guessed_heads({head: len(names) for head, names in spec.data.listed.heads().items()})


def _choices(spec: Experiment, split: Split) -> int:
    """Classes, or videos of the split."""
    if spec.task.kind not in ("recognition", "retrieval"):
        return 0
    dataset = spec.data.listed
    return len(dataset.clips(split) if spec.task.kind == "retrieval" else dataset.classes())
