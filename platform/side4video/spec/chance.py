"""What guesses reach in an evaluation, to print beside what a model reached."""

from side4video.spec.experiment import Experiment
from side4video.tasks.metrics import metric_spec
from side4video.tasks.recognition import metrics as recognition
from side4video.tasks.retrieval import metrics as retrieval


def chance_metrics(spec: Experiment) -> dict[str, float]:
    """The metrics of guesses, by the keys of the measured ones; empty without test videos."""
    dataset = spec.data.dataset
    if spec.task.kind == "retrieval":
        videos = len(dataset.clips("test"))
        found = retrieval.chance(videos) if videos else {}
    else:
        found = recognition.chance(len(dataset.classes()))
    return {f"eval/{name}": value for name, value in found.items()}


def chance_text(spec: Experiment) -> str:
    """One line for the user; empty if there is nothing to say."""
    found = {metric_spec(key): value for key, value in chance_metrics(spec).items()}
    said = ", ".join(f"{metric.title} {metric.text(value)}" for metric, value in found.items())
    return f"By chance: {said}." if said else ""
