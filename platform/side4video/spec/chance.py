"""What guesses reach in an evaluation, to print beside what a model reached."""

from side4video.spec.experiment import Experiment
from side4video.tasks.metrics import metric_spec

_RECALLS = (1, 5, 10)


def chance_metrics(spec: Experiment) -> dict[str, float]:
    """The metrics of guesses, by the keys of the measured ones; empty without test videos.

    Guesses choose among equal classes, or among the test videos.
    """
    dataset = spec.data.dataset
    if spec.task.kind == "retrieval":
        videos = len(dataset.clips("test"))
        return {f"eval/t2v_r{count}": min(1.0, count / videos) for count in _RECALLS} if videos else {}
    classes = len(dataset.classes())
    return {f"eval/top{count}": min(1.0, count / classes) for count in (1, 5)}


def always_reached(spec: Experiment) -> frozenset[str]:
    """Keys of metrics that every guess reaches, such as top-5 of five classes: tables for people leave them out."""
    keys = {key for key, value in chance_metrics(spec).items() if value == 1}
    return frozenset(keys | {key.replace("t2v", "v2t") for key in keys if "t2v" in key})


def chance_text(spec: Experiment) -> str:
    """One line for the user; empty if there is nothing to say."""
    found = {metric_spec(key): value for key, value in chance_metrics(spec).items() if value < 1}
    said = ", ".join(f"{metric.title} {metric.text(value)}" for metric, value in found.items())
    return f"By chance: {said}." if said else ""
