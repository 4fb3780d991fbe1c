"""Evaluates models in one pass over their clips."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from side4video.apps.evaluate.models import EvaluatedModel, check_comparable, check_towers, misfit
from side4video.apps.evaluate.record import answer
from side4video.apps.evaluate.record_names import RecordNaming, record_name
from side4video.core.counts import counted
from side4video.core.errors import InputError
from side4video.core.progress import Progress
from side4video.data.annotations.fingerprint import short_fingerprint
from side4video.data.clip import Split
from side4video.engine.process_group import ProcessGroup
from side4video.run import evaluate_students
from side4video.spec.check import check_consistency
from side4video.spec.experiment import Experiment


@dataclass(frozen=True)
class FinishedEvaluation:
    """What was found."""

    results: Mapping[str, Any]
    """Evaluations by run id."""
    answers: list[dict[str, Any]]
    """The JSON document of each model."""
    notes: list[str]
    """Sentences for the user."""


def evaluate_models(
    models: Sequence[EvaluatedModel], *, split: Split, naming: RecordNaming, progress: Progress
) -> FinishedEvaluation:
    """Evaluate models on the clips of their data section, which is the same for all. Nothing is stored.

    Raises:
        InputError: They cannot be evaluated together, or the data set has no such split.
    """
    compared = [replace(each, spec=_without_training(each.spec)) for each in models]
    check_consistency({f"run {each.run_id[:8]}": each.spec for each in compared}, ("data", "evaluation"))
    check_towers(models)
    notes = check_comparable(compared)
    base = models[0].spec
    base.data.listed.prepare()
    if split not in base.data.listed.splits():
        raise InputError("--split", f"{split}, and the data set has none", allowed="test", fix="leave it out")
    whole = base.data.dataset.fingerprint()
    fingerprints = [each.spec.data.name_fingerprint(whole) for each in models]
    notes += [note for each in models if (note := each.changed_weights)]
    names = [
        record_name(each, naming, split=split, fingerprint=now) for each, now in zip(models, fingerprints, strict=True)
    ]
    notes += [
        _other_data(each, now)
        for each, name, now in zip(models, names, fingerprints, strict=True)
        if not name and each.fingerprint not in ("", now)
    ]
    progress.report("loading the models")
    device = "cuda" if base.cluster.gpus_per_worker and torch.cuda.is_available() else "cpu"
    results, broken = _evaluate(models, ProcessGroup(device=torch.device(device)), split, progress=progress)
    answers = [
        answer(each, results[each.run_id], broken, fingerprint=now, split=split, name=name)
        for each, name, now in zip(models, names, fingerprints, strict=True)
    ]
    return FinishedEvaluation(results, answers, notes + _transfer_notes(models, answers))


def _evaluate(
    models: Sequence[EvaluatedModel], process: ProcessGroup, split: Split, *, progress: Progress
) -> tuple[Mapping[str, Any], list[dict[str, Any]]]:
    """Evaluations by run id, and the broken clips."""
    try:
        return evaluate_students(
            {each.run_id: each.spec for each in models},
            {each.run_id: each.weights for each in models},
            process,
            split=split,
            progress=progress,
            backbones={each.run_id: each.backbone for each in models if each.backbone is not None},
            changes={each.run_id: each.changes for each in models},
        )
    except InputError as error:
        own = next((each for each in models if str(each.weights) == error.where), None)
        raise error if own is None else misfit(own, error) from None


def _without_training(spec: Experiment) -> Experiment:
    """The document without what decides the training clips alone."""
    data = spec.data.model_copy(update={"shots": None, "train_fraction": 1.0})
    return spec.model_copy(update={"data": data})


def _other_data(model: EvaluatedModel, fingerprint: str) -> str:
    was, now = short_fingerprint(model.fingerprint), short_fingerprint(fingerprint)
    return (
        f"These are not the run's data: the data set of {model.name} ({model.run_id[:8]}) had the fingerprint {was}, "
        f"and this one has {now}. Do not compare the values with its record."
    )


def _transfer_notes(models: Sequence[EvaluatedModel], answers: Sequence[Mapping[str, Any]]) -> list[str]:
    """Where metrics on other data are stored, and how the weights were changed."""
    notes = []
    if any(each.changes.new_texts for each in models):
        classes = answers[0]["evaluated_on"]["classes"]
        notes.append(f"The classifier is made of the {counted(classes, 'class name')} of these data.")
    share = min(each.changes.trained_share for each in models)
    if share < 1:
        notes.append(f"Weights: {share:g} of the trained ones, {1 - share:g} of those before training.")
    stored = [answered["recorded_as"] for each, answered in zip(models, answers, strict=True) if each.is_stored]
    if stored and stored[0]:
        notes.append(f"Stored in the run{'s' if len(stored) > 1 else ''} as on/{stored[0]}/...")
    elif stored and share < 1:
        notes.append("Not stored in the run. Store it with --as NAME.")
    return notes
