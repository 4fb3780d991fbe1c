"""What `evaluate` says of each model, and stores of a model that was evaluated on other data."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from side4video.apps.evaluate.models import EvaluatedModel
from side4video.apps.evaluate.record_names import same_data_set
from side4video.core.metric import Metric
from side4video.data.annotations.fingerprint import short_fingerprint
from side4video.data.clip import Split
from side4video.spec.experiment import Experiment
from side4video.tasks.metrics import ON
from side4video.tasks.recognition.metrics import harmonic_mean
from side4video.tracking.run_store import artifact_text

FOLDER = "evaluations"
"""Artifacts of a run: a JSON file for each name."""


def answer(
    model: EvaluatedModel, result: Any, broken: list[dict[str, Any]], *, fingerprint: str, split: Split, name: str
) -> dict[str, Any]:
    """The JSON document of a model's evaluation."""
    area = "eval" if split == "test" else split
    metrics = {f"{area}/{key}": value for key, value in result.metrics.items()} | {f"{area}/loss": result.loss}
    return {
        "run_id": model.run_id,
        "weights": model.epoch,
        "split": split,
        "metrics": metrics | {f"{area}/{view.name}/top1": view.top1 for view in result.per_view},
        **_by_class(model.spec, result),
        "views": result.views,
        "per_view": [asdict(view) for view in result.per_view],
        "videos": result.videos,
        "dataset_fingerprint": fingerprint,
        "dataset_fingerprint_of_run": model.fingerprint,
        "broken_clips": broken,
        "trained_on": dict(model.trained_on),
        "evaluated_on": _evaluated_on(model.spec, fingerprint),
        "new_texts": model.changes.new_texts,
        "trained_share": model.changes.trained_share,
        "recorded_as": name,
        "memory": {},
        "time": {},
    }


def _by_class(spec: Experiment, result: Any) -> dict[str, Any]:
    """The metric of each class."""
    if spec.task.kind == "multi-label":
        return {"class_accuracy": {}, "class_average_precision": result.class_metrics}
    return {"class_accuracy": result.class_metrics}


def store_answer(store: Any, model: EvaluatedModel, answered: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    """Store an evaluation in its run: the metrics as `on/NAME/...`, the document with its data section.

    Returns:
        What it takes the place of, if an evaluation of this name was of other data or of other settings; or nothing.
    """
    name = str(answered["recorded_as"])
    prefix, artifact = f"{ON}/{name}/", f"{FOLDER}/{name}.json"
    before = json.loads(artifact_text(store, model.run_id, artifact, default="{}"))
    found = {f"{prefix}{key.partition('/')[2]}": value for key, value in answered["metrics"].items()}
    base, novel = store.get(model.run_id).metrics.get("eval/top1"), found.get(f"{prefix}top1")
    if base is not None and novel is not None and _is_base_to_novel(answered):
        found[f"{prefix}harmonic_mean"] = harmonic_mean(base, novel)
    found = {key: value for key, value in found.items() if value == value}  # without NaN
    metrics: Sequence[Metric] = [
        Metric.now(key, value, len(store.history(model.run_id, key))) for key, value in found.items()
    ]
    store.log(model.run_id, metrics)
    now = {**answered, "data": dict(data)}
    store.log_json(model.run_id, now, artifact)
    return _replaced(model, before, now) if before else ""


def _replaced(model: EvaluatedModel, before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What was another in the stored evaluation before."""
    was = [f"of other data ({short_fingerprint(str(before.get('dataset_fingerprint', '')))})"]
    if before.get("dataset_fingerprint") == now["dataset_fingerprint"]:
        names = {"split": "split", "views": "views", "weights": "weights of the", "trained_share": "trained share"}
        was = [f"with {text} {before.get(key)}" for key, text in names.items() if before.get(key) != now[key]]
        sections, own = before.get("data", {}), now["data"]
        names = ("frames", "size", "sampling", "views")
        was += [f"with another data.{key}" for key in names if key in sections and sections[key] != own.get(key)]
    if not was:
        return ""
    place = f"{ON}/{now['recorded_as']} of {model.name} ({model.run_id[:8]})"
    return f"Replaced {place}, which was {', '.join(was)}. Keep both with --as another name."


def _is_base_to_novel(answered: Mapping[str, Any]) -> bool:
    """Whether the test clips are those of the other half of one data set, seen by the trained weights."""
    chosen = [answered[name]["selection"].get("classes") for name in ("trained_on", "evaluated_on")]
    is_one = same_data_set(answered["dataset_fingerprint_of_run"], answered["dataset_fingerprint"])
    return chosen == ["base", "novel"] and answered["split"] == "test" and is_one and answered["trained_share"] == 1


def _evaluated_on(spec: Experiment, fingerprint: str) -> dict[str, Any]:
    data = spec.data
    classes = len(data.listed.classes()) if spec.task.kind in ("recognition", "multi-label") else 0
    selection = {"classes": data.classes} if data.classes != "all" else {}
    return {"data": data.dataset.kind, "selection": selection, "classes": classes, "fingerprint": fingerprint}
