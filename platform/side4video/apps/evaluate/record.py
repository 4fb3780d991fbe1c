"""What `evaluate` says of each model, and stores of a model that was evaluated on other data."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from side4video.apps.evaluate.models import EvaluatedModel
from side4video.core.errors import InputError
from side4video.core.metric import Metric
from side4video.data.clip import Split
from side4video.spec.experiment import Experiment
from side4video.tasks.metrics import ON
from side4video.tasks.recognition.metrics import harmonic_mean

FOLDER = "evaluations"
"""Artifacts of a run: a JSON file for each name."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}(/[A-Za-z0-9][A-Za-z0-9._-]{0,79})?")


def check_record_name(name: str) -> None:
    """Refuse a name that is no part of a metric's name.

    Raises:
        InputError: It has other characters than letters, digits, dot, dash and underscore, or more than one slash.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            "--as",
            f"{name!r}",
            allowed="letters, digits, dot, dash and underscore; one slash before a part of a group: hmdb51/2",
            fix="choose another name",
        )


def record_name(model: EvaluatedModel, *, asked: str, on: str, source_name: str, fingerprint: str) -> str:
    """The name under which an evaluation is stored; empty if it is none on other data, and no name was asked for.

    `on` is the option, `source_name` the name of the experiment that it names, `fingerprint` that of the clips now.
    """
    if asked:
        return asked
    data, trained = model.spec.data, model.trained_on.get("selection", {}).get("classes", "all")
    if on:
        name = source_name
    elif data.classes != trained and model.fingerprint not in ("", fingerprint):
        name = data.classes
    else:
        return ""
    share = model.changes.trained_share
    return name if share == 1 else f"{name}-share-{share:g}"


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


def store_answer(store: Any, model: EvaluatedModel, answered: Mapping[str, Any], data: Mapping[str, Any]) -> None:
    """Store an evaluation in its run: the metrics as `on/NAME/...`, the document with its data section."""
    name = str(answered["recorded_as"])
    prefix = f"{ON}/{name}/"
    found = {f"{prefix}{key.partition('/')[2]}": value for key, value in answered["metrics"].items()}
    base, novel = store.get(model.run_id).metrics.get("eval/top1"), found.get(f"{prefix}top1")
    if base is not None and novel is not None and _is_base_to_novel(answered):
        found[f"{prefix}harmonic_mean"] = harmonic_mean(base, novel)
    found = {key: value for key, value in found.items() if value == value}  # without NaN
    metrics: Sequence[Metric] = [
        Metric.now(key, value, len(store.history(model.run_id, key))) for key, value in found.items()
    ]
    store.log(model.run_id, metrics)
    store.log_json(model.run_id, {**answered, "data": dict(data)}, f"{FOLDER}/{name}.json")


def _is_base_to_novel(answered: Mapping[str, Any]) -> bool:
    chosen = [answered[name]["selection"].get("classes") for name in ("trained_on", "evaluated_on")]
    return chosen == ["base", "novel"] and answered["split"] == "test"


def _evaluated_on(spec: Experiment, fingerprint: str) -> dict[str, Any]:
    data = spec.data
    classes = len(data.listed.classes()) if spec.task.kind in ("recognition", "multi-label") else 0
    selection = {"classes": data.classes} if data.classes != "all" else {}
    return {"data": data.dataset.kind, "selection": selection, "classes": classes, "fingerprint": fingerprint}
