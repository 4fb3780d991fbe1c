"""Finds the model that is served, and describes it for the page and for `/health`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from side4video.reports.render import render
from side4video.spec.experiment import Experiment

if TYPE_CHECKING:
    from side4video.apps.serve.protocol import Predictor

SHOWN_CLASSES = 20
"""Names of classes on the page; of more, it says how many there are."""


@dataclass(frozen=True)
class ServedModel:
    """A model that is served."""

    name: str
    spec: Experiment
    classes: tuple[str, ...]
    """Names of the classes; none of a retrieval model, and of one with heads."""
    source: str
    """The run or the folder that it was loaded from, in words."""
    build: "Callable[..., Predictor]"
    """Builds its predictor."""
    heads: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Names of the classes of each head."""

    @property
    def kind(self) -> Literal["labels", "search"]:
        """What it answers with."""
        return "search" if self.spec.task.kind == "retrieval" else "labels"

    @property
    def facts(self) -> list[tuple[str, str]]:
        """What a user of the page should know: names and values."""
        data, backbone = self.spec.data, self.spec.backbone
        tower = backbone.library_model or backbone.kind
        facts = [
            ("task", "text-video retrieval" if self.kind == "search" else "video classification"),
            ("model", f"{self.spec.method.kind} on {tower}, {data.frames} frames of {data.size} x {data.size} pixels"),
            ("loaded from", self.source),
        ]
        groups = [(f"classes of {head}", names) for head, names in self.heads.items()]
        for group, names in groups or [("classes", self.classes)] if self.kind == "labels" else []:
            facts.append((f"{len(names)} {group}", classes_text(names)))
        return facts


def classes_text(classes: tuple[str, ...]) -> str:
    """The first names of classes, and how many there are beside them."""
    shown = ", ".join(classes[:SHOWN_CLASSES])
    more = len(classes) - SHOWN_CLASSES
    return f"{shown}, and {more} more" if more > 0 else shown


def serve_page(model: ServedModel, *, max_bytes: int) -> str:
    """The page of the server: what the model is, and where videos are uploaded, of at most so many bytes."""
    return render("serve.html.j2", title=model.name, kind=model.kind, facts=model.facts, max_bytes=max_bytes)


def find_model(model: str, uri: str, scratch: Path, *, device: str) -> ServedModel:
    """The model of a run or of an exported folder.

    Args:
        model: The folder; or a run by its id, the start of its id, or its name.
        uri: The store of the run; empty for the default one.
        scratch: A folder for files that the model needs as long as it is served.
        device: `cpu` or `cuda`.

    Raises:
        InputError: There is no such run or folder, or it is not finished.
    """
    from side4video.apps.serve.predictors import ClassifierPredictor, RetrievalPredictor
    from side4video.inference.model import Model, load
    from side4video.inference.retrieval import RetrievalModel, load_retrieval
    from side4video.spec.bundle import check_run_exists, is_folder_name, read_bundle

    if (folder := Path(model)).is_dir() and is_folder_name(model):
        bundle, spec = read_bundle(folder)
        build = partial(ClassifierPredictor, partial(load, str(folder.resolve()), device))
        if spec.task.kind == "retrieval":
            build = partial(RetrievalPredictor, partial(load_retrieval, str(folder.resolve()), device))
        return ServedModel(bundle.name, spec, bundle.classes, f"the exported folder {model}", build, bundle.heads)
    from side4video.runs.stored_run import class_names, fetch_trained, head_classes
    from side4video.tracking.stores import store_at

    store = store_at(uri).prepare()
    check_run_exists(store, model)
    run, weights, fingerprint = fetch_trained(store, model, scratch)
    source = f"{run.title}, weights of {run.describe('chosen')}"
    if run.spec.task.kind == "retrieval":
        own = partial(RetrievalModel, run.spec, weights, device, backbone_sha256=fingerprint)
        build = partial(RetrievalPredictor, own)
        return ServedModel(run.name, run.spec, (), source, build)
    classes, heads = class_names(store, run), head_classes(store, run)
    own = partial(Model, run.spec, classes, weights, heads=heads, device=device, backbone_sha256=fingerprint)
    return ServedModel(run.name, run.spec, classes, source, partial(ClassifierPredictor, own), heads)
