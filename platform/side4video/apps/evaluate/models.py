"""The models that `evaluate` is asked for: runs of the store, and folders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors.torch import load_file, save_file

from side4video.core.dotted import below, dotted
from side4video.core.errors import InputError
from side4video.data.clip import Split
from side4video.inference.bundled_weights import epoch_of
from side4video.inference.evaluated_folder import evaluated_folder
from side4video.run_start import WeightChanges
from side4video.runs.stored_run import FinishedRun, class_names, fetch_weights, find_finished, head_classes
from side4video.spec.bundle import check_run_exists, is_folder_name
from side4video.spec.check_labels import check_evaluated_labels
from side4video.spec.experiment import Experiment
from side4video.spec.load import SpecError
from side4video.spec.protocol import ComparedResult, comparison_errors, find_differences
from side4video.tasks.multi_head.class_check import check_heads
from side4video.tasks.recognition.class_order import in_order_of
from side4video.tasks.recognition.spec import TEXT_CLASSIFIERS
from side4video.tracking.run_inputs import changed_weights
from side4video.tracking.tags import FINGERPRINT_TAG

if TYPE_CHECKING:
    from side4video.models.towers.load import TowerWeights

_OF_NETWORK = ("backbone", "method", "task")
"""Sections that decide the weights' names and shapes."""
_TEXT_FIELDS = ("kind", "prompt", "more_prompts")
"""Fields of a classifier that decide the texts of the classes."""


@dataclass(frozen=True)
class EvaluationRequest:
    """What was asked of each model."""

    data: str = ""
    """An experiment file or preset whose data section is taken; empty: the model's own."""
    overrides: tuple[str, ...] = ()
    weights: str = "chosen"
    """Of runs: `chosen`, `best` or `last`."""
    trained_share: float = 1.0
    """Share of the trained weights; the rest is the initial ones."""
    split: Split = "test"
    """Whose clips are evaluated on."""


@dataclass(frozen=True)
class EvaluatedModel:
    """A model to evaluate."""

    run_id: str
    """Id of its run, or a name made of the checksum of its folder's weights."""
    name: str
    spec: Experiment
    weights: Path
    epoch: str = ""
    """The epoch of the weights in words."""
    fingerprint: str = ""
    """Of the data set that it was trained on; empty if that is not known."""
    trained_on: Mapping[str, Any] = field(default_factory=dict)
    """The data set that it was trained on, for the record."""
    changed_weights: str = ""
    """What is to be said if the backbone's weights are not those of the run."""
    backbone: "TowerWeights | None" = None
    """The tower's weights, of a folder."""
    changes: WeightChanges = field(default_factory=WeightChanges)
    """How the evaluated weights differ from those of the file."""
    is_stored: bool = True
    """Whether it is a run of the store."""
    changed_fields: Mapping[str, str] = field(default_factory=dict)
    """What overrides changed of the network: the value that it was trained with, by dotted path."""


def read_model(store: Any, name: str, scratch: Path, request: EvaluationRequest) -> EvaluatedModel:
    """The model of a run's name or id, or of a folder. Files that are made are below `scratch`.

    A classifier that is made of texts gets those of the classes that are evaluated, if they are others.

    Raises:
        InputError: There is no such model, an override is wrong, clips lack the labels of its task, or a linear
            classifier has other classes.
    """
    if Path(name).is_dir() and is_folder_name(name):
        return _read_folder(Path(name), scratch, request)
    check_run_exists(store, name)
    found = find_finished(store, name, scratch, request.overrides, data=request.data)
    check_evaluated_labels(found.spec, request.split)
    record = store.get(found.source)
    changed = changed_weights(record, found.spec)
    if changed:
        changed = f"{found.name} ({found.run_id[:8]}): {changed}. Do not compare the values with its record."
    file = fetch_weights(store, found, scratch, request.weights)
    names = class_names(store, found) if found.spec.task.kind in ("recognition", "multi-label") else ()
    if found.spec.task.kind == "multi-head":
        check_heads(found.spec.data.listed.heads(), head_classes(store, found), where=found.where)
    file, new_texts = _fit_classes(found, names, file, scratch)
    fingerprint = record.tags.get(FINGERPRINT_TAG, "")
    return EvaluatedModel(
        found.run_id,
        found.name,
        found.spec,
        file,
        found.describe(request.weights),
        fingerprint,
        {**_about(found.document), "classes": len(names), "fingerprint": fingerprint},
        changed,
        changes=WeightChanges(new_texts=new_texts, trained_share=request.trained_share),
        changed_fields=_changed_fields(found.document, found.spec, request.overrides),
    )


