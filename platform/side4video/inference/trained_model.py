"""Loads a trained model by what people call it: a run of the store, or an exported folder."""

from pathlib import Path
from typing import Literal, overload

from side4video.core.arguments import check_text
from side4video.core.errors import InputError
from side4video.core.temporary import temporary_folder
from side4video.engine.process_group import checked_device
from side4video.inference.model import Model, run_temperature
from side4video.inference.model import load as load_folder
from side4video.inference.retrieval import RetrievalModel, load_retrieval
from side4video.runs.stored_run import FinishedRun, class_names, fetch_trained, head_classes
from side4video.spec.bundle import check_run_exists, is_folder_name
from side4video.tracking.stores import store_at


@overload
def load(
    run_or_folder: str | Path,
    device: str = "cpu",
    *,
    uri: str = "",
    calibrated: bool = False,
    task: Literal["recognition"] = "recognition",
) -> Model: ...


@overload
def load(
    run_or_folder: str | Path, device: str = "cpu", *, uri: str = "", task: Literal["retrieval"]
) -> RetrievalModel: ...


def load(
    run_or_folder: str | Path,
    device: str = "cpu",
    *,
    uri: str = "",
    calibrated: bool = False,
    task: Literal["recognition", "retrieval"] = "recognition",
) -> Model | RetrievalModel:
    """Load a trained model: a run, or a folder that `side4video export` or `side4video import` wrote.

    Args:
        run_or_folder: The folder; or a run by its id, the start of its id, or its name (of several with a name, the
            newest that is finished). An exported folder of this name hides a run of this name, and a text with `/` is a
            folder.
        device: `cpu`, `cuda`, `cuda:1` ...
        uri: The store of the run: an MLflow address, or the folder of a store of files. By default
            `MLFLOW_TRACKING_URI`, or the local store.
        calibrated: Whether to scale the scores by the temperature that was fitted on the validation split. The order of
            the classes stays. The model's `calibration_note` says if the temperature is doubtful.
        task: What the model was trained for: `recognition` gives a classifier, also one of several labels or heads;
            `retrieval` gives a model with `search`.

    Raises:
        InputError: There is no such run or folder, the run is not finished, its task is another one, a file was
            changed, the backbone is another one, the device is not there, or `calibrated` is asked of a run without a
            validation split.
    """
    allowed = "the name or the id of a run, or a folder that `side4video export` wrote"
    fix = "`side4video.runs()` lists the runs"
    check_text("run_or_folder", run_or_folder, allowed=allowed, fix=fix, path=True)
    if not str(run_or_folder).strip():
        raise InputError("run_or_folder", "an empty text", allowed=allowed, fix=fix)
    if task not in ("recognition", "retrieval"):
        raise InputError("task", repr(task), allowed="recognition, retrieval")
    device = str(checked_device(device))
    if is_folder_name(run_or_folder):
        if task == "retrieval":
            return load_retrieval(run_or_folder, device)
        return load_folder(run_or_folder, device, calibrated=calibrated)
    run_name = str(run_or_folder)
    store = store_at(uri).prepare()
    check_run_exists(store, run_name)
    with temporary_folder() as scratch:
        run, weights, fingerprint = fetch_trained(store, run_name, scratch)
        origin = f"{run.title}, weights of {run.describe('chosen')}"
        if task == "retrieval":
            return RetrievalModel(run.spec, weights, device, backbone_sha256=fingerprint, origin=origin)
        classes = class_names(store, run)
        scale, note = _temperature_of(run) if calibrated else (1.0, "")
        return Model(
            run.spec,
            classes,
            weights,
            heads=head_classes(store, run),
            device=device,
            backbone_sha256=fingerprint,
            origin=origin,
            temperature=scale,
            calibration_note=note,
        )


def _temperature_of(run: FinishedRun) -> tuple[float, str]:
    return run_temperature(run.metrics, run.choose("chosen"), task=run.spec.task.kind, where=run.where)