def _read_folder(folder: Path, scratch: Path, request: EvaluationRequest) -> EvaluatedModel:
    found = evaluated_folder(folder, scratch, data=request.data, overrides=request.overrides, split=request.split)
    bundle = found.bundle
    if "format" in bundle.origin and request.trained_share < 1:
        raise InputError(
            "--trained-share",
            f"{request.trained_share:g}, and {folder} was imported: its weights before training are not known",
            allowed="1; less for runs, and folders of them",
            fix="leave it out",
        )
    fingerprint = bundle.origin.get("data fingerprint", "")
    return EvaluatedModel(
        found.identity,
        bundle.name,
        found.spec,
        found.weights,
        "an imported file" if "format" in bundle.origin else epoch_of(bundle),
        "" if request.data else fingerprint,
        {**_about(found.document), "classes": len(bundle.classes), "fingerprint": fingerprint},
        backbone=found.backbone,
        changes=WeightChanges(new_texts=found.new_texts, trained_share=request.trained_share),
        is_stored=False,
        changed_fields=_changed_fields(found.document, found.spec, request.overrides),
    )


def _changed_fields(document: Mapping[str, Any], spec: Experiment, overrides: Sequence[str]) -> dict[str, str]:
    """The fields of the network that overrides gave another value, and their own values."""
    trained, now = dotted(document), dotted(spec.resolved())
    changed: dict[str, str] = {}
    for override in overrides:
        path = override.partition("=")[0].strip()
        if path.partition(".")[0] in _OF_NETWORK and (own := below(trained, path)) != below(now, path):
            changed[path] = ", ".join(own.values())
    return changed


def misfit(model: EvaluatedModel, error: InputError) -> InputError:
    """The error of weights that do not fit, named by the field that `--set` changed, if there is one."""
    if not model.changed_fields or str(model.weights) != error.where:
        return error
    path, own = next(iter(model.changed_fields.items()))
    value = ", ".join(below(dotted(model.spec.resolved()), path).values())
    found = f"{value}, and {model.name} ({model.run_id[:8]}) has {own or 'its default'}: its weights do not fit"
    return InputError(f"--set {path}", found, allowed=own or "the default", fix="leave it out")


def _about(document: Mapping[str, Any]) -> dict[str, Any]:
    data = document["data"]
    named = {name: data[name] for name in ("classes", "shots") if data.get(name) not in (None, "all")}
    return {"data": data["dataset"]["kind"], "selection": named}


def _fit_classes(found: FinishedRun, trained: tuple[str, ...], file: Path, scratch: Path) -> tuple[Path, bool]:
    """The weights for the classes of the data, and whether the classifier's texts are made anew."""
    if found.spec.task.kind not in ("recognition", "multi-label"):
        return file, False
    wanted, classifier = found.spec.data.listed.classes(), getattr(found.spec.task, "classifier", None)
    if classifier is not None and classifier.kind in TEXT_CLASSIFIERS:
        before = found.document["task"].get("classifier", {})
        now = classifier.model_dump(mode="json")
        is_same = all(before.get(name, now.get(name)) == now.get(name) for name in _TEXT_FIELDS)
        return file, wanted != trained or not is_same
    if wanted == trained:
        return file, False
    try:
        state = in_order_of(wanted, trained, load_file(file), where=found.where)
    except InputError as error:
        fix = "name the same classes"
        if found.spec.task.kind == "recognition":
            fix += "; a run with task.classifier: {kind: text} can be evaluated on others"
        raise InputError(error.where, error.found, allowed=error.allowed, fix=fix) from None
    scratch.mkdir(parents=True, exist_ok=True)
    ordered = scratch / "in-order.safetensors"
    save_file(state, ordered)
    return ordered, False


def check_towers(chosen: Sequence[EvaluatedModel]) -> None:
    """Check that folders whose documents name one tower hold one.

    Raises:
        InputError: They hold several, as when folders were made at one place and moved.
    """
    fingerprints: dict[str, str] = {}
    for each in chosen:
        if each.backbone is None:
            continue
        known = fingerprints.setdefault(each.spec.backbone_key, each.backbone.fingerprint)
        if known != each.backbone.fingerprint:
            found = f"its document names the tower of another folder, and the fingerprint is {known[:16]}… there"
            raise InputError(f"{each.name}: backbone", found, allowed="one tower", fix="evaluate them one by one")


def check_comparable(chosen: Sequence[EvaluatedModel]) -> list[str]:
    """Check that runs are comparable; return notes for their table.

    Raises:
        InputError: They are not comparable, for example because their tasks differ.
    """
    compared = [ComparedResult(f"{each.name} ({each.run_id[:8]})", dotted(each.spec.resolved())) for each in chosen]
    found = find_differences(compared)
    problems = comparison_errors(found, where="runs", anyway=(), fix=lambda _: "evaluate them one by one")
    if problems:
        raise SpecError(problems)
    of_loss = find_differences(compared, metrics=["eval/loss"])
    return [f"eval/loss is not the same loss: {each.field} is {each}." for each in of_loss if each.is_hidden]
